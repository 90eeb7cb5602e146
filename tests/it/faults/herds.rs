//! F20, F21, F24: many readers at once, and time that leaps: a suspended machine, a frozen process.

use std::time::Duration;

use futures::future::join_all;
use sidekey::emulator::{Effect, Fault};

use super::cable::Wire;
use super::outage::age_is_true;
use super::site::{Answer, Site, leap};

const READERS: usize = 200;

/// They all ask for it by the socket and by TCP, and are answered once `release` is done.
async fn stampede(site: &Site, path: &str, headers: &str, release: impl Future<Output = ()>) -> Vec<Answer> {
    let by_socket = (0..READERS).map(|_| site.ask(path, headers));
    let by_tcp = (0..READERS / 10).map(|_| site.ask_over_tcp(path));
    let (by_socket, by_tcp, ()) = futures::future::join3(join_all(by_socket), join_all(by_tcp), release).await;
    by_socket.into_iter().chain(by_tcp).collect()
}

fn slow(site: &Site, name: &str) {
    site.fault(Fault::new(Effect::DelayMs(2_000)).vault("alpha").secret(name));
}

#[tokio::test]
async fn readers_of_one_cold_name_cost_one_call_and_are_all_answered() {
    let site = Site::new().await;
    slow(&site, "cold-1");
    let release = async {
        site.until(|| site.gets("alpha", "cold-1") == 1).await;
        site.still().await;
        leap(Duration::from_secs(2)).await;
    };
    let answers = stampede(&site, "/v1/vaults/alpha/secrets/cold-1", "", release).await;
    for answer in &answers {
        answer.is("alpha-cold-1");
    }
    assert_eq!(site.gets("alpha", "cold-1"), 1);
    assert_eq!(answers.iter().filter(|answer| answer.cache_status() == "sidekey; fwd=miss").count(), 1);
}

#[tokio::test]
async fn readers_of_a_missing_name_cost_one_call_and_so_do_those_of_a_vault_that_fails() {
    let site = Site::new().await;
    slow(&site, "missing");
    site.fault(Fault::new(Effect::Hang).vault("alpha").secret("cold-1"));
    for (name, status, calls, wait) in [("missing", 404, 1, 2), ("cold-1", 504, 2, 11)] {
        let release = async {
            site.until(|| site.gets("alpha", name) == 1).await;
            site.still().await;
            site.live(wait).await;
        };
        for answer in stampede(&site, &format!("/v1/vaults/alpha/secrets/{name}"), "", release).await {
            assert_eq!(answer.status, status, "{answer:?}");
        }
        assert!(site.gets("alpha", name) <= calls, "{} calls for {name}", site.gets("alpha", name));
    }
}

#[tokio::test]
async fn readers_of_an_expired_name_do_not_wait_and_cost_one_call() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    slow(&site, "warm");
    let before = site.gets("alpha", "warm");
    // Nothing was awake to renew it ahead.
    leap(Duration::from_secs(3_600)).await;
    let answers = stampede(&site, "/v1/vaults/alpha/secrets/warm", "", async {}).await;
    for answer in answers {
        answer.is_held("alpha-warm");
        assert_eq!(answer.stale(), Some("expired"), "{answer:?}");
    }
    site.live_until(6, async || site.read("alpha/warm").await.stale().is_none()).await;
    assert_eq!(site.gets("alpha", "warm") - before, 1);
}

#[tokio::test]
async fn readers_that_insist_share_a_call_that_began_after_they_asked() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    let before = site.gets("alpha", "warm");
    let path = "/v1/vaults/alpha/secrets/warm";
    let release = site.live(4);
    for answer in stampede(&site, path, "Cache-Control: no-cache\r\n", release).await {
        answer.is("alpha-warm");
    }
    let calls = site.gets("alpha", "warm") - before;
    assert!((1..=6).contains(&calls), "{calls} calls in four seconds");
}

#[tokio::test]
async fn a_reader_that_goes_away_takes_nobody_with_it() {
    let site = Site::new().await;
    slow(&site, "cold-1");
    let mut leader = Box::pin(site.read("alpha/cold-1"));
    tokio::select! {
        biased;
        answer = &mut leader => panic!("{answer:?}"),
        () = site.until(|| site.gets("alpha", "cold-1") == 1) => {}
    }
    let release = async {
        site.still().await;
        drop(leader);
        site.still().await;
        leap(Duration::from_secs(2)).await;
    };
    for answer in stampede(&site, "/v1/vaults/alpha/secrets/cold-1", "", release).await {
        answer.is("alpha-cold-1");
    }
    assert_eq!(site.gets("alpha", "cold-1"), 1);
}

#[tokio::test]
async fn after_eight_hours_of_standing_still_ages_are_true_and_nothing_is_asked_for_twice() {
    let site = Site::new().await;
    let mut first = Vec::new();
    for number in 1..=30 {
        first.push(site.read(&format!("alpha/cold-{number}")).await);
    }
    site.still().await;
    site.control.reset_calls();
    leap(Duration::from_secs(8 * 3600)).await;
    for (number, first) in (1..=30).zip(&first) {
        let answer = site.read(&format!("alpha/cold-{number}")).await;
        answer.is_held(&format!("alpha-cold-{number}"));
        // Whoever is first after the leap is told; a read that was quicker may have renewed it for the others.
        if answer.stale().is_some() {
            age_is_true(&answer, first);
            assert!(answer.age() >= 8 * 3600, "{answer:?}");
        } else {
            assert!(answer.age() < 60, "{answer:?}");
        }
    }
    site.live(10).await;
    for number in 1..=30 {
        assert!(site.gets("alpha", &format!("cold-{number}")) <= 1, "{:?}", site.control.calls());
        assert_eq!(site.read(&format!("alpha/cold-{number}")).await.stale(), None);
    }
    // One token for each audience, one round, one listing of each vault: what was missed is not made up for.
    let calls = site.control.calls();
    assert!(calls.requests <= 30 + 2 + 3 + 2 * 4, "{calls:?}");
}

#[tokio::test]
async fn past_the_longest_staleness_nothing_is_served_though_nobody_was_awake_to_end_it() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.all(Wire::Cut).await;
    leap(Duration::from_secs(24 * 3600 - 10)).await;
    site.read("alpha/warm").await.is_held("alpha-warm");
    leap(Duration::from_secs(20)).await;
    assert!([503, 504].contains(&site.read_as_time_goes_by("alpha/warm").await.0.status));
    site.live(60).await;
    site.read_as_time_goes_by("alpha/warm").await.0.is_problem(503, "vault-unavailable");
    site.all(Wire::Whole).await;
    site.live_until(5, async || site.read("alpha/warm").await.status == 200).await;
}
