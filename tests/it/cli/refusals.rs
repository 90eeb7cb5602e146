//! Without a sidecar: signing in by itself, and what stands in the way of that.
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use sidekey::emulator::{Effect, Endpoint, Fault};

use super::process::{Azure, CLIENT_SECRET, command, finish, sidekey};

#[test]
fn a_wrong_credential_is_told_with_its_code_and_what_to_do() {
    let azure = Azure::demo();
    azure.sign_in_with("canary-wrong");
    for line in ["get pay-prod db-password", "get db-password", "search redis", "list", "vaults"] {
        let run = azure.direct(line);
        assert_eq!(run.code, 77, "{line}: {}", run.err);
        assert!(
            run.err.contains("AADSTS7000215") && run.err.contains("the client secret is wrong"),
            "{line}: {}",
            run.err
        );
        assert!(!run.err.contains("not found\n") && !run.err.contains("canary"), "{line}: {}", run.err);
    }
    let doctor = sidekey(["doctor", "--config", &azure.config()]);
    assert_eq!(doctor.code, 77);
    assert!(doctor.text().contains("AADSTS7000215"), "{}", doctor.text());
    assert!(doctor.text().contains("az ad app credential reset --id 5ec2e7aa-0000-4000-8000-000000051de0 --append"));
    assert!(!doctor.text().contains("canary"));
}

#[test]
fn with_credentials_in_the_environment_nothing_else_has_to_run() {
    let azure = Azure::demo();
    let to = azure.emulator.addr();
    let resolve = format!("login.microsoftonline.com={to},management.azure.com={to},*.vault.azure.net={to}");
    let file = azure.path("client-secret").display().to_string();
    let by_variable = ("AZURE_CLIENT_SECRET", CLIENT_SECRET);
    let by_file = ("SIDEKEY_SOURCE_CLIENT_SECRET_FILE", file.as_str());
    let run = |line: &[&str], credential| {
        finish(command(line).envs([
            ("AZURE_TENANT_ID", "72f988bf-0000-4000-8000-00000000c0de"),
            ("AZURE_CLIENT_ID", "5ec2e7aa-0000-4000-8000-000000051de0"),
            credential,
            ("SIDEKEY_SOURCE_CA_FILE", azure.path("ca.pem").to_str().unwrap()),
            ("SIDEKEY_SOURCE_RESOLVE", &resolve),
        ]))
    };
    for credential in [by_variable, by_file] {
        let get = run(&["get", "pay-prod", "db-password"], credential);
        assert_eq!((get.code, get.text()), (0, "Autumn-2026-staple"), "{}", get.err);
        assert!(get.err.contains("no sidecar answers; signing in here"), "{}", get.err);
    }
    let search = run(&["search", "redis-password"], by_variable);
    assert_eq!(search.code, 0, "{}", search.err);
    assert_eq!(search.json()["hits"].as_array().unwrap().len(), 4);
    assert_eq!(search.json()["complete"], false);
}

#[test]
fn a_get_from_one_vault_waits_for_no_other() {
    let azure = Azure::demo();
    // Who waits for orders-prod to be listed waits for ever.
    azure.configure("[limits]\ncall_timeout = \"1h\"\nattempt_timeout = \"1h\"\nread_timeout = \"1h\"\n");
    azure.emulator.control().fault(Fault::new(Effect::Hang).on(Endpoint::List).vault("orders-prod"));
    let run = azure.direct("get pay-prod db-password");
    assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple"), "{}", run.err);
    let run = azure.direct("list pay-prod");
    assert_eq!(run.json()["secrets"].as_array().unwrap().len(), 77);
}

#[test]
fn an_identity_that_sees_nothing_is_told_so() {
    let azure = Azure::demo();
    azure.emulator.control().fault(Fault::new(Effect::Reset));
    let run = azure.direct("get pay-prod db-password");
    assert_eq!(run.code, 69, "an outage is no denial: {}", run.err);
    assert!(!run.err.contains("is known"), "an outage is never 'no such vault': {}", run.err);
}

#[test]
fn an_address_that_is_taken_is_told_and_left_alone() {
    let azure = Azure::demo();
    let config = azure.config();
    let taken = UnixListener::bind(azure.socket()).unwrap();
    let run = sidekey(["serve", "--config", &config]);
    assert_eq!(run.code, 69);
    assert!(
        run.err.contains("is taken") && run.err.contains("--socket") && run.err.contains(&azure.socket()),
        "{}",
        run.err
    );
    assert!(azure.path("s.sock").exists());
    drop(taken);

    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    let run = sidekey(["serve", "--config", &config, "--tcp", &address]);
    assert_eq!(run.code, 69);
    let told = format!("port {} is in use", port.local_addr().unwrap().port());
    assert!(run.err.contains(&told) && run.err.contains("--tcp"), "{}", run.err);
    for line in [["emulator", "--listen"], ["demo", "--emulator"], ["demo", "--tcp"]] {
        let run = sidekey(line.into_iter().chain([address.as_str()]));
        assert_eq!((run.code, run.err.contains(&told)), (69, true), "{line:?}: {}", run.err);
        assert!(run.err.contains(&format!("choose another with {}", line[1])), "{line:?}: {}", run.err);
    }
}

#[test]
fn what_stands_in_a_sockets_place_is_kept_unless_it_is_a_socket_that_nobody_listens_on() {
    let azure = Azure::demo();
    let (file, link, stale) = (azure.path("file"), azure.path("link"), azure.path("stale"));
    std::fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for place in [&file, &link] {
        let run = sidekey(["serve", "--config", &azure.config(), "--socket", place.to_str().unwrap()]);
        assert_eq!((run.code, run.err.contains("exists and is not a socket")), (69, true), "{}", run.err);
        assert_eq!(std::fs::read_to_string(place).unwrap(), "precious");
    }
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let (_serving, told) = azure.serve(&format!("--socket {}", stale.display()));
    assert!(told.contains("removing a socket that nobody listens on"), "{told}");
    assert_eq!(sidekey(["healthcheck", "--addr", stale.to_str().unwrap()]).code, 0);
}

#[test]
fn a_sidecar_that_cannot_sign_in_runs_and_says_that_it_is_not_ready_and_why() {
    let azure = Azure::demo();
    azure.sign_in_with("canary-wrong");
    let (_serving, told) = azure.serve("");
    assert!(told.contains("AADSTS7000215") && !told.contains("canary"), "{told}");
    let run = azure.ask("healthcheck");
    assert_eq!((run.code, run.text()), (69, ""));
    assert!(run.err.contains("no vault could be asked yet: source contoso (sign-in-failed)"), "{}", run.err);
    assert_eq!(azure.ask("healthcheck --live").code, 0, "a restart would mend nothing");
    let run = azure.ask("get pay-prod db-password");
    assert_eq!(run.code, 77, "{}", run.err);
    assert!(run.err.contains("AADSTS7000215") && !run.err.contains("found"), "{}", run.err);
}

#[test]
fn the_demo_and_the_emulator_do_not_pass_a_flag_over_in_silence() {
    for (line, told) in [
        (["demo", "--config", "mine.toml"], "--config: the demo has a configuration of its own"),
        (["emulator", "--config", "mine.toml"], "--estate"),
        (["demo", "--emulator", "0.0.0.0:0"], "--emulator: the emulator listens on loopback only"),
        (["emulator", "--listen", "0.0.0.0:0"], "--listen: the emulator listens on loopback only"),
    ] {
        let run = sidekey(line);
        assert_eq!((run.code, run.text(), run.err.contains(told)), (64, "", true), "{line:?}: {}", run.err);
    }
    // A fault is told where it was typed, not in a file that nobody wrote.
    let run = sidekey(["demo", "--tcp", "0.0.0.0:1"]);
    assert_eq!(run.code, 78);
    assert!(run.err.contains("\n--tcp: listen.tcp: must be a loopback address"), "{}", run.err);
}
