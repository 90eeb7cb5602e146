//! Listings at the interval, side by side, and what a failed one leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sidekey::catalog::{Catalog, CatalogOptions, Progress, Reach};
use sidekey::metrics::Metrics;
use sidekey::vaults::{Source, VaultErrorKind};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::estate::{
    Act, Scripted, ScriptedSource, catalog_of, denied, held_by, hits, listed, named, outage, pass, round, run, search,
    secret_name, status, unanswered,
};

fn one_at_a_time<const N: usize>(vaults: [&Arc<Scripted>; N]) -> Catalog {
    let source = ScriptedSource::new("s", round(vaults)) as Arc<dyn Source>;
    Catalog::new(vec![source], CatalogOptions { listings_at_once: 1, ..CatalogOptions::default() })
}

#[tokio::test(start_paused = true)]
async fn every_vault_is_listed_at_the_interval() {
    let v = Scripted::holding("v", &["a"]);
    let catalog = catalog_of([&v]);
    let _running = run(&catalog);
    catalog.first_round().await;
    assert_eq!(v.listings(), 1);
    v.now(Act::Tell(named(&["b"])));
    pass(53).await;
    assert_eq!(v.listings(), 1, "not before nine tenths of the interval");
    pass(14).await;
    assert_eq!(v.listings(), 2, "not after eleven tenths of it");
    assert_eq!(hits(&search(&catalog, &[])), ["v/b"], "what was deleted is gone, what is new is there");
    pass(600).await;
    assert!((10..=13).contains(&v.listings()), "{}", v.listings());
}

#[tokio::test(start_paused = true)]
async fn the_catalog_stops_when_it_is_told_to() {
    let v = Scripted::holding("v", &["a"]);
    let catalog = catalog_of([&v]);
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(catalog.clone().run(shutdown.clone()));
    catalog.first_round().await;
    shutdown.cancel();
    running.join_next().await.unwrap().unwrap();
    pass(600).await;
    assert_eq!(v.listings(), 1, "and leaves nothing behind that lists");
}

#[tokio::test(start_paused = true)]
async fn vaults_that_hang_keep_no_other_from_being_listed() {
    let stuck = ["h1", "h2", "h3"].map(|name| Scripted::holding(name, &[]));
    stuck.iter().for_each(|vault| vault.now(Act::Hang));
    let well = Scripted::holding("well", &["a"]);
    let catalog = one_at_a_time([&stuck[0], &stuck[1], &stuck[2], &well]);
    let _running = run(&catalog);
    pass(10).await;
    assert_eq!(held_by(&catalog, "a"), ["well"]);
    well.now(Act::Tell(named(&["b"])));
    pass(70).await;
    assert_eq!(held_by(&catalog, "b"), ["well"], "it is kept current, too");
    // None hangs for ever: the first round ends, and they have failed.
    catalog.first_round().await;
    assert_eq!(catalog.progress().borrow().failed, 3);
    assert!(matches!(&status(&catalog, "h1").reach, Reach::ListingFailed(e) if e.kind() == &VaultErrorKind::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn no_more_are_listed_side_by_side_than_allowed() {
    let second = |name: &str| {
        let vault = Scripted::holding(name, &[]);
        vault.now(Act::TellAfter(Duration::from_secs(1), named(&["a"])));
        vault
    };
    let (v, w) = (second("v"), second("w"));
    let catalog = one_at_a_time([&v, &w]);
    let before = tokio::time::Instant::now();
    catalog.refresh(None).await;
    assert_eq!(before.elapsed().as_secs(), 2);
    assert_eq!(hits(&search(&catalog, &[])), ["v/a", "w/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_listing_keeps_what_is_known_with_its_true_age() {
    let v = Scripted::holding("v", &["a"]);
    let catalog = listed([&v]).await;
    let age = || status(&catalog, "v").known.expect("it was listed").age.as_secs();
    pass(100).await;
    assert_eq!(age(), 100);
    v.now(Act::BreakOff(Vec::new(), outage()));
    catalog.refresh(None).await;
    pass(20).await;
    assert_eq!((age(), status(&catalog, "v").reach.code()), (120, "connection-failed"), "a failure renews nothing");

    let progress = *catalog.progress().borrow();
    assert_eq!((progress.listed, progress.failed), (1, 0), "it was listed once, and the first round is over");

    let page = search(&catalog, &[]);
    assert_eq!(hits(&page), ["v/a"]);
    assert!(!page.complete);
    let told = &page.unanswered[0];
    assert_eq!(
        (told.reason, told.known_age, told.known_secrets),
        ("connection-failed", Some(Duration::from_secs(120)), 1)
    );

    v.now(Act::Tell(named(&["a"])));
    catalog.refresh(None).await;
    assert_eq!((age(), status(&catalog, "v").reach.code()), (0, "ok"), "an unchanged listing proves it anew");
    assert!(search(&catalog, &[]).complete);
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_the_listings_start() {
    let v = Scripted::holding("v", &[]);
    v.now(Act::TellAfter(Duration::from_secs(30), named(&["a"])));
    let catalog = listed([&v]).await;
    // A secret made while the listing ran may not be in it.
    assert_eq!(status(&catalog, "v").known.expect("it was listed").age.as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_part_never_replaces_a_whole_and_is_better_than_nothing() {
    let (v, w) = (Scripted::holding("v", &["a", "b", "c"]), Scripted::holding("w", &[]));
    let part = || Act::BreakOff(named(&["a", "d"]), outage());
    w.now(part());
    let catalog = listed([&v, &w]).await;
    v.now(part());
    catalog.refresh(None).await;
    let known = |vault: &str| status(&catalog, vault).known.map(|known| (known.secrets, known.whole));
    assert_eq!(known("v"), Some((3, true)));
    assert_eq!(known("w"), Some((2, false)));
    let page = search(&catalog, &[("vault", "w")]);
    assert_eq!(hits(&page), ["w/a", "w/d"]);
    assert!(page.unanswered[0].detail.contains("only a part"), "{}", page.unanswered[0].detail);
    // Whether a part holds a name that it does not show, only a get can tell; a whole one said no, once.
    let holders = catalog.holders(&secret_name("c"));
    assert_eq!(holders.held_by.len(), 1);
    assert_eq!(holders.unlisted[0].entry.address.as_str(), "w");
    let holders = catalog.holders(&secret_name("z"));
    assert_eq!(holders.stale[0].entry.address.as_str(), "v");
    // The next whole listing ends it, a part that tells nothing does not.
    w.now(Act::BreakOff(Vec::new(), outage()));
    catalog.refresh(None).await;
    assert_eq!(known("w"), Some((2, false)));
    w.now(Act::Tell(named(&["z"])));
    catalog.refresh(None).await;
    assert_eq!(known("w"), Some((1, true)));
}

#[tokio::test(start_paused = true)]
async fn an_empty_vault_is_listed_and_known_to_be_empty() {
    let catalog = listed([&Scripted::holding("v", &[])]).await;
    assert!(search(&catalog, &[]).complete);
    assert!(catalog.holders(&secret_name("a")).is_complete());
    let done = Progress {
        discovery_done: true,
        vaults: 1,
        listed: 1,
        failed: 0,
        secrets: 0,
        recalled: false,
        reached: true,
        explored: true,
    };
    assert_eq!(*catalog.progress().borrow(), done);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_is_a_failed_listing_and_is_asked_again() {
    let (v, w) = (Scripted::holding("v", &[]), Scripted::holding("w", &["a"]));
    v.now(Act::Panic);
    let catalog = catalog_of([&v, &w]);
    let _running = run(&catalog);
    catalog.first_round().await;
    assert_eq!(unanswered(&search(&catalog, &[])), [("v".to_owned(), "internal")]);
    v.now(Act::Tell(named(&["b"])));
    pass(70).await;
    assert_eq!(hits(&search(&catalog, &[])), ["w/a", "v/b"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_our_own_after_a_listing_does_not_end_the_listings_of_that_vault() {
    let (v, w) = (Scripted::holding("v", &["a"]), Scripted::holding("w", &["a"]));
    let source = ScriptedSource::new("s", round([&v, &w])) as Arc<dyn Source>;
    let metrics = Metrics::default();
    let catalog = Catalog::counted(vec![source], CatalogOptions::default(), metrics.clone());
    let listings = AtomicUsize::new(0);
    catalog.observe(move |listing| {
        let first = listing.vault.as_str() == "s:v" && listings.fetch_add(1, Ordering::Relaxed) == 0;
        assert!(!first, "as the test wants it");
    });
    let _running = run(&catalog);
    catalog.first_round().await;
    pass(70).await;
    assert!(v.listings() >= 2, "{}", v.listings());
    let told = metrics.encode();
    assert!(told.contains("sidekey_task_restarts_total{task=\"listing\"} 1"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_asks_for_a_pause_gets_it() {
    let v = Scripted::holding("v", &[]);
    let pause = Duration::from_secs(200);
    v.now(Act::BreakOff(Vec::new(), VaultErrorKind::Throttled { retry_after: Some(pause) }));
    let catalog = catalog_of([&v]);
    let _running = run(&catalog);
    catalog.first_round().await;
    pass(199).await;
    assert_eq!(v.listings(), 1);
    pass(2).await;
    assert_eq!(v.listings(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_not_content_with_a_listing_that_began_before_it() {
    let v = Scripted::holding("v", &[]);
    v.now(Act::TellAfter(Duration::from_secs(1), named(&["old"])));
    let catalog = catalog_of([&v]);
    let _running = run(&catalog);
    catalog.discovered().await;
    while v.listings() == 0 {
        tokio::task::yield_now().await;
    }
    v.now(Act::TellAfter(Duration::from_secs(1), named(&["new"])));
    let name = "v".parse().unwrap();
    tokio::join!(catalog.refresh(Some(&name)), catalog.refresh(Some(&name)), catalog.refresh(Some(&name)));
    assert_eq!(held_by(&catalog, "new"), ["v"]);
    assert_eq!(v.listings(), 2, "those that waited together share one");
}

#[tokio::test(start_paused = true)]
async fn progress_tells_how_far_the_first_round_is() {
    let (v, w) = (Scripted::holding("v", &["a", "b"]), Scripted::holding("w", &[]));
    w.now(Act::BreakOff(named(&["c"]), denied()));
    let catalog = catalog_of([&v, &w]);
    assert_eq!(*catalog.progress().borrow(), Progress::default());
    let _running = run(&catalog);
    catalog.first_round().await;
    let done = Progress {
        discovery_done: true,
        vaults: 2,
        listed: 1,
        failed: 1,
        secrets: 3,
        recalled: false,
        reached: true,
        explored: true,
    };
    assert_eq!(*catalog.progress().borrow(), done);
}
