//! F13: a start while nothing answers. The process lives, says that it is not ready and why, and heals by itself.

use std::time::Duration;

use sidekey::broker::BrokerOptions;
use sidekey::emulator::{Effect, Endpoint, Fault, Respond};

use super::cable::Wire;
use super::outage::{LONGEST_READ, LONGEST_RECOVERY};
use super::site::{Plan, Site, leap};

/// Nothing is declared: being ready means that there is a vault to ask.
async fn in_the_dark() -> Site {
    Site::of(Plan { in_the_dark: true, ..Plan::default() }).await
}

/// A secret is declared, and being ready means that it is held.
async fn in_the_dark_with_a_need() -> Site {
    let plan = Plan::default();
    let prefetch = vec!["secret://alpha/warm".parse().unwrap()];
    let broker = BrokerOptions { prefetch, ..plan.broker };
    Site::of(Plan { broker, in_the_dark: true, ..plan }).await
}

/// Nothing can be had, and everything says so.
async fn holds_out(site: &Site) {
    site.get("/livez").await.is("ok\n");
    site.get("/readyz").await.is_problem(503, "not-ready");
    assert_eq!(site.get("/readyz?verbose").await.json()["ready"], false);
    let (cold, seconds) = site.read_as_time_goes_by("alpha/warm").await;
    assert!(seconds <= LONGEST_READ);
    let code = cold.json()["code"].as_str().unwrap().to_owned();
    assert!(["not-ready", "incomplete", "vault-unavailable"].contains(&code.as_str()), "{cold:?}");
    cold.is_problem(503, &code);
    let search = site.get("/v1/search?q=warm").await.json();
    assert_eq!(search["complete"], false, "{search}");
}

/// Ready, and everything is there.
async fn healed(site: &Site) {
    site.live_until(LONGEST_RECOVERY, async || site.get("/readyz").await.status == 200).await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.read("beta/warm").await.is("beta-warm");
    site.live_until(LONGEST_RECOVERY, async || site.get("/v1/search?q=warm").await.json()["complete"] == true).await;
}

#[tokio::test]
async fn a_start_while_nobody_listens_anywhere() {
    let site = in_the_dark().await;
    holds_out(&site).await;
    site.live(30).await;
    holds_out(&site).await;
    site.all(Wire::Whole).await;
    healed(&site).await;
}

#[tokio::test]
async fn what_is_declared_is_held_before_it_is_ready_however_late_that_is() {
    let site = in_the_dark_with_a_need().await;
    holds_out(&site).await;
    for cable in [&site.entra, &site.arm, &site.vaults["beta"]] {
        cable.set(Wire::Whole).await;
    }
    site.live(LONGEST_RECOVERY).await;
    site.read("beta/warm").await.is("beta-warm");
    site.get("/readyz").await.is_problem(503, "not-ready");
    site.all(Wire::Whole).await;
    healed(&site).await;
    assert_eq!(site.gets("alpha", "warm"), 1, "nobody had to ask for it");
}

#[tokio::test]
async fn a_start_with_a_credential_that_entra_refuses_is_not_ready_until_it_is_put_right() {
    let site = in_the_dark().await;
    let body = Some(r#"{"error":"invalid_client","error_description":"AADSTS7000215: no"}"#.to_owned());
    site.control
        .fault(Fault::new(Effect::Respond(Respond { status: 401, body, ..Respond::default() })).on(Endpoint::Token));
    site.all(Wire::Whole).await;
    site.live(100).await;
    holds_out(&site).await;
    let told = site.get("/readyz?verbose").await.json();
    assert_eq!(told["unanswered"][0]["reason"], "sign-in-failed", "{told}");
    site.control.clear_faults();
    healed(&site).await;
}

#[tokio::test]
async fn being_ready_outlasts_an_outage() {
    let site = Site::new().await;
    site.all(Wire::Cut).await;
    for _ in 0..60 {
        site.live(20).await;
        site.get("/readyz").await.is("ready\n");
    }
}

#[tokio::test]
async fn being_ready_outlasts_an_outage_where_nothing_may_be_listed_too() {
    let estate = super::site::estate().replace(r#"rights = ["all"]"#, r#"rights = ["get"]"#);
    let site = Site::of(Plan { estate, ..Plan::default() }).await;
    site.get("/readyz").await.is("ready\n");
    site.read("alpha/warm").await.is("alpha-warm");
    site.all(Wire::Cut).await;
    for _ in 0..10 {
        site.live(20).await;
        site.get("/readyz").await.is("ready\n");
        site.read("alpha/warm").await.is_held("alpha-warm");
    }
}

#[tokio::test]
async fn a_start_while_everything_is_silent() {
    let site = in_the_dark().await;
    site.all(Wire::Silent).await;
    holds_out(&site).await;
    site.live(100).await;
    holds_out(&site).await;
    site.all(Wire::Whole).await;
    healed(&site).await;
}

#[tokio::test]
async fn a_start_in_an_outage_of_hours() {
    let site = in_the_dark().await;
    for _ in 0..3 * 60 {
        leap(Duration::from_secs(60)).await;
        site.still().await;
    }
    holds_out(&site).await;
    site.all(Wire::Whole).await;
    healed(&site).await;
}

#[tokio::test]
async fn a_start_while_entra_is_out() {
    let site = in_the_dark().await;
    site.arm.set(Wire::Whole).await;
    for vault in site.vaults.values() {
        vault.set(Wire::Whole).await;
    }
    site.live(1000).await;
    holds_out(&site).await;
    site.entra.set(Wire::Whole).await;
    healed(&site).await;
}

#[tokio::test]
async fn a_start_while_one_vault_is_out_is_a_start() {
    let plan = Plan::default();
    let site = Site::of(Plan { in_the_dark: true, ..plan }).await;
    for cable in [&site.entra, &site.arm, &site.vaults["beta"]] {
        cable.set(Wire::Whole).await;
    }
    site.live_until(LONGEST_RECOVERY, async || site.get("/readyz").await.status == 200).await;
    site.read("beta/warm").await.is("beta-warm");
    site.read_as_time_goes_by("alpha/warm").await.0.is_problem(503, "vault-unavailable");
    site.vaults["alpha"].set(Wire::Whole).await;
    site.live_until(1, async || site.read("alpha/warm").await.body == "alpha-warm").await;
}
