//! `eval` in the shells of POSIX's family, and a file that they read with a dot.

use sidekey::hydrate::Format;

use super::{Trip, has, print};

const SHELLS: [(&str, &[&str]); 7] = [
    ("dash", &[]),
    ("bash", &[]),
    ("zsh", &["-f"]),
    ("busybox", &["sh"]),
    ("mksh", &[]),
    ("ksh93", &[]),
    ("yash", &[]),
];
const EVAL: &str = "eval \"$(cat \"$1\")\" && exec env -0";
const DOT: &str = ". \"$1\" && exec env -0";

#[test]
fn shells_evaluate_what_went_in() {
    let trip = Trip::of(Format::Sh);
    trip.refuses(|_| false);
    for (shell, args) in SHELLS {
        if !has(shell, &[args, &["-c", "true"]].concat()) {
            continue;
        }
        let text = trip.of_those(|value| std::str::from_utf8(value).is_ok());
        for locale in ["C", "C.UTF-8"] {
            // yash reads characters, and knows none beyond ASCII in C, nor other bytes anywhere.
            let trip = match (shell, locale) {
                ("yash", "C") => continue,
                ("yash", _) => &text,
                _ => &trip,
            };
            for code in [EVAL, DOT] {
                let locale = format!("LC_ALL={locale}");
                trip.read_by("env", &[&[&locale, shell], args, &["-c", code, "x", "{}"]].concat());
            }
        }
    }
}

/// Each name that some shell here keeps for itself is refused, and every other arrives.
#[test]
fn a_shell_s_own_variables_are_refused() {
    for name in ["RANDOM", "UID", "GROUPS", "USERNAME", "PPID", "SECONDS", "status", "path", "_"] {
        let told = print(Format::Sh, &[("GOOD", b"x"), (name, b"hunter2")]).unwrap_err();
        assert!(told.starts_with(&format!("{name}: ")) && !told.contains("hunter2"), "{told}");
    }
    let plain =
        ["A", "a", "_A", "A1", "__", "USER", "PASSWORD", "HOST", "Path", "Status", "username", "LC_X", "export", "if"];
    let given: Vec<(&str, &[u8])> = plain.iter().map(|name| (*name, b"it's $me".as_slice())).collect();
    let trip = Trip::of_these(Format::Sh, &given);
    for (shell, args) in SHELLS {
        if has(shell, &[args, &["-c", "true"]].concat()) {
            trip.read_by(shell, &[args, &["-c", EVAL, "x", "{}"]].concat());
        }
    }
}
