//! Vaults that the configuration names are there before anything is discovered; what the first round says of them holds.

use std::sync::Arc;

use sidekey::catalog::{Catalog, CatalogOptions, KnownVault, Lookup};
use sidekey::vaults::{Source, Vault as _};

use super::estate::{
    Round, Scripted, ScriptedSource, failure, found, hits, named, outage, pass, round, run, search, skipped,
    unanswered, vault_name,
};

fn catalog(sources: &[&Arc<ScriptedSource>]) -> Catalog {
    let sources = sources.iter().map(|source| Arc::clone(source) as Arc<dyn Source>).collect();
    Catalog::new(sources, CatalogOptions::default())
}

fn means(catalog: &Catalog, address: &str) -> Option<String> {
    match catalog.vault(&vault_name(address)) {
        Lookup::Found(entry) => Some(entry.id().to_string()),
        Lookup::Skipped(_) | Lookup::NotYet | Lookup::NotFound { .. } => None,
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_there_and_listed_while_discovery_hangs_and_nothing_looks_whole() {
    let pay = Scripted::seen_by("s", "pay");
    let catalog = catalog(&[&ScriptedSource::naming("s", [&pay], None)]);
    assert_eq!(means(&catalog, "pay").as_deref(), Some("s:pay"));
    assert!(matches!(catalog.vault(&vault_name("mail")), Lookup::NotYet));
    let _running = run(&catalog);
    pass(1).await;
    let page = search(&catalog, &[]);
    assert_eq!(hits(&page), ["pay/x"]);
    assert_eq!(unanswered(&page), [("discovery of s".to_owned(), "discovering")]);
    let progress = *catalog.progress().borrow();
    assert_eq!((progress.discovery_done, progress.vaults, progress.listed, progress.secrets), (false, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_later_source_s_has_its_bare_name_when_the_earlier_ones_have_spoken() {
    let (a, pay) = (ScriptedSource::new("a", None), Scripted::seen_by("b", "pay"));
    let catalog = catalog(&[&a, &ScriptedSource::naming("b", [&pay], round([&pay]))]);
    assert_eq!((means(&catalog, "pay"), means(&catalog, "b:pay").as_deref()), (None, Some("b:pay")));
    a.now(round([&Scripted::seen_by("a", "mail")]));
    catalog.discover().await;
    assert_eq!(means(&catalog, "pay").as_deref(), Some("b:pay"));
}

#[tokio::test(start_paused = true)]
async fn the_first_round_s_word_on_it_holds_and_a_short_round_s_silence_does_not() {
    let (pay, mail) = (Scripted::seen_by("s", "pay"), Scripted::seen_by("s", "mail"));
    let source = ScriptedSource::naming("s", [&pay, &mail], Round::default());
    source.now(Round { faults: vec![failure(outage())], ..Round::default() });
    let catalog = catalog(&[&source]);
    let _running = run(&catalog);
    catalog.discovered().await;
    assert!(means(&catalog, "pay").is_some() && means(&catalog, "mail").is_some());

    source.now(Round { skipped: vec![skipped("s", "pay")], ..round([&mail]) });
    catalog.discover().await;
    assert!(matches!(catalog.vault(&vault_name("pay")), Lookup::Skipped(_)));
    let listings = pay.listings();
    pass(600).await;
    assert_eq!(pay.listings(), listings, "it is asked no more");
    assert!(mail.listings() > listings, "and the other one is");
}

#[tokio::test(start_paused = true)]
async fn it_begins_with_what_was_known_before_a_restart() {
    let pay = Scripted::seen_by("s", "pay");
    let catalog = catalog(&[&ScriptedSource::naming("s", [&pay], None)]);
    let known =
        KnownVault { info: pay.info().clone(), listed: Some(sidekey::clock::Moment::now()), secrets: named(&["old"]) };
    assert_eq!(catalog.recall(vec![known.clone()]), 1);
    assert_eq!(hits(&search(&catalog, &[])), ["pay/old"]);
    // What was listed since is known better.
    catalog.refresh(Some(&vault_name("pay"))).await;
    assert_eq!(catalog.recall(vec![known]), 0);
    assert_eq!(hits(&search(&catalog, &[])), ["pay/x"]);
    assert_eq!(found(&catalog, "pay").id().as_str(), "s:pay");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_turns_out_to_be_of_another_tenant_s_vault_is_left_to_the_source_that_can_read_it() {
    let (first, second) = (Scripted::seen_by("a", "pay"), Scripted::seen_by("b", "pay"));
    let a = ScriptedSource::naming("a", [&first], Round { skipped: vec![skipped("a", "pay")], ..Round::default() });
    let catalog = catalog(&[&a, &ScriptedSource::naming("b", [&second], round([&second]))]);
    catalog.discover().await;
    assert_eq!(means(&catalog, "pay").as_deref(), Some("b:pay"));
    assert!(matches!(catalog.vault(&vault_name("a:pay")), Lookup::Skipped(_)));
}
