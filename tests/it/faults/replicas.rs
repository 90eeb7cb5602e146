//! F26: a replica that lags behind answers with what was true before. What is held does not go back.

use sidekey::emulator::{Change, Effect, Endpoint, Fault};
use time::OffsetDateTime;

use super::site::Site;

/// `warm` as it was 20 days ago.
fn as_before(version: &str) -> serde_json::Value {
    let at = (OffsetDateTime::now_utc() - time::Duration::days(20)).unix_timestamp();
    serde_json::json!({
        "value": "alpha-warm",
        "id": format!("https://alpha.vault.azure.net/secrets/warm/{version}"),
        "attributes": { "enabled": true, "created": at, "updated": at },
    })
}

async fn written_anew() -> (Site, String) {
    let site = Site::new().await;
    let first = site.read("alpha/warm").await;
    first.is("alpha-warm");
    let version = first.header("etag").unwrap().trim_matches('"').to_owned();
    site.change(Change::Set {
        vault: "alpha".into(),
        secret: "warm".into(),
        value: "newer".into(),
        expires_in_s: None,
        content_type: None,
        tags: Default::default(),
    });
    (site, version)
}

#[tokio::test]
async fn a_replica_that_lags_behind_a_read_takes_nothing_back() {
    let (site, version) = written_anew().await;
    site.read_anew("alpha/warm").await.is("newer");
    site.fault(Fault::new(Effect::Swap(as_before(&version))).on(Endpoint::Get).secret("warm"));
    for _ in 0..40 {
        site.live(2).await;
        site.read_anew("alpha/warm").await.is("newer");
        site.read("alpha/warm").await.is_held("newer");
    }
    site.control.clear_faults();
    site.live(70).await;
    let answer = site.read("alpha/warm").await;
    answer.is_held("newer");
    assert_eq!(answer.stale(), None, "{answer:?}");
}

#[tokio::test]
async fn a_replica_that_lags_by_turns_takes_nothing_back() {
    let (site, version) = written_anew().await;
    site.read_anew("alpha/warm").await.is("newer");
    for _ in 0..100 {
        let fault = site.fault(Fault::new(Effect::Swap(as_before(&version))).on(Endpoint::Get).secret("warm").times(1));
        site.live(1).await;
        site.read_anew("alpha/warm").await.is("newer");
        site.live(1).await;
        site.read_anew("alpha/warm").await.is("newer");
        site.control.clear_fault(fault);
    }
}

#[tokio::test]
async fn a_replica_that_lags_behind_a_listing_is_asked_again_until_it_has_caught_up() {
    let (site, version) = written_anew().await;
    site.fault(Fault::new(Effect::Swap(as_before(&version))).on(Endpoint::Get).secret("warm"));
    // The listing has shown the write; the reads do not show it yet.
    site.live_until(70, async || site.read("alpha/warm").await.stale().is_some()).await;
    site.live(30).await;
    site.read("alpha/warm").await.is_held("alpha-warm");
    site.control.clear_faults();
    site.live_until(61, async || site.read("alpha/warm").await.body == "newer").await;
    site.live(5).await;
    assert_eq!(site.read("alpha/warm").await.stale(), None);
}

#[tokio::test]
async fn a_replica_that_sticks_to_it_is_believed() {
    let (site, version) = written_anew().await;
    site.read_anew("alpha/warm").await.is("newer");
    // What a restored backup looks like.
    site.fault(Fault::new(Effect::Swap(as_before(&version))).on(Endpoint::Get).secret("warm"));
    let seconds = site.live_until(200, async || site.read_anew("alpha/warm").await.body == "alpha-warm").await;
    assert!(seconds >= 85, "after {seconds} s");
}
