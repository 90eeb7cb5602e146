use axum::http::StatusCode;
use sidekey::api::model::Readiness;
use sidekey::vaults::{Outage, VaultErrorKind};

use super::{House, get};

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
    for (operation, outcome) in [("discover", "ok"), ("list", "ok"), ("list", "firewall")] {
        let line = format!("sidekey_upstream_calls_total{{operation=\"{operation}\",outcome=\"{outcome}\"}} 1\n");
        assert!(text.contains(&line), "{line} is missing in {text}");
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
