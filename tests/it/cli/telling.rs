//! What the log tells to whoever is on call: each thing once, and nothing as often as a caller likes.
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use sidekey::emulator::Change;

use super::process::Azure;

#[test]
fn a_caller_that_fails_again_and_again_does_not_fill_the_log() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    azure.emulator.control().change(Change::Throttle { vault: "pay-prod".to_owned(), on: true }).unwrap();
    let (mut serving, lines) = azure.begin("serve");
    lines.until("first round done");
    for _ in 0..100 {
        let mut caller = UnixStream::connect(azure.path("s.sock")).unwrap();
        let request = "GET /v1/vaults/pay-prod/secrets/db-password HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        caller.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    assert_eq!(serving.stop(), Some(0));
    let told = lines.until(" stopped");
    assert_eq!(told.matches("a request failed").count(), 10, "{told}");
}

#[test]
fn what_keeps_a_vault_from_being_listed_is_told_once_and_under_one_name() {
    let azure = Azure::demo();
    let (_serving, told) = azure.serve("");
    for (vault, lines) in [("contoso:fabrikam-billing", 1), ("contoso:legacy-shared", 1), ("contoso:reports-dev", 2)] {
        assert_eq!(told.lines().filter(|line| line.contains(&format!("vault={vault}"))).count(), lines, "{told}");
    }
    assert_eq!(told.matches("looked for vaults").count(), 1, "{told}");
}
