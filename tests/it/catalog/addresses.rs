//! What a vault's address means, and that it never comes to mean another vault.

use std::sync::Arc;

use sidekey::catalog::{Catalog, CatalogOptions, Lookup};
use sidekey::vaults::{SkipReason, Source};

use super::estate::{
    Round, Scripted, ScriptedSource, failure, found, hits, outage, pass, round, run, search, skipped, vault_name,
};

fn catalog(sources: [&Arc<ScriptedSource>; 2]) -> Catalog {
    let sources = sources.into_iter().map(|source| Arc::clone(source) as Arc<dyn Source>).collect();
    Catalog::new(sources, CatalogOptions::default())
}

fn addresses(catalog: &Catalog) -> Vec<String> {
    catalog.vaults().iter().map(|vault| vault.address.to_string()).collect()
}

fn means(catalog: &Catalog, address: &str) -> String {
    found(catalog, address).id().to_string()
}

#[tokio::test(start_paused = true)]
async fn the_earliest_source_has_the_bare_name_and_every_vault_has_the_qualified_one() {
    // The later source answers first: order of configuration counts, not of answers.
    let (a, b) = (
        ScriptedSource::new("a", None),
        ScriptedSource::new("b", round([&Scripted::seen_by("b", "pay"), &Scripted::seen_by("b", "mail")])),
    );
    let catalog = catalog([&a, &b]);
    let other = Catalog::clone(&catalog);
    tokio::select! {
        () = other.refresh(None) => unreachable!("source a hangs"),
        () = pass(1) => {}
    }
    // Until the earlier source has spoken, nobody knows whose `pay` is.
    assert!(matches!(catalog.vault(&vault_name("pay")), Lookup::NotYet));
    assert_eq!(means(&catalog, "b:pay"), "b:pay");

    a.now(round([&Scripted::seen_by("a", "pay")]));
    catalog.refresh(None).await;
    assert_eq!(addresses(&catalog), ["b:pay", "mail", "pay"]);
    for (address, vault) in
        [("pay", "a:pay"), ("a:pay", "a:pay"), ("b:pay", "b:pay"), ("mail", "b:mail"), ("b:mail", "b:mail")]
    {
        assert_eq!(means(&catalog, address), vault, "{address}");
    }
    assert_eq!(hits(&search(&catalog, &[])), ["b:pay/x", "mail/x", "pay/x"]);
}

#[tokio::test(start_paused = true)]
async fn a_bare_name_once_given_is_kept_against_an_earlier_source() {
    let (a, b) =
        (ScriptedSource::new("a", Round::default()), ScriptedSource::new("b", round([&Scripted::seen_by("b", "pay")])));
    let catalog = catalog([&a, &b]);
    catalog.refresh(None).await;
    assert_eq!(means(&catalog, "pay"), "b:pay");
    a.now(round([&Scripted::seen_by("a", "pay")]));
    catalog.refresh(None).await;
    assert_eq!(means(&catalog, "pay"), "b:pay");
    assert_eq!(addresses(&catalog), ["a:pay", "pay"]);
}

#[tokio::test(start_paused = true)]
async fn a_bare_name_does_not_pass_to_another_vault_when_its_own_has_left() {
    let (a, b) = (
        ScriptedSource::new("a", round([&Scripted::seen_by("a", "pay")])),
        ScriptedSource::new("b", round([&Scripted::seen_by("b", "pay")])),
    );
    let catalog = catalog([&a, &b]);
    catalog.refresh(None).await;
    a.now(Round::default());
    catalog.refresh(None).await;
    pass(60).await;
    catalog.refresh(None).await;
    assert!(matches!(catalog.vault(&vault_name("pay")), Lookup::NotFound { .. }));
    assert_eq!(addresses(&catalog), ["b:pay"]);
    // And it is its own again when it comes back.
    a.now(round([&Scripted::seen_by("a", "pay")]));
    catalog.refresh(None).await;
    assert_eq!(means(&catalog, "pay"), "a:pay");
}

#[tokio::test(start_paused = true)]
async fn a_skipped_vault_takes_no_name_from_one_that_can_be_asked() {
    let (a, b) = (
        ScriptedSource::new("a", Round { skipped: vec![skipped("a", "pay"), skipped("a", "far")], ..Round::default() }),
        ScriptedSource::new("b", round([&Scripted::seen_by("b", "pay")])),
    );
    let catalog = catalog([&a, &b]);
    catalog.refresh(None).await;
    assert_eq!(means(&catalog, "pay"), "b:pay");
    assert_eq!(addresses(&catalog), ["a:pay", "far", "pay"]);
    for address in ["a:pay", "far", "a:far"] {
        match catalog.vault(&vault_name(address)) {
            Lookup::Skipped(skipped) => assert!(matches!(skipped.reason, SkipReason::ForeignTenant { .. })),
            other => panic!("{address} is skipped, got {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_short_discovery_may_have_missed_is_not_plainly_absent() {
    let short = Round { faults: vec![failure(outage())], ..Round::default() };
    let (a, b) = (ScriptedSource::new("a", Round::default()), ScriptedSource::new("b", short));
    let catalog = catalog([&a, &b]);
    assert!(matches!(catalog.vault(&vault_name("pay")), Lookup::NotYet));
    catalog.refresh(None).await;
    let faults = |address: &str| match catalog.vault(&vault_name(address)) {
        Lookup::NotFound { faults } => faults.len(),
        other => panic!("{address} is not found, got {other:?}"),
    };
    assert_eq!((faults("pay"), faults("b:pay"), faults("a:pay")), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_holds_up_no_other() {
    let (a, b) = (ScriptedSource::new("a", None), ScriptedSource::new("b", round([&Scripted::seen_by("b", "pay")])));
    let catalog = catalog([&a, &b]);
    let _running = run(&catalog);
    pass(1).await;
    assert_eq!(hits(&search(&catalog, &[])), ["b:pay/x"]);
    assert!(!catalog.progress().borrow().discovery_done);
    // It does not hang for ever, either: the round has failed then, and the name is given.
    catalog.discovered().await;
    assert_eq!(means(&catalog, "pay"), "b:pay");
}
