use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use sidekey::api::model::Readiness;
use sidekey::api::{State, router};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::vaults::{Denial, Outage, Source, VaultError, VaultErrorKind};

use super::{House, get};
use crate::catalog::estate::{Act, Round, Scripted, ScriptedSource, round};

#[tokio::test]
async fn live_at_once_and_ready_after_the_first_round() {
    let house = House::new(&["pay"]);
    let closed = house.closed();
    assert_eq!(get(&closed, "/livez").await.status, StatusCode::OK);
    get(&closed, "/readyz").await.problem(503, "not-ready");
    let verbose = get(&closed, "/readyz?verbose").await;
    assert_eq!((verbose.status, verbose.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
    assert!(!serde_json::from_slice::<Readiness>(&verbose.body).unwrap().discovered);
    let ready = get(&house.open().await, "/readyz").await;
    assert_eq!((ready.status, &ready.body[..]), (StatusCode::OK, &b"ready\n"[..]));
}

#[tokio::test]
async fn a_vault_that_cannot_be_listed_is_explained_and_does_not_hold_readiness_up() {
    let house = House::new(&["pay", "hr"]);
    house.set("pay", "a", "1");
    house.list_fails("hr", VaultErrorKind::Unavailable(Outage::Dns));
    let answer = get(&house.open().await, "/readyz?verbose").await;
    assert_eq!(answer.status, StatusCode::OK);
    let ready: Readiness = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((ready.ready, ready.vaults, ready.listed, ready.failed, ready.secrets), (true, 2, 1, 1, 1));
    assert_eq!((ready.sources["test"].vaults, ready.sources["test"].reachable), (2, 1));
    assert_eq!(ready.unanswered[0].reason, "dns-failure");
}

#[tokio::test]
async fn listings_and_rounds_of_discovery_are_counted_by_what_became_of_them() {
    let house = House::new(&["vault-canary", "hr-canary"]);
    house.set("vault-canary", "name-canary", "value-canary");
    house.list_fails("hr-canary", VaultErrorKind::Unavailable(Outage::Firewall));
    let router = house.open().await;
    let text = String::from_utf8(get(&router, "/metrics").await.body.to_vec()).unwrap();
    for line in [
        "sidekey_discovery_rounds_total{source=\"test\",outcome=\"ok\"} 1\n",
        "sidekey_listings_total{outcome=\"ok\"} 1\n",
        "sidekey_listings_total{outcome=\"firewall\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn metrics_tell_levels_and_no_secrets_name() {
    let house = House::new(&["pay"]);
    house.set("pay", "name-canary", "value-canary");
    let router = house.open().await;
    get(&router, "/v1/secrets/name-canary").await;
    get(&router, "/v1/secrets/name-canary").await;
    get(&router, "/v1/vaults/pay/secrets/absent-canary").await;
    let answer = get(&router, "/metrics").await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("sidekey_vaults 1\n") && text.contains("sidekey_catalog_secrets 1\n"), "{text}");
    for line in [
        "sidekey_reads_total{outcome=\"miss\"} 1",
        "sidekey_reads_total{outcome=\"hit\"} 1",
        "sidekey_reads_total{outcome=\"secret-not-found\"} 1",
        "sidekey_cache_values 1",
        "sidekey_cache_stale_values 0",
        "sidekey_cache_refusals 1",
        "sidekey_declared_missing 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is missing in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

/// The routes over one source, and its catalog.
fn router_of(source: &Arc<ScriptedSource>) -> (Catalog, Router) {
    let catalog = Catalog::new(vec![Arc::clone(source) as Arc<dyn Source>], CatalogOptions::default());
    let broker = Broker::new(catalog.clone(), BrokerOptions::default(), Metrics::default());
    (catalog, router(State::new(broker, Metrics::default())))
}

fn refused() -> VaultError {
    VaultError::new(
        VaultErrorKind::Unauthenticated { code: Some("AADSTS7000215".into()) },
        "the client secret is wrong",
    )
}

#[tokio::test]
async fn who_was_let_in_nowhere_is_not_ready_until_it_is_and_stays_so_when_it_is_shut_out_later() {
    let shut_out = Round { faults: vec![refused()], ..Round::default() };
    let source = ScriptedSource::new("contoso", shut_out.clone());
    let (catalog, router) = router_of(&source);
    catalog.refresh(None).await;
    let problem = get(&router, "/readyz").await.problem(503, "not-ready");
    assert_eq!(problem["detail"], "no vault could be asked yet: source contoso (sign-in-failed)");
    let verbose = get(&router, "/readyz?verbose").await;
    assert_eq!(verbose.status, StatusCode::SERVICE_UNAVAILABLE);
    let told: Readiness = serde_json::from_slice(&verbose.body).unwrap();
    assert_eq!((told.ready, told.waiting_for.as_deref()), (false, problem["detail"].as_str()));
    assert!(told.unanswered[0].detail.contains("AADSTS7000215"), "{:?}", told.unanswered);

    let pay = Scripted::holding("pay", &["a"]);
    source.now(round([&pay]));
    catalog.refresh(None).await;
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    source.now(shut_out);
    pay.now(Act::BreakOff(Vec::new(), refused().kind().clone()));
    catalog.refresh(None).await;
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK, "what is held is served");
}

#[tokio::test]
async fn a_named_vault_makes_nobody_ready_before_it_has_answered_in_whatever_way() {
    let outage = || VaultErrorKind::Unavailable(Outage::Connection);
    for answer in [None, Some(VaultErrorKind::Denied(Denial::Rbac))] {
        let pay = Scripted::holding("pay", &["a"]);
        let source = ScriptedSource::new("contoso", Round { faults: vec![refused()], ..round([&pay]) });
        let (catalog, router) = router_of(&source);
        for why in [refused().kind().clone(), outage()] {
            pay.now(Act::BreakOff(Vec::new(), why));
            catalog.refresh(None).await;
            get(&router, "/readyz").await.problem(503, "not-ready");
        }
        match answer {
            // A vault that may be read and not listed: it says itself that there is no such secret.
            None => assert_eq!(get(&router, "/v1/vaults/pay/secrets/b").await.status, StatusCode::NOT_FOUND),
            Some(word) => pay.now(Act::BreakOff(Vec::new(), word)),
        }
        catalog.refresh(None).await;
        assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_identity_that_is_shown_no_vault_is_ready_as_nothing_was_kept_from_it() {
    let source = ScriptedSource::new("contoso", Round::default());
    let (catalog, router) = router_of(&source);
    catalog.refresh(None).await;
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
}
