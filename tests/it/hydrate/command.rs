//! `sidekey env`, as a person or a script meets it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::cli::process::{Azure, Run, command, finish};

fn env(azure: &Azure, args: &[&str], vars: &[(&str, &str)]) -> Run {
    let config = azure.config();
    let mut run = command(["env", "--direct", "--config", &config].iter().chain(args));
    finish(run.envs(vars.iter().copied()))
}

#[test]
fn a_set_of_all_places_is_printed_and_a_later_place_wins() {
    let azure = Azure::demo();
    let (file, map) = (azure.path("app.env"), azure.path("app.json"));
    fs::write(&file, "A=file\nB='file'\nURL=pg://u:${secret://pay-prod/db-password|url}@h").unwrap();
    fs::write(&map, r#"{"B": "secret://pay-prod/db-password"}"#).unwrap();
    let (file, map) = (file.display().to_string(), map.display().to_string());
    let vars = [("A", "secret://pay-prod/db-password"), ("E", "secret://pay-prod/db-password"), ("PLAIN", "x")];
    let run = env(&azure, &["--format", "json", "--env-file", &file, "--map", &map], &vars);
    assert_eq!(run.code, 0, "{}", run.err);
    let (value, url) = ("Autumn-2026-staple", "pg://u:Autumn-2026-staple@h");
    assert_eq!(run.json(), serde_json::json!({"A": "file", "B": value, "E": value, "URL": url}));
    let out = azure.path("out.env");
    let run = env(&azure, &["--no-environment", "--map", &map, "--out", &out.display().to_string()], &vars);
    assert_eq!((run.code, run.text()), (0, ""), "{}", run.err);
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("B='{value}'\n"));
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn every_failure_is_named_and_nothing_is_printed_nor_replaced() {
    let azure = Azure::demo();
    let out = azure.path("out.env");
    fs::write(&out, "OLD=1\n").unwrap();
    let good = ("GOOD", "secret://pay-prod/db-password");
    let vars = [good, ("ONE", "secret://pay-prod/nothing-1"), ("TWO", "secret://pay-prod/nothing-2")];
    let run = env(&azure, &["--out", &out.display().to_string()], &vars);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("ONE: ") && run.err.contains("TWO: ") && !run.err.contains("GOOD"), "{}", run.err);
    assert!(!run.err.contains("Autumn-2026-staple"));
    assert_eq!(fs::read_to_string(&out).unwrap(), "OLD=1\n");
    for (vars, told) in [
        (vec![good, ("LD_PRELOAD", "secret://pay-prod/db-password")], "LD_PRELOAD: can take a program over"),
        (vec![good, ("BAD", "secret://hunter2")], "BAD: at character 1"),
        (
            vec![good, ("BAD", "${secret://pay-prod/db-password|base64d}")],
            "BAD: the value of secret://pay-prod/db-password",
        ),
        (vec![], "no variable refers to a secret"),
    ] {
        let run = env(&azure, &[], &vars);
        assert_eq!((run.code, run.text()), (64, ""), "{}", run.err);
        assert!(run.err.contains(told) && !run.err.contains("hunter2"), "{}", run.err);
    }
}

#[test]
fn whole_listings_are_named_after_their_secrets() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let args = ["--format", "docker", "--all-from", "pay-prod/db-pass*", "--strip", "db-", "--prefix", "APP_"];
    let run = env(&azure, &args, &[]);
    assert_eq!((run.code, run.text()), (0, "APP_PASSWORD=Autumn-2026-staple\n"), "{}", run.err);
    let run = env(&azure, &["--all-from", "pay-prod/no-such-*"], &[]);
    assert_eq!((run.code, run.text()), (1, ""), "{}", run.err);
}

#[test]
fn a_sidecar_that_is_still_starting_is_waited_for_and_set_wins_over_all() {
    let azure = Azure::demo();
    let set = ["--set", "A=pay-prod/db-password", "--set", "B=x${secret://pay-prod/db-password|base64}"];
    let socket = azure.socket();
    let words = ["env", "--addr", &socket, "--wait", "10m"].into_iter().chain(set);
    let waiting = command(words).env("A", "secret://pay-prod/absent").stdout(Stdio::piped()).spawn().unwrap();
    let (_serving, _) = azure.serve("");
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "A='Autumn-2026-staple'\nB='xQXV0dW1uLTIwMjYtc3RhcGxl'\n");
    let gone = finish(command(["env", "--addr", "/nonexistent/s", "--wait", "0s"].iter().chain(&set)).env("X", "y"));
    assert_eq!((gone.code, gone.text()), (69, ""), "{}", gone.err);
    assert!(gone.err.starts_with("sidekey: nothing was printed:\n"), "{}", gone.err);
}
