//! Whoever may write one secret would like to set another variable, or to take the reader over: by its value, by its name,
//! by what the files say that refer to it. That no value does so in any real reader, `consumers` shows: a variable that
//! was not given is a failure there.

use std::collections::BTreeMap;
use std::fs;

use sidekey::hydrate::Format;
use sidekey::hydrate::set::{self, MapFormat, Naming};
use sidekey::secret::{Reference, SecretValue};

use super::command::env;
use super::consumers::values::INJECTIONS;
use super::consumers::{has, pairs, program_with};
use crate::cli::process::Azure;

/// The variables of secrets that all want to set EVIL.
fn wanting() -> (Azure, BTreeMap<String, &'static str>) {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let mut wanting = BTreeMap::new();
    for (at, value) in INJECTIONS.iter().enumerate() {
        azure.set("pay-prod", &format!("wants-{at:02}"), value);
        wanting.insert(format!("WANTS_{at:02}"), *value);
    }
    (azure, wanting)
}

#[test]
fn hostile_values_come_out_as_they_are_or_are_told_by_their_names_alone() {
    let (azure, wanting) = wanting();
    let set = wanting.iter().map(|(name, value)| (name.clone(), SecretValue::new(value.as_bytes()))).collect();
    for (word, format) in Format::ALL {
        let mut args = vec!["--format", word, "--no-environment", "--all-from", "pay-prod/wants-*"];
        if format == Format::K8sSecret {
            args.extend(["--name", "app"]);
        }
        let run = env(&azure, &args, &[]);
        let Err(unfit) = format.print(&set, "app") else {
            assert_eq!(run.code, 0, "{word}: {}", run.err);
            continue;
        };
        assert_eq!((run.code, run.text()), (64, ""), "{word}: {}", run.err);
        assert!(unfit.0.iter().all(|(name, _)| run.err.contains(&format!("{name}: "))), "{word}: {}", run.err);
        assert!(!run.err.contains("EVIL") && !run.err.contains('\r'), "{word}: {}", run.err);
    }
    let run = env(&azure, &["--format", "json", "--no-environment", "--all-from", "pay-prod/wants-*"], &[]);
    assert_eq!(run.json(), serde_json::json!(wanting));
    let run = env(&azure, &["--format", "sh", "--no-environment", "--all-from", "pay-prod/wants-*"], &[]);
    let page = azure.path("env.sh");
    fs::write(&page, run.text()).unwrap();
    if has("bash", &["-c", "true"]) {
        let args = ["-c", "eval \"$(cat \"$1\")\" && exec env -0", "x", "{}"];
        let found = pairs(&program_with("bash", &page.display().to_string(), &args).output().unwrap().stdout);
        assert!(!found.contains_key("EVIL"));
        assert!(wanting.iter().all(|(name, value)| found[name] == value.as_bytes()));
    }
}

/// What whoever may make secrets calls them. Key Vault has letters, digits and '-' only; an answer that says otherwise is
/// none (`fuzz/`, `key_vault`).
#[test]
fn hostile_names_set_nothing_that_can_take_a_program_over() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    for name in ["ld-preload", "path", "bash-env", "node-options", "azure-client-secret"] {
        azure.set("pay-prod", name, "hunter2");
        let run =
            env(&azure, &["--format", "json", "--no-environment", "--all-from", &format!("pay-prod/{name}")], &[]);
        let variable = name.to_uppercase().replace('-', "_");
        if name == "azure-client-secret" {
            // Its own, and not sidekey's: this one is asked for.
            assert_eq!(run.json(), serde_json::json!({ "AZURE_CLIENT_SECRET": "hunter2" }));
            continue;
        }
        assert_eq!((run.code, run.text()), (64, ""), "{}", run.err);
        assert!(run.err.contains(&format!("{variable}: can take a program over")), "{}", run.err);
    }
    // Not even together with what the command line puts before it.
    azure.set("pay-prod", "preload", "hunter2");
    let run = env(&azure, &["--no-environment", "--all-from", "pay-prod/preload", "--prefix", "LD_"], &[]);
    assert_eq!((run.code, run.text()), (64, ""), "{}", run.err);
    for prefix in ["A=1\nEVIL=", "x;EVIL=", "A B", "\u{1b}[31m", "1"] {
        let run = env(&azure, &["--no-environment", "--all-from", "pay-prod/preload", "--prefix", prefix], &[]);
        assert_eq!((run.code, run.text()), (64, ""), "{}", run.err);
        assert!(!run.err.contains('\u{1b}') && run.err.contains("gives no variable's name"), "{}", run.err);
    }
}

#[test]
fn a_name_of_a_secret_or_a_vault_is_one_or_it_is_no_reference() {
    let names = [
        "a\nEVIL=1",
        "a=b",
        "a b",
        "a'",
        "a\"",
        "a`",
        "$(a)",
        "a;b",
        "a\u{2028}b",
        "é",
        "a_b",
        "",
        "..",
        "a%0ab",
        "&a",
        "!t",
    ];
    for name in names {
        assert!(format!("secret://pay/{name}").parse::<Reference>().is_err(), "{name:?}");
        assert!(format!("secret://{name}/a").parse::<Reference>().is_err(), "{name:?}");
    }
    // Whatever a secret is called, its variable is a name for every shell, or there is none.
    for name in ["a", "a-b", "A-1", "-", "--", "1", "1-a", "a--b", "0x1f", "null", "true"] {
        let reference: Reference = format!("secret://pay/{name}").parse().unwrap();
        let naming = Naming::default();
        let Ok(layer) = set::all_of([&reference], &naming) else {
            assert!(naming.of(&reference.name).starts_with(|c: char| c.is_ascii_digit()), "{name}");
            continue;
        };
        let name = layer.keys().next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
    }
}

/// A file that others may write to says nothing that its text does not, and a fault never quotes it.
#[test]
fn hostile_files_are_told_by_the_place_of_their_faults() {
    for text in [
        "A=1\nhunter2\n",
        "A='hunter2\n",
        "A=\"hunter2\\",
        "=hunter2",
        "A B=hunter2",
        "export=hunter2\nexport hunter2",
        "A=secret://pay/hunter2!\n",
        "A=${secret://pay/x|hunter2}\n",
        // Slips of the pen, which would reach the app as its password.
        "A=secrets://pay/hunter2\n",
        "A=Secret:/pay/hunter2\n",
        "A=x${akv:/pay/hunter2}\n",
        "A='x' hunter2",
        "\u{feff}\u{feff}hunter2=1",
        "A=1\r\rhunter2\nB",
    ] {
        let wrong = set::env_file(text).err().unwrap_or_else(|| panic!("{text:?} is taken"));
        let told: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert!(told.iter().all(|line| line.starts_with("line ") && !line.contains("hunter")), "{told:?}");
    }
    for (text, format) in [
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), MapFormat::Json),
        (format!("A = {}1{}", "[".repeat(100_000), "]".repeat(100_000)), MapFormat::Toml),
        ("{\"A\": \"\\ud800\"}".to_owned(), MapFormat::Json),
        ("[A]\nB = \"hunter2\"".to_owned(), MapFormat::Toml),
        ("A = \"x\\u0000\"\nB = 1".to_owned(), MapFormat::Toml),
    ] {
        let wrong = set::map(&text, format).err().expect("a map is flat");
        assert!(!wrong[0].to_string().contains("hunter"), "{}", wrong[0]);
    }
}
