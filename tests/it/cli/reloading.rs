//! SIGHUP: a new configuration, while callers read on.
use std::fs;

use rustix::process::Signal;
use sidekey::emulator::{Effect, Endpoint, Fault};

use super::process::{Azure, sidekey};
use super::relay::Load;

/// The client id that the demo's sidecar signs in with.
const DEMO_APP: &str = "5ec2e7aa-0000-4000-8000-000000051de0";

/// The counter of that name with these labels.
fn counter(azure: &Azure, line: &str) -> u64 {
    let socket = azure.path("s.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    text.lines().find_map(|told| told.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn a_new_configuration_is_taken_in_without_a_failed_read_or_a_second_one() {
    let azure = Azure::demo();
    let (serving, told) = azure.begin("serve");
    told.until("first round done");
    assert_eq!(azure.ask("get pay-prod db-password").code, 0);
    assert_eq!(azure.ask("get redis-password").code, 1, "several vaults hold it");
    let control = azure.emulator.control();
    let (asked, reads) =
        (control.calls().endpoint(Endpoint::Get), counter(&azure, "sidekey_reads_total{outcome=\"miss\"}"));
    assert!(reads > 0);
    let load = Load::on(&azure.socket(), "pay-prod", "db-password", "Autumn-2026-staple");
    for round in 0..5 {
        azure.configure(if round % 2 == 0 { "[search]\norder = [\"pay-prod\"]" } else { "" });
        serving.signal(Signal::HUP);
        told.until("the new configuration is in force");
    }
    let figures = load.end();
    assert!(figures.failed.is_empty() && figures.reads > 100, "{figures:?}");
    assert_eq!(control.calls().endpoint(Endpoint::Get), asked, "what is held is handed on");
    assert_eq!(azure.ask("get redis-password").code, 0, "{:?}", azure.ask("get redis-password"));
    assert_eq!(counter(&azure, "sidekey_reads_total{outcome=\"miss\"}"), reads + 1, "counters go on");
    assert_eq!(counter(&azure, "sidekey_reloads_total{outcome=\"ok\"}"), 5);
    assert_eq!(azure.ask("healthcheck").code, 0);
}

#[test]
fn a_configuration_with_faults_is_told_whole_and_changes_nothing() {
    let azure = Azure::demo();
    let (serving, told) = azure.begin("serve");
    told.until("first round done");
    azure.configure("[cache]\nttl = \"soon\"\nttll = \"5m\"\n[search]\norder = [\"no vault\"]");
    let config = azure.config();
    assert_eq!(sidekey(["check", "--config", &config]).code, 78);
    serving.signal(Signal::HUP);
    let faults = told.until("stays in force");
    for key in ["cache.ttl", "cache.ttll", "search.order"] {
        assert!(faults.contains(key), "{key}: {faults}");
    }
    // What only shows when it is built is a fault as well.
    azure.configure("");
    fs::rename(azure.path("ca.pem"), azure.path("away.pem")).unwrap();
    fs::write(azure.path("ca.pem"), "no certificate").unwrap();
    serving.signal(Signal::HUP);
    let faults = told.until("stays in force");
    assert!(faults.contains("ca_file"), "{faults}");
    assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
    assert_eq!(counter(&azure, "sidekey_reloads_total{outcome=\"refused\"}"), 2);
    fs::rename(azure.path("away.pem"), azure.path("ca.pem")).unwrap();
    serving.signal(Signal::HUP);
    told.until("the new configuration is in force");
}

#[test]
fn what_needs_a_restart_is_told_and_the_token_is_read_again() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let (mut serving, told) = azure.begin("serve --tcp 127.0.0.1:0");
    let text = told.until("first round done");
    let port = text.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let address = format!("http://127.0.0.1:{port}");
    let get = |token: &str| {
        let token = azure.path(token).display().to_string();
        sidekey(["get", "pay-prod", "db-password", "--addr", &address, "--token-file", &token]).code
    };
    fs::copy(azure.path("token"), azure.path("old-token")).unwrap();
    assert_eq!((get("token"), get("old-token")), (0, 0));
    fs::write(azure.path("token"), "a-token-of-the-operators-own").unwrap();
    azure.only("pay-prod", "[log]\nlevel = \"debug\"");
    let text = fs::read_to_string(azure.config()).unwrap().replace("s.sock", "other.sock");
    fs::write(azure.config(), text).unwrap();
    serving.signal(Signal::HUP);
    let text = told.until("the new configuration is in force");
    for key in ["listen.socket", "log"] {
        assert!(text.lines().any(|line| line.contains(key) && line.contains("needs a restart")), "{key}: {text}");
    }
    assert!(!text.contains("listen.tcp"), "{text}");
    assert_eq!((get("token"), get("old-token")), (0, 77));
    assert!(azure.path("s.sock").exists() && !azure.path("other.sock").exists());
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn another_identity_is_not_handed_what_the_one_before_it_could_read() {
    let azure = Azure::demo();
    let (serving, told) = azure.begin("serve");
    told.until("first round done");
    assert_eq!(azure.ask("get pay-prod db-password").code, 0);
    // A valid one, that may read nothing.
    let text = fs::read_to_string(azure.config()).unwrap();
    let another = text.replace(DEMO_APP, "5ec2e7aa-0000-4000-8000-00000001e7e2");
    assert_ne!(text, another);
    fs::write(azure.config(), another).unwrap();
    azure.sign_in_with("demo-intern-secret");
    serving.signal(Signal::HUP);
    told.until("the new configuration is in force");
    let run = azure.ask("get pay-prod db-password");
    assert!(run.code != 0 && run.text().is_empty(), "{run:?}");
}

#[test]
fn a_configuration_that_reaches_no_vault_does_not_cost_what_is_held() {
    let azure = Azure::demo();
    let (serving, told) = azure.begin("serve");
    told.until("first round done");
    assert_eq!(azure.ask("get pay-prod db-password").code, 0);
    let text = fs::read_to_string(azure.config()).unwrap();
    for (why, wrong) in [
        ("sign-in-failed", text.replace(DEMO_APP, "00000000-0000-4000-8000-000000000001")),
        ("connection-failed", text.replace("name = \"contoso\"", "name = \"renamed\"")),
    ] {
        if why == "connection-failed" {
            azure.emulator.control().fault(Fault::new(Effect::Reset));
        }
        fs::write(azure.config(), wrong).unwrap();
        serving.signal(Signal::HUP);
        let faults = told.until("stays in force");
        assert!(faults.contains("no vault could be asked") && faults.contains(why), "{why}: {faults}");
        assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
    }
}
