//! Upgrades: a sidecar takes the socket over from another while callers read, and none of them meets a failure.
use super::process::Azure;
use super::relay::{Load, round};

#[test]
fn no_read_fails_while_one_sidecar_after_the_other_takes_the_socket_over_and_the_old_one_is_ended() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let (mut serving, _) = azure.serve("");
    let load = Load::on(&azure.socket(), "pay-prod", "db-password", "Autumn-2026-staple");
    for _ in 0..20 {
        serving = round(&azure, serving);
    }
    let figures = load.end();
    assert!(figures.failed.is_empty(), "{:?}", figures.failed);
    assert!(figures.reads > 1_000 && figures.connections > 100, "{figures:?}");
    assert_eq!(serving.stop(), Some(0));
    assert!(!azure.path("s.sock").exists() && !azure.path("s.sock.next").exists());
}

#[test]
fn one_that_is_not_ready_takes_nothing_over() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let (_serving, _) = azure.serve("");
    let before = super::process::inode(&azure.path("s.sock"));
    azure.only("pay-prod", "[cache]\nprefetch = [\"secret://pay-prod/no-such-secret\"]");
    let (mut other, lines) = azure.begin("serve --take-over");
    assert!(lines.until("first round done").contains("taking it over once ready"));
    // Its own name answers, and says that it is not ready; the place is still the first one's.
    assert_eq!(azure.asked("get pay-prod db-password", "s.sock.next").text(), "Autumn-2026-staple");
    let ready = azure.asked("healthcheck", "s.sock.next");
    assert_eq!(ready.code, 69, "{}", ready.err);
    assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
    assert_eq!(super::process::inode(&azure.path("s.sock")), before);
    assert_eq!(other.stop(), Some(0));
    assert!(azure.path("s.sock").exists() && !azure.path("s.sock.next").exists());
}

#[test]
fn a_port_is_taken_when_the_other_lets_go_of_it() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let (mut old, told) = azure.serve("--tcp 127.0.0.1:0");
    let port = told.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    // Without being told to take over, a second one says that the place is taken.
    let config = azure.config();
    let second = super::process::sidekey(["serve", "--config", &config]);
    assert_eq!(second.code, 69);
    assert!(second.err.contains("is taken"), "{}", second.err);

    let (_new, lines) = azure.begin(&format!("serve --take-over --tcp 127.0.0.1:{port}"));
    assert!(lines.until("taken over;").contains("listening there once it is free"));
    assert_eq!(old.stop(), Some(0));
    lines.until(&format!("127.0.0.1:{port}"));
    let token = azure.path("token").display().to_string();
    let run = super::process::sidekey([
        "get",
        "pay-prod",
        "db-password",
        "--addr",
        &format!("http://127.0.0.1:{port}"),
        "--token-file",
        &token,
    ]);
    assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple"), "{}", run.err);
}

#[test]
fn one_that_is_not_ready_takes_the_place_of_one_that_fell() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let (serving, _) = azure.serve("");
    azure.only("pay-prod", "[cache]\nprefetch = [\"secret://pay-prod/no-such-secret\"]");
    let (_other, lines) = azure.begin("serve --take-over");
    lines.until("first round done");
    // Its socket stays behind and refuses whoever connects.
    serving.signal(rustix::process::Signal::KILL);
    lines.until("taken over before this one is ready");
    assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
    assert_eq!(azure.ask("healthcheck").code, 69);
    assert!(!azure.path("s.sock.next").exists());
}
