//! F9 and F11: tokens that expire, are revoked, or cannot be had. None of it is a word on any secret.

use std::time::Duration;

use futures::future::join_all;
use sidekey::emulator::{Change, Effect, Endpoint, Fault, Respond};

use super::cable::Wire;
use super::outage::{LONGEST_RECOVERY, age_is_true};
use super::site::{Plan, Site, estate, leap};

fn tokens(site: &Site) -> u64 {
    site.control.calls().endpoint(Endpoint::Token)
}

/// Requests that were refused for want of a good token.
fn refused(site: &Site) -> u64 {
    site.control.calls().statuses.get(&401).copied().unwrap_or(0)
}

fn short_lived(seconds: u64) -> Plan {
    Plan { estate: format!("token_lifetime_s = {seconds}\n{}", estate()), ..Plan::default() }
}

#[tokio::test]
async fn tokens_that_live_for_a_minute_are_replaced_in_time_and_no_vault_ever_sees_an_old_one() {
    let site = Site::of(short_lived(60)).await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.read("beta/warm").await.is("beta-warm");
    site.control.reset_calls();
    for _ in 0..300 {
        site.live(2).await;
        site.read_anew("alpha/warm").await.is("alpha-warm");
    }
    // A token for the vaults and one for Resource Manager, each renewed after half of its life at the earliest.
    let asked = tokens(&site);
    assert!((10..=2 * 600 / 30 + 2).contains(&asked), "{asked} tokens in ten minutes");
    assert_eq!(refused(&site), 0);
}

#[tokio::test]
async fn tokens_that_live_for_seconds_fail_nobody_who_comes_at_any_time_of_their_lives() {
    let site = Site::of(short_lived(20)).await;
    for number in 1..=30 {
        site.still().await;
        leap(Duration::from_millis(13_700)).await;
        site.read(&format!("alpha/cold-{number}")).await.is(&format!("alpha-cold-{number}"));
    }
}

#[tokio::test]
async fn tokens_revoked_in_mid_flight_are_replaced_by_one_sign_in_and_every_reader_is_answered() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.read("beta/warm").await.is("beta-warm");
    site.change(Change::RevokeTokens { app: None });
    site.control.reset_calls();
    let names = (1..=20).flat_map(|number| ["alpha", "beta"].map(|vault| (vault, number)));
    let readers = names.map(|(vault, number)| {
        let site = &site;
        async move { site.read(&format!("{vault}/cold-{number}")).await.is(&format!("{vault}-cold-{number}")) }
    });
    join_all(readers).await;
    assert_eq!(tokens(&site), 1);
}

#[tokio::test]
async fn a_token_that_a_vault_keeps_refusing_is_an_outage_without_a_loop() {
    let site = Site::new().await;
    let first = site.read("alpha/warm").await;
    first.is("alpha-warm");
    site.control.reset_calls();
    site.fault(Fault::new(Effect::Challenge("https://vault.azure.net".into())).vault("alpha"));
    site.read("alpha/cold-1").await.is_problem(502, "sign-in-failed");
    for _ in 0..60 {
        site.live(10).await;
        let held = site.read("alpha/warm").await;
        held.is_held("alpha-warm");
        age_is_true(&held, &first);
    }
    assert_eq!(site.read("alpha/warm").await.stale(), Some("sign-in-failed"));
    site.read("beta/cold-1").await.is("beta-cold-1");
    // At most one in a minute is tried because of it.
    assert!(tokens(&site) <= 11, "{} tokens", tokens(&site));
    site.control.clear_faults();
    site.live_until(LONGEST_RECOVERY, async || site.read("alpha/warm").await.stale().is_none()).await;
}

#[tokio::test]
async fn a_token_is_renewed_so_long_before_its_end_that_an_outage_of_entra_then_costs_nothing() {
    let site = Site::of(short_lived(1000)).await;
    for number in 1..=16 {
        leap(Duration::from_secs(50)).await;
        site.read(&format!("alpha/cold-{number}")).await.is(&format!("alpha-cold-{number}"));
        site.still().await;
    }
    site.entra.set(Wire::Silent).await;
    leap(Duration::from_secs(300)).await;
    site.read("beta/cold-1").await.is("beta-cold-1");
}

#[tokio::test]
async fn while_entra_is_out_the_token_held_reads_every_vault_to_its_end() {
    let site = Site::of(short_lived(3600)).await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.entra.set(Wire::Silent).await;
    for number in 1..=29 {
        leap(Duration::from_secs(120)).await;
        site.still().await;
        site.read(&format!("alpha/cold-{number}")).await.is(&format!("alpha-cold-{number}"));
    }
}

/// Entra does not give tokens, and the one held has expired.
async fn without_token(cold: (u16, &str), stale: &str, wire: Wire, effect: Option<Effect>) {
    let site = Site::of(short_lived(600)).await;
    let first = site.read("alpha/warm").await;
    first.is("alpha-warm");
    if let Some(effect) = effect {
        site.fault(Fault::new(effect).on(Endpoint::Token));
    }
    site.entra.set(wire).await;
    site.live(1000).await;
    let held = site.read("alpha/warm").await;
    held.is_held("alpha-warm");
    site.live(61).await;
    let held = site.read("alpha/warm").await;
    held.is_held("alpha-warm");
    assert_eq!(held.stale(), Some(stale), "{held:?}");
    age_is_bounded(&held);
    let (answer, seconds) = site.read_as_time_goes_by("beta/cold-1").await;
    answer.is_problem(cold.0, cold.1);
    assert!(seconds <= 15, "it took {seconds} s");
    assert!(
        site.counted("sidekey_sign_ins_total") > site.counted("sidekey_sign_ins_total{source=\"test\",outcome=\"ok\"}")
    );

    site.control.clear_faults();
    site.entra.set(Wire::Whole).await;
    site.live_until(LONGEST_RECOVERY, async || {
        let answer = site.read("alpha/warm").await;
        answer.is_held("alpha-warm");
        answer.stale().is_none()
    })
    .await;
    let (answer, _) = site.read_as_time_goes_by("beta/cold-1").await;
    answer.is("beta-cold-1");
}

/// The last listing with a good token was ten minutes after the start at the latest.
#[track_caller]
fn age_is_bounded(answer: &super::site::Answer) {
    assert!((460..=1070).contains(&answer.age()), "{answer:?}");
}

#[tokio::test]
async fn entra_out_of_reach_and_no_token_left() {
    without_token((503, "vault-unavailable"), "vault-unavailable", Wire::Cut, None).await;
}

#[tokio::test]
async fn entra_silent_and_no_token_left() {
    without_token((504, "vault-timeout"), "vault-timeout", Wire::Silent, None).await;
}

#[tokio::test]
async fn a_credential_that_entra_refuses_is_told_and_no_word_on_any_secret() {
    for code in ["AADSTS7000215", "AADSTS7000222"] {
        let body = format!(r#"{{"error":"invalid_client","error_description":"{code}: no"}}"#);
        let refused = Effect::Respond(Respond { status: 401, body: Some(body), ..Respond::default() });
        without_token((502, "sign-in-failed"), "sign-in-failed", Wire::Whole, Some(refused)).await;
    }
}

#[tokio::test]
async fn entra_throttled_and_no_token_left() {
    let busy = Effect::Respond(Respond { status: 429, retry_after: Some("30".into()), ..Respond::default() });
    without_token((503, "vault-throttled"), "vault-throttled", Wire::Whole, Some(busy)).await;
}
