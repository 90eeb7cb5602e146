//! What the program tells of itself: examples that can be typed, completions that shells take, manual pages.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::{CommandFactory as _, Parser as _};
use sidekey::cli::Cli;

use super::process::sidekey;

/// The commands of a help's examples, as a shell would hand them over: what stands before and behind them is the shell's.
fn examples(help: &str) -> Vec<Vec<String>> {
    let section = help.split("Examples:\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| line.starts_with("  "));
    lines
        .map(|line| {
            let (_, command) = line.split_once("sidekey ").unwrap_or_else(|| panic!("no command: {line}"));
            // A comment stands apart; what follows is another program's.
            let ends = ["   ", " | ", " > ", " >> ", " && ", ")\""];
            let end = ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
            shlex::split(&format!("sidekey {}", &command[..end])).unwrap_or_else(|| panic!("no words: {line}"))
        })
        .collect()
}

#[test]
fn the_help_of_every_command_has_examples_and_each_of_them_is_a_command_line() {
    let program = Cli::command();
    for command in std::iter::once(&program).chain(program.get_subcommands()) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{} has none", command.get_name());
        for example in examples {
            let parsed = Cli::try_parse_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.err().unwrap());
            let own = command.get_name() == program.get_name() || example[1] == command.get_name();
            assert!(own, "{example:?} is another's than {}'s", command.get_name());
        }
    }
}

#[test]
fn completions_know_every_command_and_its_flags() {
    let program = Cli::command();
    for shell in ["bash", "zsh", "fish"] {
        let run = sidekey(["completions", shell]);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        for command in program.get_subcommands() {
            assert!(run.text().contains(command.get_name()), "{shell}: {}", command.get_name());
            for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(run.text().contains(flag), "{shell}: {} --{flag}", command.get_name());
            }
        }
    }
    assert_eq!(sidekey(["completions", "tcsh"]).code, 64);
}

/// Gives `script` to that shell, with the completions before it; `None`, said on stderr, where there is no such shell.
#[expect(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
fn in_shell(shell: &str, arguments: &[&str], script: &str) -> Option<String> {
    let mut command = Command::new(shell);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("passed over: there is no {shell} here");
        return None;
    };
    let completions = sidekey(["completions", shell]);
    let mut stdin = child.stdin.take().unwrap();
    // On a thread of its own: a shell that ends early reads no further.
    let text = [completions.text(), "\n", script, "\n"].concat();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shell}: {err}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn bash_completes_a_command_a_flag_and_a_value() {
    let script = r#"
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _sidekey sidekey "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}"; }
complete_line sidekey sea
complete_line sidekey get --ver
complete_line sidekey env --format dotn
complete -p sidekey"#;
    let Some(told) = in_shell("bash", &["--norc", "--noprofile"], script) else { return };
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[..3], ["search", "--version --verbose", "dotnet-json"], "{told}");
    assert!(lines[3].contains("_sidekey"), "{told}");
}

#[test]
fn zsh_takes_the_completions() {
    let script = "whence -w _sidekey; print -l ${(k)_comps[sidekey]}; print $_comps[sidekey]";
    let completions = sidekey(["completions", "zsh"]);
    assert!(completions.text().starts_with("#compdef sidekey\n"));
    // As a login shell has it: the completion system first.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("_sidekey"), &completions.out).unwrap();
    let script = format!(
        "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; {script}; autoload +X _sidekey; whence -w _sidekey_commands",
        folder.path().display()
    );
    let run = Command::new("zsh").args(["-f", "-c", &script]).output();
    let Ok(run) = run else { return };
    let told = String::from_utf8(run.stdout).unwrap();
    assert!(told.contains("_sidekey: function") && told.lines().any(|line| line == "_sidekey"), "{told}");
    assert_eq!(String::from_utf8_lossy(&run.stderr), "");
}

#[test]
fn fish_completes_a_command_a_flag_and_a_value() {
    let script = "complete -C 'sidekey sea'; echo ==; complete -C 'sidekey get --ver'; echo ==; complete -C 'sidekey env --format dotn'";
    let Some(told) = in_shell("fish", &["--no-config"], script) else { return };
    let parts: Vec<Vec<_>> = told
        .split("==\n")
        .map(|part| part.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect())
        .collect();
    assert_eq!(parts[0], ["search"], "{told}");
    assert!(parts[1].contains(&"--version".to_owned()) && parts[1].contains(&"--verbose".to_owned()), "{told}");
    assert_eq!(parts[2], ["dotnet-json"], "{told}");
}

#[test]
fn every_command_has_its_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let run = sidekey(["man", "--out-dir", &folder.path().join("man1").display().to_string()]);
    assert_eq!((run.code, run.text(), run.err.as_str()), (0, "", ""));
    let program = Cli::command();
    for command in program.get_subcommands() {
        let name = format!("sidekey-{}", command.get_name());
        let page = fs::read_to_string(folder.path().join(format!("man1/{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Examples:"), "{name}");
        for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(page.contains(&flag.replace('-', "\\-")), "{name} does not tell of --{flag}");
        }
        assert_eq!(sidekey(["man", command.get_name()]).text(), page);
    }
    let whole = sidekey(["man"]);
    assert!(whole.text().contains(".TH sidekey 1") && whole.text().contains("sidekey\\-exec(1)"), "{}", whole.text());
    assert_eq!(sidekey(["man", "frobnicate"]).code, 64);
}
