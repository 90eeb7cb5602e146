//! The command line itself, before anybody is asked.
use std::fs;

use clap::CommandFactory as _;
use sidekey::cli::Cli;

use super::process::{command, finish, sidekey, words};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_an_answer_and_a_wrong_command_line_is_64() {
    let help = sidekey(["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for told in ["sidekey get pay-prod db-password", "Exit codes:", "78  wrong configuration", "SIDEKEY_ADDR"] {
        assert!(help.text().contains(told), "{told}");
    }
    // What is a command's own stands before what is common to all.
    let own = sidekey(["search", "--help"]);
    let at = |flag: &str| own.text().find(flag).unwrap_or_else(|| panic!("{flag}: {}", own.text()));
    assert!(at("--match") < at("--all") && at("--all") < at("--output") && at("--direct") < at("--config"));
    assert!(at("--no-color") < at("-h, --help"));
    assert_eq!(sidekey(["help", "search"]).text(), own.text());
    for (line, told) in [
        ("", "Usage: sidekey"),
        ("search --frobnicate", "'--frobnicate'"),
        ("frobnicate", "'frobnicate'"),
        ("get", "ADDRESS"),
        ("get a --addr /s --direct", "--direct"),
        ("search --enabled --disabled", "--disabled"),
    ] {
        let run = sidekey(words(line));
        assert_eq!((run.code, run.text()), (64, ""), "{line}: {}", run.err);
        assert!(run.err.contains(told), "{line}: {}", run.err);
    }
}

#[test]
fn a_name_that_would_become_another_request_is_refused_before_anybody_is_asked() {
    let long = "a".repeat(128);
    for (address, told) in [
        (vec!["pay-prod", "a/b"], "'/' at character 2"),
        (vec!["pay-prod", ".."], "'.' at character 1"),
        (vec!["pay-prod", "%2f"], "'%' at character 1"),
        (vec!["pay-prod", &long], "128 characters; 127 is the most"),
        (vec!["..", "a"], "vault name has '.' at character 1"),
        (vec!["a/b/c"], "'/' at character 2"),
        (vec!["pay-prod", "\u{1b}[31m"], "'\\u{1b}' at character 1"),
        (vec!["pay-prod", "a", "--version", "1"], "--version: version is not 32 hexadecimal digits"),
        (vec!["pay-prod", "a", "--field", "user"], "JSON pointer"),
        (vec!["secret://pay-prod"], "is not a secret's address"),
        (vec!["https://evil.example/secrets/a"], "is not a secret's address"),
        (vec!["pay-prod", "secret://other/a"], "names a vault too"),
    ] {
        let run = sidekey(["get"].into_iter().chain(address.iter().copied()));
        assert_eq!((run.code, run.text()), (64, ""), "{address:?}: {}", run.err);
        assert!(run.err.contains(told), "{address:?}: {}", run.err);
        assert!(!run.err.contains('\u{1b}') && run.err.lines().count() <= 2, "{address:?}: {}", run.err);
    }
}

#[test]
fn a_search_that_cannot_be_understood_is_told_before_anybody_is_asked() {
    for (line, told) in [
        ("search --match regex a(", "the text is no regular expression: unclosed group, at character 2"),
        ("search --match sometimes x", "--match is none of substring, exact"),
        ("search --expires-within soon", "--expires-within is no duration"),
        ("search --updated-since yesterday", "--updated-since is no RFC 3339 time"),
        ("search --sort size", "--sort is none of name, vault"),
        ("search --tag =x", "--tag has no key"),
        ("search --limit 0", "'--limit <N>'"),
    ] {
        let run = sidekey(words(line));
        assert_eq!((run.code, run.text()), (64, ""), "{line}: {}", run.err);
        assert!(run.err.contains(told), "{line}: {}", run.err);
    }
}

#[test]
fn without_a_sidecar_or_credentials_it_is_said_what_to_do() {
    let run = sidekey(["get", "db-password"]);
    assert_eq!((run.code, run.text()), (69, ""));
    assert!(run.err.contains("no sidecar answers at") && run.err.contains("--addr"), "{}", run.err);
    let run = sidekey(["get", "db-password", "--addr", "/nonexistent/s.sock"]);
    assert_eq!(run.code, 69);
    assert_eq!(
        run.err,
        "sidekey: the sidecar at unix:/nonexistent/s.sock cannot be reached: no such file or directory\n"
    );
    let run = sidekey(["healthcheck", "--addr", "http://127.0.0.1:1"]);
    assert_eq!(run.code, 69);
    let run = sidekey(["get", "db-password", "--addr", "http://192.0.2.1:80"]);
    assert_eq!(run.code, 64, "a token never crosses a network in the clear: {}", run.err);
}

#[test]
fn every_fault_of_a_configuration_is_told_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sidekey.toml");
    let socket = folder.path().join("s.sock");
    let text = format!(
        "[listen]\nsocket = {socket:?}\ntcp = \"0.0.0.0:1\"\n[cache]\nttl = \"canary-1\"\nmax_entires = 5\n\
         [[source]]\nclient_secret = \"canary-2\"\ncloud = \"canary-3\"\n[audit]\nrequired = true\n"
    );
    fs::write(&file, text).unwrap();
    for name in ["check", "serve", "doctor"] {
        let run = finish(command([name, "--config", file.to_str().unwrap()]).envs([
            ("SIDEKEY_LOG_LEVEL", "canary 4"),
            ("SIDEKEY_FROBNICATE", "1"),
            ("SIDEKEY_CACHE_TTTL", "1m"),
        ]));
        assert_eq!((run.code, run.text()), (78, ""), "{name}: {}", run.err);
        for told in [
            ":3:7: listen.tcp: ",
            ":5:7: cache.ttl: ",
            ":6:1: cache.max_entires: no such key; did you mean 'max_entries'?",
            ":8:17: source.client_secret: ",
            ":9:9: source.cloud: ",
            ":11:12: audit.required: ",
            "SIDEKEY_LOG_LEVEL: log.level: ",
            "source: no credential",
            "SIDEKEY_FROBNICATE: no such setting\n",
            "SIDEKEY_CACHE_TTTL: no such setting; did you mean 'SIDEKEY_CACHE_TTL'?",
        ] {
            assert!(run.err.contains(told), "{name} does not tell {told}: {}", run.err);
        }
        assert!(!run.err.contains("canary"), "{}", run.err);
    }
    assert!(!socket.exists());
    let run = sidekey(["check", "--config", "/nonexistent/sidekey.toml"]);
    assert_eq!(run.code, 78);
    assert!(
        run.err.contains("/nonexistent/sidekey.toml: the file cannot be read: no such file or directory"),
        "{}",
        run.err
    );
}

#[test]
fn check_tells_what_a_configuration_comes_to_and_no_secret() {
    let run = finish(command(["check"]).envs([
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", "hunter2"),
        ("SIDEKEY_CACHE_TTL", "90s"),
        ("SIDEKEY_LIMITS_BURST", "7"),
        ("SIDEKEY_LISTEN_SOCKET", "/run/x.sock"),
    ]));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.text().starts_with("ok\n") && run.text().contains("ttl 1m 30s") && run.text().contains("/run/x.sock"));
    assert!(run.text().contains("application app of tenant contoso.example, by a client secret"), "{}", run.text());
    assert!(run.text().contains("per vault 190 calls a second, 7 at once after a quiet time"), "{}", run.text());
    assert!(!run.text().contains("hunter2"));
}

#[test]
fn the_emulator_never_faces_a_network_and_tells_what_is_wrong_with_an_estate() {
    let run = sidekey(["emulator", "--listen", "0.0.0.0:0"]);
    assert_eq!(run.code, 64);
    assert!(run.err.contains("loopback"), "{}", run.err);
    let folder = tempfile::tempdir().unwrap();
    let estate = folder.path().join("estate.toml");
    fs::write(&estate, "[[tenant]]\nid = \"t\"\ncolour = \"red\"\n").unwrap();
    let run = sidekey(["emulator", "--listen", "127.0.0.1:0", "--estate", estate.to_str().unwrap()]);
    assert_eq!((run.code, run.text()), (78, ""), "{}", run.err);
    assert!(run.err.contains("estate.toml: line 3: "), "{}", run.err);
    // What it prints as an example is an estate: nothing but the port stops it.
    let example = sidekey(["emulator", "--print-estate"]);
    assert_eq!(example.code, 0);
    fs::write(&estate, example.text()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = sidekey(["emulator", "--listen", &address, "--estate", estate.to_str().unwrap()]);
    assert_eq!(run.code, 69, "{}", run.err);
    assert!(run.err.contains("is in use"), "{}", run.err);
}
