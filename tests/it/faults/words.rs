//! F7 and F8: the vault's own word. A denial that is confirmed ends serving within a minute, one that is not ends nothing;
//! and what only looks like a denial is an outage.

use sidekey::emulator::{Change, Effect, Endpoint, Fault, Firewall, Respond, Right};

use super::outage::{Told, lived_through, lived_through_fault};
use super::site::Site;

/// From the first denial to the last answer with the value.
const LONGEST_DENIAL: u64 = 60;
const OUTAGE: Told = Told { cold: (503, "vault-unavailable"), stale: "vault-unavailable" };

fn refusal(status: u16, code: &str, inner: Option<&str>) -> Effect {
    let inner = inner.map(str::to_owned);
    Effect::Respond(Respond { status, code: Some(code.into()), innererror: inner, ..Respond::default() })
}

/// The vault denies `warm`, until it is taken back: gone within a minute of the first denial, and there again soon.
async fn denied_and_taken_back(site: &Site, status: u16, code: &str, back: impl AsyncFnOnce()) {
    let denials = || site.counted("sidekey_upstream_calls_total{operation=\"get\"") - ok(site);
    // Readers go on as they do; nobody insists. The listing or the next renewal tells.
    site.live_until(400, async || {
        site.read("alpha/warm").await.is_held("alpha-warm");
        denials() > 0
    })
    .await;
    site.live_until(LONGEST_DENIAL, async || site.read("alpha/warm").await.status != 200).await;
    site.read("alpha/warm").await.is_problem(status, code);
    site.read("beta/warm").await.is("beta-warm");
    back().await;
    site.live_until(60, async || site.read("alpha/warm").await.status == 200).await;
    let back = site.read("alpha/warm").await;
    back.is("alpha-warm");
    assert_eq!(back.stale(), None, "{back:?}");
}

fn ok(site: &Site) -> u64 {
    site.counted("sidekey_upstream_calls_total{operation=\"get\",outcome=\"ok\"}")
}

async fn warm() -> Site {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.read("beta/warm").await.is("beta-warm");
    site
}

fn secret() -> (String, String) {
    ("alpha".into(), "warm".into())
}

#[tokio::test]
async fn a_deleted_secret_is_gone_within_a_minute_and_back_when_it_is_recovered() {
    let site = warm().await;
    let (vault, secret) = secret();
    site.change(Change::Delete { vault: vault.clone(), secret: secret.clone() });
    denied_and_taken_back(&site, 404, "secret-not-found", async || site.change(Change::Recover { vault, secret }))
        .await;
}

#[tokio::test]
async fn a_disabled_secret_is_gone_within_a_minute_and_back_when_it_is_enabled() {
    let site = warm().await;
    let (vault, secret) = secret();
    site.change(Change::Disable { vault: vault.clone(), secret: secret.clone() });
    denied_and_taken_back(&site, 410, "secret-disabled", async || site.change(Change::Enable { vault, secret })).await;
}

#[tokio::test]
async fn a_role_that_is_taken_away_ends_serving_within_a_minute_and_one_that_is_given_begins_it() {
    let site = warm().await;
    site.change(Change::Revoke { app: "reader".into(), vault: "alpha".into(), rights: None });
    let grant = async || {
        let rights = vec![Right::Get, Right::List];
        site.change(Change::Grant { app: "reader".into(), vault: "alpha".into(), rights });
    };
    denied_and_taken_back(&site, 502, "vault-denied", grant).await;
}

#[tokio::test]
async fn an_access_policy_that_no_longer_names_us_does_the_same() {
    let site = warm().await;
    let fault = site.fault(Fault::new(refusal(403, "Forbidden", Some("ForbiddenByPolicy"))).vault("alpha"));
    denied_and_taken_back(&site, 502, "vault-denied", async || assert!(site.control.clear_fault(fault))).await;
}

#[tokio::test]
async fn one_denial_that_nothing_confirms_ends_nothing() {
    for effect in [
        refusal(404, "SecretNotFound", None),
        refusal(403, "Forbidden", Some("ForbiddenByRbac")),
        refusal(403, "Forbidden", Some("SecretDisabled")),
    ] {
        let site = warm().await;
        site.fault(Fault::new(effect).on(Endpoint::Get).vault("alpha").times(1));
        assert_ne!(site.read_anew("alpha/warm").await.status, 200, "who insists is told");
        for _ in 0..120 {
            site.read("alpha/warm").await.is_held("alpha-warm");
            site.live(1).await;
        }
        assert_eq!(site.read("alpha/warm").await.stale(), None);
    }
}

#[tokio::test]
async fn a_denial_in_the_middle_of_an_outage_ends_nothing() {
    let site = warm().await;
    site.fault(Fault::new(refusal(404, "SecretNotFound", None)).on(Endpoint::Get).vault("alpha").times(1));
    site.read_anew("alpha/warm").await.is_problem(404, "secret-not-found");
    site.fault(Fault::new(Effect::Reset).vault("alpha"));
    for _ in 0..60 {
        site.live(10).await;
        site.read("alpha/warm").await.is_held("alpha-warm");
    }
}

#[tokio::test]
async fn an_expired_secret_is_served_as_the_vault_serves_it() {
    let site = warm().await;
    site.change(Change::Set {
        vault: "alpha".into(),
        secret: "warm".into(),
        value: "expired".into(),
        expires_in_s: Some(-3600),
        content_type: None,
        tags: Default::default(),
    });
    site.live_until(70, async || site.read("alpha/warm").await.body == "expired").await;
}

#[tokio::test]
async fn a_missing_name_costs_one_call_in_its_time_and_is_there_soon_after_it_is_made() {
    let site = warm().await;
    for _ in 0..25 {
        site.read("alpha/missing").await.is_problem(404, "secret-not-found");
        site.live(1).await;
    }
    assert_eq!(site.gets("alpha", "missing"), 1);
    site.change(Change::Set {
        vault: "alpha".into(),
        secret: "missing".into(),
        value: "made".into(),
        expires_in_s: None,
        content_type: None,
        tags: Default::default(),
    });
    site.live_until(60, async || site.read("alpha/missing").await.body == "made").await;
}

#[tokio::test]
async fn a_firewall_is_an_outage() {
    let site = Site::new().await;
    let firewall = |to| site.change(Change::Firewall { vault: "alpha".into(), to });
    lived_through(&site, OUTAGE, async || firewall(Firewall::Closed), async || firewall(Firewall::Open)).await;
}

#[tokio::test]
async fn public_access_that_is_switched_off_is_an_outage() {
    let site = Site::new().await;
    let firewall = |to| site.change(Change::Firewall { vault: "alpha".into(), to });
    lived_through(&site, OUTAGE, async || firewall(Firewall::Private), async || firewall(Firewall::Open)).await;
}

#[tokio::test]
async fn a_403_for_a_reason_that_nobody_knows_is_an_outage() {
    lived_through_fault(OUTAGE, refusal(403, "Forbidden", Some("ForbiddenBySomethingNew"))).await;
}

#[tokio::test]
async fn a_404_that_is_not_in_key_vaults_words_is_an_outage() {
    let page = Some("<html>404 Not Found</html>".to_owned());
    lived_through_fault(OUTAGE, Effect::Respond(Respond { status: 404, body: page, ..Respond::default() })).await;
}
