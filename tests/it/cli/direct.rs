//! What a command that signs in by itself asks Azure for: no more than it needs.
use sidekey::emulator::Endpoint;

use super::process::Azure;

#[test]
fn one_value_takes_the_tokens_discovery_and_one_get_and_lists_nothing() {
    let azure = Azure::demo();
    let run = azure.direct("get pay-prod db-password");
    assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple"), "{}", run.err);
    let calls = azure.emulator.control().calls();
    let count = |endpoint| calls.endpoint(endpoint);
    assert_eq!((count(Endpoint::List), count(Endpoint::Versions)), (0, 0), "{calls:?}");
    assert_eq!((count(Endpoint::Token), count(Endpoint::Challenge), count(Endpoint::Get)), (2, 0, 1), "{calls:?}");
    assert_eq!(calls.vaults.keys().collect::<Vec<_>>(), ["pay-prod"]);
    assert!(count(Endpoint::Graph) >= 1, "{calls:?}");
}

#[test]
fn a_vault_that_the_configuration_names_is_read_without_looking_for_it() {
    let azure = Azure::demo();
    azure.configure_source("", "vaults = [\"pay-prod\"]");
    let run = azure.direct("get pay-prod db-password");
    assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple"), "{}", run.err);
    let calls = azure.emulator.control().calls();
    assert_eq!(
        (calls.endpoint(Endpoint::Token), calls.endpoint(Endpoint::Get), calls.requests),
        (1, 1, 2),
        "{calls:?}"
    );
}

#[test]
fn what_is_about_listings_still_lists_and_one_vaults_listing_is_one_vaults() {
    let azure = Azure::demo();
    let control = azure.emulator.control();
    let run = azure.direct("list pay-prod");
    assert_eq!(run.json()["secrets"].as_array().unwrap().len(), 77, "{}", run.err);
    assert_eq!(run.json()["complete"], true);
    let calls = control.calls();
    assert_eq!(calls.vaults.keys().collect::<Vec<_>>(), ["pay-prod"]);
    assert_eq!(calls.vault("pay-prod", Endpoint::List), 4, "pages of 25");

    control.reset_calls();
    assert_eq!(azure.direct("search db-password --vault pay-*").code, 0);
    assert!(control.calls().vaults.len() > 5, "a search looks everywhere");
    control.reset_calls();
    // Whichever vault has it: that takes all listings.
    assert_eq!(azure.direct("get stripe-api-key").text(), "sk_demo_51Hq8pLkW3nY7vRz");
    assert!(control.calls().vaults.len() > 5);
}

#[test]
fn a_vault_that_is_not_there_is_told_whether_it_was_named_or_matched() {
    let azure = Azure::demo();
    for (line, told) in [
        ("get nowhere a", "no vault nowhere is known"),
        ("list nowhere", "no vault nowhere is known"),
        ("search a --vault nowhere", "no vault nowhere is known"),
        ("search a --vault nowhere-*", "no vault matches nowhere-*"),
        ("search absent --vault pay-*", "no secret matches"),
    ] {
        let run = azure.direct(line);
        assert_eq!((run.code, run.err.contains(told)), (1, true), "{line}: {}", run.err);
    }
}
