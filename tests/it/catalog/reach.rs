//! What an answer does without is told, with the reason: nothing partial looks whole.

use std::time::Duration;

use sidekey::catalog::{Catalog, CatalogOptions, ReadState};
use sidekey::vaults::{VaultErrorKind, VaultInfo};

use super::estate::{
    Act, Round, Scripted, ScriptedSource, catalog_of, denied, failure, hits, listed, named, outage, pass, round, run,
    search, secret_name, skipped, source_name, status, unanswered, vault_name,
};

fn told(vault: &str, reason: &'static str) -> (String, &'static str) {
    (vault.to_owned(), reason)
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_incomplete_until_discovery_and_listings_are_done() {
    let v = Scripted::holding("v", &["a"]);
    v.now(Act::TellAfter(Duration::from_secs(1), named(&["a"])));
    let catalog = catalog_of([&v]);
    assert_eq!(unanswered(&search(&catalog, &[])), [told("discovery of s", "discovering")]);
    assert!(catalog.holders(&secret_name("a")).discovering);
    let _running = run(&catalog);
    catalog.discovered().await;
    let page = search(&catalog, &[]);
    assert_eq!((page.complete, unanswered(&page)), (false, vec![told("v", "not-listed-yet")]));
    assert_eq!(page.unanswered[0].known_age, None);
    let holders = catalog.holders(&secret_name("a"));
    assert_eq!((holders.unlisted.len(), holders.is_complete()), (1, false));
    catalog.first_round().await;
    assert!(search(&catalog, &[]).complete);
    assert!(catalog.holders(&secret_name("a")).is_complete());
}

#[tokio::test(start_paused = true)]
async fn every_reason_is_told_apart_and_only_for_the_vaults_asked_about() {
    let vaults = [
        ("ok", Act::Tell(named(&["a"]))),
        ("refused", Act::BreakOff(Vec::new(), denied())),
        ("busy", Act::BreakOff(Vec::new(), VaultErrorKind::Throttled { retry_after: None })),
        ("gone", Act::BreakOff(Vec::new(), outage())),
    ];
    let vaults = vaults.map(|(name, act)| {
        let vault = Scripted::holding(name, &[]);
        vault.now(act);
        vault
    });
    let seen = Round {
        vaults: vaults.to_vec(),
        skipped: vec![skipped("s", "foreign")],
        faults: vec![failure(VaultErrorKind::Unauthenticated { code: None })],
    };
    let catalog = Catalog::new(vec![ScriptedSource::new("s", seen)], CatalogOptions::default());
    catalog.refresh(None).await;
    let discovery = told("discovery of s", "sign-in-failed");
    let page = search(&catalog, &[]);
    let all = [
        discovery.clone(),
        told("foreign", "foreign-tenant"),
        told("busy", "throttled"),
        told("gone", "connection-failed"),
        told("refused", "denied-by-rbac"),
    ];
    assert_eq!(unanswered(&page), all);
    assert_eq!(hits(&page), ["ok/a"]);
    // Which vaults short discovery missed cannot be told: it may be one that the glob is about.
    assert_eq!(unanswered(&search(&catalog, &[("vault", "ok")])), std::slice::from_ref(&discovery));
    assert_eq!(unanswered(&search(&catalog, &[("vault", "f*")])), [discovery, told("foreign", "foreign-tenant")]);

    let codes: Vec<_> = catalog.vaults().iter().map(|v| (v.address.to_string(), v.reach.code())).collect();
    let expected = [
        told("busy", "throttled"),
        told("foreign", "foreign-tenant"),
        told("gone", "connection-failed"),
        told("ok", "ok"),
        told("refused", "denied-by-rbac"),
    ];
    assert_eq!(codes, expected);
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_is_complete_though_other_vaults_fail() {
    let (v, w) = (Scripted::holding("v", &["a"]), Scripted::holding("w", &[]));
    w.now(Act::BreakOff(Vec::new(), outage()));
    let catalog = listed([&v, &w]).await;
    assert!(search(&catalog, &[("vault", "v")]).complete);
    assert!(!search(&catalog, &[("vault", "*")]).complete);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_one_source_skips_and_another_asks_is_not_missing() {
    let at = |source: &str, uri: &str| VaultInfo {
        uri: Some(uri.to_owned()),
        ..VaultInfo::new(source_name(source), vault_name("pay"))
    };
    let mut seen_by_a = skipped("a", "pay");
    seen_by_a.info = at("a", "https://pay.vault.azure.net/");
    let a = ScriptedSource::new("a", Round { skipped: vec![seen_by_a, skipped("a", "lone")], ..Round::default() });
    let b = ScriptedSource::new(
        "b",
        round([&Scripted::of(at("b", "https://Pay.vault.azure.net"), Act::Tell(named(&["x"])))]),
    );
    let catalog = Catalog::new(vec![a, b], CatalogOptions::default());
    catalog.refresh(None).await;
    assert_eq!(unanswered(&search(&catalog, &[])), [told("lone", "foreign-tenant")]);
    assert_eq!(catalog.holders(&secret_name("x")).skipped.len(), 1);
    // Whoever asks for the vault through the source that skips it does not get an answer that looks whole.
    let through_a = search(&catalog, &[("vault", "a:pay")]);
    assert_eq!((unanswered(&through_a), through_a.vaults), (vec![told("a:pay", "foreign-tenant")], 1));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_hangs_makes_what_is_known_overdue() {
    let v = Scripted::holding("v", &["a"]);
    let source = ScriptedSource::new("s", round([&v]));
    let options = CatalogOptions { listing_interval: Duration::from_secs(5), ..CatalogOptions::default() };
    let catalog = Catalog::new(vec![source], options);
    let _running = run(&catalog);
    catalog.first_round().await;
    v.now(Act::Hang);
    pass(70).await;
    assert!(search(&catalog, &[]).complete);
    pass(10).await;
    let page = search(&catalog, &[]);
    assert_eq!(unanswered(&page), [told("v", "listing-overdue")]);
    assert_eq!(hits(&page), ["v/a"]);
    assert_eq!(catalog.holders(&secret_name("b")).stale.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_can_be_read_but_not_listed_says_so_and_is_still_found() {
    let v = Scripted::holding("v", &[]);
    v.now(Act::BreakOff(Vec::new(), denied()));
    let catalog = listed([&v]).await;
    assert_eq!(status(&catalog, "v").read, ReadState::Unknown);
    catalog.note_read(&vault_name("s:v"), Ok(()));
    let seen = status(&catalog, "v");
    assert_eq!((seen.reach.code(), &seen.read), ("denied-by-rbac", &ReadState::Ok));
    assert_eq!(seen.known, None, "nothing listed is not a vault known to be empty");
    // Whoever looks for a secret is sent there to ask.
    let holders = catalog.holders(&secret_name("a"));
    assert_eq!(holders.unlisted[0].entry.address, vault_name("v"));
    assert_eq!(holders.unlisted[0].why.as_ref().map(|why| why.reason()), Some("denied-by-rbac"));
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_can_be_listed_but_not_read_says_so_and_an_outage_says_nothing_about_rights() {
    let v = Scripted::holding("v", &["a"]);
    let catalog = listed([&v]).await;
    let name = vault_name("v");
    let read = || status(&catalog, "v").read;
    catalog.note_read(&name, Err(&failure(outage())));
    assert_eq!(read(), ReadState::Unknown);
    catalog.note_read(&name, Err(&failure(denied())));
    let refused = ReadState::Denied { reason: "denied-by-rbac", detail: "as the test says".into() };
    assert_eq!((status(&catalog, "v").reach.code(), read()), ("ok", refused.clone()));
    catalog.note_read(&name, Err(&failure(VaultErrorKind::TimedOut)));
    assert_eq!(read(), refused);
    // A listing does not make it forgotten; an answer about a secret shows that reading is allowed.
    catalog.refresh(None).await;
    assert_eq!(read(), refused);
    catalog.note_read(&name, Err(&failure(VaultErrorKind::NotFound)));
    assert_eq!(read(), ReadState::Ok);
}
