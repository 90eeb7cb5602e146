//! Any program asks over HTTP; and the credentials that this takes are on no command line and in no image.
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use clap::CommandFactory as _;
use sidekey::cli::Cli;

use super::{azure, request};
use crate::cli::process::sidekey;

#[test]
fn a_secret_is_one_http_request_away_over_the_socket_and_over_tcp() {
    let azure = azure(
        "[[vault]]\nname = \"alpha\"\nsubscription = \"first\"\n[[vault.secret]]\nname = \"db-password\"\nvalue = \"of \
         alpha\"\n",
    );
    let (_serving, told) = azure.serve("--tcp 127.0.0.1:0");
    let path = "/v1/vaults/alpha/secrets/db-password";
    let over_socket = request(UnixStream::connect(azure.socket()).unwrap(), "localhost", path, "");
    assert_eq!((over_socket.status, over_socket.body.as_str()), (200, "of alpha"), "the body is the value");

    let port = told.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let host = format!("127.0.0.1:{port}");
    let tcp = |headers: &str| request(TcpStream::connect(&host).unwrap(), &host, path, headers);
    let token = std::fs::read_to_string(azure.path("token")).unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    let over_tcp = tcp(&bearer);
    assert_eq!((over_tcp.status, over_tcp.body.as_str()), (200, "of alpha"));
    assert_eq!(tcp("").problem().1, "unauthenticated");
}

#[test]
fn no_flag_of_any_command_takes_a_secret() {
    for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
        for argument in command.get_arguments() {
            let name = format!("{} {}", argument.get_id(), argument.get_long().unwrap_or_default()).to_lowercase();
            let takes = argument.get_value_names().unwrap_or_default();
            let secret = ["secret", "password", "token", "credential", "assertion", "certificate", "key"];
            if secret.iter().any(|word| name.contains(word)) && argument.get_action().takes_values() {
                assert_eq!(takes, ["FILE"], "{} {name} takes more than a file's name", command.get_name());
            }
        }
    }
}

#[test]
fn a_credential_on_the_command_line_is_refused_unread_with_where_it_belongs() {
    for (line, told) in [
        (vec!["serve", "--client-secret", "canary"], "AZURE_CLIENT_SECRET"),
        (vec!["serve", "--client-secret=canary"], "client_secret_file"),
        (vec!["get", "alpha", "db-password", "--client_secret=canary"], "AZURE_CLIENT_SECRET"),
        (vec!["search", "redis", "--password", "canary"], "AZURE_CLIENT_SECRET"),
        (vec!["--azure-client-secret", "canary", "list"], "AZURE_CLIENT_SECRET"),
        (vec!["list", "--token", "canary"], "--token-file"),
        (vec!["get", "alpha", "db-password", "--token=canary"], "--token-file"),
    ] {
        let run = sidekey(&line);
        assert_eq!((run.code, run.text()), (64, ""), "{line:?}: {}", run.err);
        assert!(run.err.contains(told), "{line:?} does not say {told:?}: {}", run.err);
        assert!(run.err.contains("every process"), "{line:?} does not say why: {}", run.err);
        assert!(!run.err.contains("canary"), "{line:?}: {}", run.err);
    }
}

#[test]
fn nothing_of_a_credential_is_in_the_image() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let dockerfile = read("Dockerfile");
    let steps = dockerfile.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for step in steps {
        let upper = step.to_uppercase();
        for word in ["AZURE_", "SECRET", "PASSWORD", "TOKEN", "CREDENTIAL", ".PEM", ".PFX", "SIDEKEY_"] {
            assert!(!upper.contains(word), "{step}");
        }
        let argument = step.strip_prefix("ARG ").map(|argument| argument.split('=').next().unwrap_or_default());
        assert!(argument.is_none_or(|name| ["TARGETARCH", "VERSION", "REVISION"].contains(&name)), "{step}");
        assert!(!upper.starts_with("ADD "), "{step}");
        if let Some(copied) = step.strip_prefix("COPY ").filter(|copied| !copied.starts_with("--from=build ")) {
            let from: Vec<_> = copied.split_whitespace().collect();
            let sources = ["Cargo.toml", "Cargo.lock", "benches", "src", "deploy/build.sh", "deploy/target.sh"];
            assert!(from[..from.len() - 1].iter().all(|what| sources.contains(what)), "{step}");
        }
    }
    // Whatever lies beside the sources does not even get to the builder.
    let ignored = read(".dockerignore");
    let rules: Vec<_> = ignored.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(
        rules,
        [
            "*",
            "!Cargo.toml",
            "!Cargo.lock",
            "!src",
            "!benches",
            "!deploy",
            "deploy/*",
            "!deploy/build.sh",
            "!deploy/target.sh"
        ]
    );
}
