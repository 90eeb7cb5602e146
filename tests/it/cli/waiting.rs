//! `wait`, as what starts an app before its sidecar is there meets it.
use std::process::{Child, Stdio};

use sidekey::emulator::{Effect, Endpoint, Fault};

use super::process::{Azure, Run, Staying, command, finish, sidekey, words};

/// A command that is left to run.
fn begin(azure: &Azure, line: &str) -> Child {
    let mut command = command(words(line).into_iter().chain(["--addr", &azure.socket()]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    Run { code: output.status.code().unwrap_or(-1), out: output.stdout, err }
}

#[test]
fn who_starts_before_the_sidecar_waits_for_it_and_for_what_it_cannot_do_without() {
    let azure = Azure::demo();
    let refs = "--for secret://pay-prod/db-password --for pay-prod/paypal-credentials#/client_id --for *stripe-api-key";
    let waits = begin(&azure, &format!("wait --timeout 60s {}", refs.replace("*stripe", "secret://*/stripe")));
    let (_serving, _) = azure.serve("");
    let run = end(waits);
    assert_eq!((run.code, run.text(), run.err.as_str()), (0, "ready\n", ""));
}

#[test]
fn a_secret_that_comes_later_is_waited_for() {
    let azure = Azure::demo();
    azure.configure("[cache]\nnegative_ttl = \"100ms\"\nlisting_interval = \"1s\"");
    let (_serving, _) = azure.serve("");
    let waits = begin(&azure, "wait --timeout 60s --for pay-prod/born-later");
    let control = azure.emulator.control();
    let asked = control.calls().endpoint(Endpoint::Get);
    while control.calls().endpoint(Endpoint::Get) == asked {
        std::thread::yield_now();
    }
    azure.set("pay-prod", "born-later", "1");
    let run = end(waits);
    assert_eq!((run.code, run.text(), run.err.as_str()), (0, "ready\n", ""));
}

#[test]
fn who_waits_in_vain_is_told_for_what() {
    let azure = Azure::demo();
    let nobody = azure.ask("wait --timeout 200ms");
    assert_eq!((nobody.code, nobody.text()), (69, ""));
    let told = "sidekey: not ready after 200ms; still waiting for\n  the sidecar: ";
    assert!(nobody.err.starts_with(told) && nobody.err.contains(&azure.socket()), "{}", nobody.err);
    let once = azure.ask("wait --timeout 0s");
    assert_eq!(once.code, 69, "{}", once.err);

    let (_serving, _) = azure.serve("");
    assert_eq!(azure.ask("wait --timeout 0s").code, 0);
    let run = azure.ask("wait --timeout 1s --for pay-prod/db-password --for pay-prod/none --for old-gateway-token");
    assert_eq!((run.code, run.text()), (69, ""), "{}", run.err);
    assert!(run.err.contains("secret://pay-prod/none: ") && !run.err.contains("db-password"), "{}", run.err);
    assert!(run.err.contains("secret://*/old-gateway-token: "), "{}", run.err);

    // Where no address is told, it says where it looked; and it never signs in by itself.
    let mut nowhere = command(["wait", "--timeout", "100ms"]);
    let run = finish(nowhere.envs([("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s")]));
    assert_eq!(run.code, 69);
    assert!(run.err.contains("the sidecar: no sidecar answers at /"), "{}", run.err);
}

#[test]
fn what_cannot_be_understood_is_not_waited_for() {
    let azure = Azure::demo();
    for line in ["wait --for secret://", "wait --for a/b/c", "wait --timeout soon", "wait --timeout"] {
        assert_eq!(azure.ask(line).code, 64, "{line}");
    }
    assert_eq!(sidekey(["wait", "--addr", "http://example.org:1"]).code, 64);
}

#[test]
fn a_sidecar_that_does_not_know_its_vaults_yet_is_waited_for_until_it_does() {
    let azure = Azure::demo();
    azure.configure("[limits]\nattempt_timeout = \"500ms\"\nretries = 10");
    let control = azure.emulator.control();
    let hang = control.fault(Fault::new(Effect::Hang).on(Endpoint::List).vault("pay-prod"));
    let config = azure.config();
    let mut serving = command(["serve", "--config", &config]);
    serving.stderr(Stdio::null());
    let _serving = Staying::start(serving);
    let waits = begin(&azure, "wait --timeout 120s");
    while control.calls().endpoint(Endpoint::List) == 0 {
        std::thread::yield_now();
    }
    let early = azure.ask("wait --timeout 0s");
    assert_eq!(early.code, 69, "{}", early.err);
    assert!(early.err.contains("still waiting for\n  the sidecar: "), "{}", early.err);
    control.clear_fault(hang);
    let run = end(waits);
    assert_eq!((run.code, run.text()), (0, "ready\n"), "{}", run.err);
}
