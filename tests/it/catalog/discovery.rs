//! Rounds of discovery: what they add, and what it takes to lose a vault.

use std::sync::Arc;

use sidekey::catalog::{Catalog, CatalogOptions, Lookup, Reach};
use sidekey::metrics::Metrics;
use sidekey::vaults::{Source, VaultInfo};

use super::estate::{
    Act, Round, Scripted, ScriptedSource, denied, failure, found, held_by, hits, listed, named, outage, pass, round,
    run, search, skipped, source_name, unanswered, vault_name,
};

fn catalog(source: &Arc<ScriptedSource>) -> Catalog {
    Catalog::new(vec![Arc::clone(source) as Arc<dyn Source>], CatalogOptions::default())
}

fn short<const N: usize>(vaults: [&Arc<Scripted>; N]) -> Round {
    Round { faults: vec![failure(outage())], ..round(vaults) }
}

fn is_there(catalog: &Catalog, vault: &str) -> bool {
    matches!(catalog.vault(&vault_name(vault)), Lookup::Found(_))
}

#[tokio::test(start_paused = true)]
async fn a_round_is_counted_once_however_many_faults_it_has() {
    let source =
        ScriptedSource::new("s", Round { faults: vec![failure(outage()), failure(denied())], ..Round::default() });
    let metrics = Metrics::default();
    let catalog = Catalog::counted(vec![source], CatalogOptions::default(), metrics.clone());
    catalog.discover().await;
    let told = metrics.encode();
    let line = "sidekey_discovery_rounds_total{source=\"s\",outcome=\"connection-failed\"} 1";
    assert!(told.contains(line) && told.matches("sidekey_discovery_rounds_total{").count() == 1, "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_vault_leaves_after_two_complete_rounds_without_it_a_minute_apart() {
    let (v, w) = (Scripted::holding("v", &["a"]), Scripted::holding("w", &["a"]));
    let source = ScriptedSource::new("s", round([&v, &w]));
    let catalog = catalog(&source);
    catalog.refresh(None).await;
    source.now(round([&w]));
    catalog.refresh(None).await;
    assert!(is_there(&catalog, "v"), "one round is not enough");
    pass(59).await;
    catalog.refresh(None).await;
    assert!(is_there(&catalog, "v"), "two rounds within a minute are not enough");
    pass(1).await;
    catalog.refresh(None).await;
    assert!(!is_there(&catalog, "v"));
    assert_eq!(held_by(&catalog, "a"), ["w"]);
}

#[tokio::test(start_paused = true)]
async fn a_short_round_neither_drops_a_vault_nor_counts_against_it() {
    let v = Scripted::holding("v", &["a"]);
    let source = ScriptedSource::new("s", round([&v]));
    let catalog = catalog(&source);
    catalog.refresh(None).await;
    source.now(short([]));
    for _ in 0..5 {
        catalog.refresh(None).await;
        pass(600).await;
    }
    assert_eq!(hits(&search(&catalog, &[])), ["v/a"]);
    assert!(unanswered(&search(&catalog, &[])).contains(&("discovery of s".to_owned(), "connection-failed")));
    // The short rounds were none: it takes two complete ones from here.
    source.now(round([]));
    catalog.refresh(None).await;
    assert!(is_there(&catalog, "v"));
    pass(60).await;
    catalog.refresh(None).await;
    assert!(!is_there(&catalog, "v"));
}

#[tokio::test(start_paused = true)]
async fn a_vault_seen_again_in_between_starts_anew() {
    let v = Scripted::holding("v", &["a"]);
    let source = ScriptedSource::new("s", round([&v]));
    let catalog = catalog(&source);
    for (seen, there) in [(round([&v]), true), (round([]), true), (short([&v]), true), (round([]), true)] {
        source.now(seen);
        catalog.refresh(None).await;
        pass(61).await;
        assert_eq!(is_there(&catalog, "v"), there);
    }
}

#[tokio::test(start_paused = true)]
async fn one_round_that_skips_a_vault_does_not_end_it() {
    let v = Scripted::holding("v", &["a"]);
    let source = ScriptedSource::new("s", round([&v]));
    let catalog = catalog(&source);
    catalog.refresh(None).await;
    source.now(Round { skipped: vec![skipped("s", "v")], ..Round::default() });
    catalog.refresh(None).await;
    assert!(is_there(&catalog, "v"));
    pass(60).await;
    catalog.refresh(None).await;
    assert!(matches!(catalog.vault(&vault_name("v")), Lookup::Skipped(_)));
    // To be asked again, one round is enough.
    source.now(round([&v]));
    catalog.refresh(None).await;
    assert!(is_there(&catalog, "v"));
}

/// Vaults that are asked, those listed whole, and the secrets known: as the vaults tell it, and as it was counted.
#[track_caller]
fn is_counted(catalog: &Catalog, expected: (usize, usize, usize)) {
    let asked: Vec<_> = catalog.vaults().into_iter().filter(|v| !matches!(v.reach, Reach::Skipped(_))).collect();
    let known = || asked.iter().filter_map(|vault| vault.known.as_ref());
    let listed = known().filter(|known| known.whole).count();
    assert_eq!((asked.len(), listed, known().map(|known| known.secrets).sum()), expected);
    let progress = *catalog.progress().borrow();
    assert_eq!((progress.vaults, progress.listed, progress.secrets), expected);
}

#[tokio::test(start_paused = true)]
async fn what_comes_changes_fails_and_leaves_is_counted() {
    let (v, w) = (Scripted::holding("v", &["a", "b", "c"]), Scripted::holding("w", &["a"]));
    let source = ScriptedSource::new("s", round([&v]));
    let catalog = catalog(&source);
    let _running = run(&catalog);
    catalog.first_round().await;
    is_counted(&catalog, (1, 1, 3));
    w.now(Act::BreakOff(named(&["a"]), denied()));
    source.now(round([&v, &w]));
    catalog.refresh(None).await;
    is_counted(&catalog, (2, 1, 4));
    v.now(Act::Tell(named(&["a"])));
    w.now(Act::Tell(named(&["a", "b"])));
    pass(120).await;
    is_counted(&catalog, (2, 2, 3));
    // A short round that skips it is no reason to let it go, nor to lose count of it.
    source.now(Round { skipped: vec![skipped("s", "v")], ..short([&w]) });
    catalog.discover().await;
    v.now(Act::Tell(vec![]));
    pass(120).await;
    is_counted(&catalog, (2, 2, 2));
    source.now(round([&w]));
    catalog.discover().await;
    pass(61).await;
    catalog.discover().await;
    is_counted(&catalog, (1, 1, 2));
    v.now(Act::Tell(named(&["a", "b", "c"])));
    pass(120).await;
    is_counted(&catalog, (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_comes_later_is_found_and_listed_and_one_that_left_is_left_alone() {
    let (v, w) = (Scripted::holding("v", &["a"]), Scripted::holding("w", &["b"]));
    let source = ScriptedSource::new("s", round([&v]));
    let catalog = catalog(&source);
    let _running = run(&catalog);
    catalog.first_round().await;
    source.now(round([&w]));
    pass(3 * 660 + 1).await;
    assert_eq!(hits(&search(&catalog, &[])), ["w/b"]);
    let listings = v.listings();
    pass(600).await;
    assert_eq!(v.listings(), listings, "a vault that left is not listed any more");
    assert!(w.listings() > 5);
}

#[tokio::test(start_paused = true)]
async fn a_short_round_is_tried_again_soon_and_then_less_and_less_often() {
    let source = ScriptedSource::new("s", short([]));
    let catalog = catalog(&source);
    let _running = run(&catalog);
    catalog.discovered().await;
    source.now(round([&Scripted::holding("v", &["a"])]));
    pass(17).await;
    assert!(is_there(&catalog, "v"), "the interval is ten minutes, but the round had fallen short");
}

#[tokio::test(start_paused = true)]
async fn a_new_handle_to_a_known_vault_keeps_what_is_known() {
    let v = Scripted::holding("v", &["a"]);
    let source = ScriptedSource::new("s", round([&v]));
    let catalog = catalog(&source);
    catalog.refresh(None).await;
    let again = Scripted::of(VaultInfo::new(source_name("s"), vault_name("v")), Act::Hang);
    source.now(round([&again]));
    let _running = run(&catalog);
    pass(10).await;
    assert_eq!(again.listings(), 1, "the new handle is asked");
    assert_eq!(held_by(&catalog, "a"), ["v"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_vaults_has_finished_its_first_round() {
    let catalog = catalog(&ScriptedSource::new("s", Round::default()));
    let _running = run(&catalog);
    catalog.first_round().await;
    let page = search(&catalog, &[]);
    assert!(page.hits.is_empty() && page.complete);
    Catalog::new(Vec::new(), CatalogOptions::default()).first_round().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_listing_shows_is_held_at_once() {
    let v = Scripted::holding("v", &["a"]);
    let catalog = listed([&v]).await;
    assert!(held_by(&catalog, "b").is_empty() && catalog.metadata(&vault_name("v"), &"b".parse().unwrap()).is_none());
    v.now(Act::Tell(named(&["a", "b"])));
    catalog.refresh(Some(&vault_name("s:v"))).await;
    assert_eq!(held_by(&catalog, "b"), ["v"]);
    assert!(catalog.metadata(&vault_name("v"), &"b".parse().unwrap()).is_some());
    assert_eq!(found(&catalog, "v").known_secrets(), Some(2));
}
