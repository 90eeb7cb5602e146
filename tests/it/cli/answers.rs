//! What readers get from a sidecar that runs.
use std::fs;
use std::process::Stdio;

use super::process::{Azure, command, finish, mode, sidekey};

#[test]
fn a_value_is_printed_to_the_byte_and_with_its_attributes_where_asked() {
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    let get = |line: &str| azure.ask(&format!("get {line}"));

    let several_lines =
        "-----BEGIN DEMO KEY-----\nbm90IGEga2V5OiBhIHZhbHVlIHdpdGggc2V2ZXJhbCBsaW5lcw==\n-----END DEMO KEY-----\n";
    assert_eq!(get("pay-prod refund-signing-key").text(), several_lines);
    for address in ["pay-prod db-password", "pay-prod/DB-password", "secret://pay-prod/db-password", "* stripe-api-key"]
    {
        let run = get(address);
        assert_eq!((run.code, run.err.contains("sidekey:")), (0, false), "{address}: {}", run.err);
    }
    assert_eq!(get("https://pay-prod.vault.azure.net/secrets/db-password").text(), "Autumn-2026-staple");
    assert_eq!(get("pay-prod paypal-credentials --field /client_id").text(), "demo-paypal");
    assert_eq!(get("pay-prod paypal-credentials#/client_id").text(), "demo-paypal");

    let document = get("pay-prod db-password --json").json();
    assert_eq!((&document["value"], &document["vault"]), (&"Autumn-2026-staple".into(), &"pay-prod".into()));
    let version = document["version"].as_str().unwrap().to_owned();
    for address in [format!("pay-prod db-password --version {version}"), format!("pay-prod/db-password@{version}")] {
        assert_eq!(get(&address).text(), "Autumn-2026-staple", "{address}");
    }
    let somewhere = get("stripe-api-key --json").json()["version"].as_str().unwrap().to_owned();
    assert_eq!(get(&format!("stripe-api-key --version {somewhere}")).text(), "sk_demo_51Hq8pLkW3nY7vRz");
    let unknown = get("stripe-api-key --version 00000000000000000000000000000000");
    assert_ne!(unknown.code, 0, "a version is honoured without a vault too");
    assert_eq!(unknown.text(), "");
}

#[test]
fn a_value_goes_into_a_file_that_only_its_owner_can_read_whatever_stood_there() {
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    let file = azure.path("out");
    fs::write(&file, "an older and much longer text").unwrap();
    assert_ne!(mode(&file), 0o600);
    let run = azure.ask(&format!("get pay-prod db-password --out {}", file.display()));
    assert_eq!((run.code, run.text()), (0, ""), "{}", run.err);
    assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("Autumn-2026-staple", 0o600));

    let failed = azure.ask(&format!("get pay-prod old-gateway-token --out {}", file.display()));
    assert_eq!(failed.code, 77);
    assert_eq!(fs::read_to_string(&file).unwrap(), "Autumn-2026-staple", "a failure leaves the file as it was");
    let nowhere = azure.ask("get pay-prod db-password --out /nonexistent/out");
    assert_eq!(
        (nowhere.code, nowhere.err.as_str()),
        (74, "sidekey: writing /nonexistent/out: no such file or directory\n")
    );
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".sidekey-")), "{left:?}");
}

#[test]
fn failures_are_told_apart_by_exit_code_and_in_words() {
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    for (line, code, told) in [
        ("get pay-prod absent", 1, "vault pay-prod has no secret absent"),
        ("get nowhere db-password", 1, "no vault nowhere is known"),
        ("get redis-password", 1, "it is one of secret://orders-prod/redis-password"),
        ("get pay-prod paypal-credentials --field /nothing", 1, "/nothing"),
        ("get pay-prod db-password --pem", 1, "not a certificate"),
        ("get pay-prod old-gateway-token", 77, "is disabled"),
        ("get data-shared lake-sas-token", 77, "access policy"),
        ("get fabrikam-billing invoice-key", 77, "tenant"),
        ("get legacy-shared redis-password", 69, "firewall"),
        ("get reports-dev bi-service-password", 69, "throttles"),
        // It may be in a vault that could not be asked: 'not found' would be a lie.
        ("get absent", 69, "legacy-shared"),
        ("search absent", 69, "no secret matches in the vaults that answered"),
        ("search absent --vault pay-*", 1, "no secret matches"),
        ("list legacy-shared", 69, "firewall"),
        ("list nowhere", 1, "no vault nowhere is known"),
    ] {
        let run = azure.ask(line);
        assert_eq!(run.code, code, "{line}: {}", run.err);
        assert!(run.err.contains(told), "{line} does not say {told:?}: {}", run.err);
        if line.starts_with("get") {
            // One line more for each vault that could not be asked.
            let most = if line == "get absent" { 4 } else { 2 };
            assert!(run.out.is_empty() && run.err.lines().count() <= most, "{line}: {}", run.err);
        }
    }
}

#[test]
fn a_partial_answer_looks_partial_in_every_format() {
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    let json = azure.ask("search redis");
    assert_eq!(json.json()["complete"], false);
    assert_eq!(json.json()["unanswered"].as_array().unwrap().len(), 3);
    for (format, first) in [("csv", "vault,name,enabled"), ("tsv", "vault\tname\tenabled"), ("table", "VAULT")] {
        for line in ["search redis", "list"] {
            let run = azure.ask(&format!("{line} --output {format}"));
            assert_eq!(run.code, 0);
            assert!(run.text().starts_with(first), "{format}: {}", run.text());
            assert!(
                run.err.contains("warning: this may not be everything: 3 vaults could not be asked"),
                "{}",
                run.err
            );
            assert!(run.err.contains("legacy-shared: firewall: "), "{}", run.err);
        }
    }
    let whole = azure.ask("list pay-prod");
    assert_eq!((whole.json()["complete"].clone(), whole.err.as_str()), (true.into(), ""));
    assert_eq!(whole.json()["secrets"].as_array().unwrap().len(), 77);
}

#[test]
fn all_pages_of_a_search_are_had_and_a_cut_is_told() {
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    let hits = |run: &super::process::Run| run.json()["hits"].as_array().unwrap().len();
    let usual = azure.ask("search");
    assert_eq!(hits(&usual), 100);
    assert!(usual.err.contains("100 of 297 are shown; --all shows all"), "{}", usual.err);
    let all = azure.ask("search --all");
    assert_eq!(hits(&all), 297);
    assert!(!all.err.contains("are shown"), "{}", all.err);
    assert_eq!(hits(&azure.ask("search --limit 7")), 7);
}

#[test]
fn tcp_asks_for_the_token_and_the_file_that_holds_it_is_enough() {
    let azure = Azure::demo();
    let (_serving, told) = azure.serve("--tcp 127.0.0.1:0");
    let port = told.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let address = format!("http://localhost:{port}");
    let without = sidekey(["get", "pay-prod", "db-password", "--addr", &address]);
    assert_eq!((without.code, without.text()), (77, ""));
    assert!(without.err.contains("--token-file"), "{}", without.err);
    let missing = sidekey(["get", "a", "--addr", &address, "--token-file", "/nonexistent/token"]);
    assert_eq!(missing.code, 74, "a file that is not there is no refusal: {}", missing.err);
    let token = azure.path("token");
    assert_eq!(mode(&token), 0o600);
    let with = finish(
        command(["get", "pay-prod", "db-password"]).env("SIDEKEY_ADDR", &address).env("SIDEKEY_TOKEN_FILE", &token),
    );
    assert_eq!((with.code, with.text()), (0, "Autumn-2026-staple"), "{}", with.err);
    assert_eq!(sidekey(["healthcheck", "--addr", &address]).code, 0, "a probe has no token");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    let mut child = command(["list", "--output", "csv", "--addr", &azure.socket()]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("sidekey:"));
}
