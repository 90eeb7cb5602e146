use std::time::Duration;

use sidekey::vaults::memory::Attributes;
use sidekey::vaults::{Denial, Outage, VaultErrorKind};

use super::{House, ask, get, post};

#[tokio::test]
async fn what_a_vault_met_is_told_apart_and_never_as_not_found() {
    let kinds = [
        (VaultErrorKind::NotFound, 404, "secret-not-found", None),
        (VaultErrorKind::Disabled, 410, "secret-disabled", None),
        (VaultErrorKind::Denied(Denial::Rbac), 502, "vault-denied", Some("denied-by-rbac")),
        (VaultErrorKind::Denied(Denial::AccessPolicy), 502, "vault-denied", Some("denied-by-access-policy")),
        (
            VaultErrorKind::Unauthenticated { code: Some("AADSTS7000215".into()) },
            502,
            "sign-in-failed",
            Some("sign-in-failed"),
        ),
        (VaultErrorKind::Throttled { retry_after: None }, 503, "vault-throttled", Some("throttled")),
        (VaultErrorKind::TimedOut, 504, "vault-timeout", Some("timed-out")),
        (VaultErrorKind::Unavailable(Outage::Dns), 503, "vault-unavailable", Some("dns-failure")),
        (VaultErrorKind::Unavailable(Outage::Server(500)), 503, "vault-unavailable", Some("server-error")),
        (VaultErrorKind::Unavailable(Outage::Firewall), 503, "vault-unavailable", Some("firewall")),
        (VaultErrorKind::Malformed, 503, "vault-unavailable", Some("malformed-answer")),
    ];
    let house = House::new(&["pay"]);
    for (n, (kind, ..)) in kinds.iter().enumerate() {
        house.set("pay", &format!("s{n}"), "1");
        house.get_fails("pay", &format!("s{n}"), kind.clone());
    }
    let router = house.open().await;
    for (n, (_, status, code, reason)) in kinds.iter().enumerate() {
        let problem = get(&router, &format!("/v1/vaults/pay/secrets/s{n}")).await.problem(*status, code);
        assert_eq!(problem["reason"].as_str(), *reason, "{problem}");
    }
}

#[tokio::test]
async fn a_throttled_vaults_own_wish_is_passed_on_within_reason() {
    let house = House::new(&["pay"]);
    for (name, wish) in [("short", 0), ("some", 17), ("absurd", 86_400)] {
        house.set("pay", name, "1");
        house.get_fails("pay", name, VaultErrorKind::Throttled { retry_after: Some(Duration::from_secs(wish)) });
    }
    let router = house.open().await;
    for (name, told) in [("short", "1"), ("some", "17"), ("absurd", "300")] {
        let answer = get(&router, &format!("/v1/vaults/pay/secrets/{name}")).await;
        assert_eq!(answer.header("retry-after"), Some(told), "{name}");
    }
}

#[tokio::test]
async fn bad_names_are_refused_with_what_and_where() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "1");
    let router = house.open().await;
    let long = "a".repeat(128);
    for (name, said) in [
        ("a%2fb", "'/' at character 2"),
        ("%252f", "'%' at character 1"),
        ("..", "'.' at character 1"),
        ("%2e%2e", "'.' at character 1"),
        ("a%00", "'\\0' at character 2"),
        ("a%20b", "' ' at character 2"),
        ("%d0%ba", "'к' at character 1"),
        ("%ff", "not UTF-8"),
        (long.as_str(), "128 characters; 127 is the most"),
    ] {
        for path in [
            format!("/v1/secrets/{name}"),
            format!("/v1/vaults/pay/secrets/{name}"),
            format!("/v1/vaults/{name}/secrets/a"),
            format!("/v1/vaults/{name}/secrets"),
            format!("/v1/vaults/pay/secrets/{name}/versions"),
        ] {
            let problem = get(&router, &path).await.problem(400, "bad-reference");
            assert!(problem["detail"].as_str().unwrap().contains(said), "{path}: {problem}");
        }
    }
    for path in ["/v1/secrets/a/b", "/v1/secrets/", "/v1/secrets/a/"] {
        get(&router, path).await.problem(400, "bad-reference");
    }
    for path in [
        "/v1/vaults/pay/secrets/a/versions/1",
        "/v1/vaults/pay/secrets/a/versions/..",
        "/v1/secrets/a?version=latest",
        "/v1/secrets/a?field=user",
    ] {
        get(&router, path).await.problem(400, "bad-reference");
    }
}

#[tokio::test]
async fn parameters_that_are_not_understood_are_refused_by_name() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "1");
    let router = house.open().await;
    for (path, said) in [
        ("/v1/secrets/a?feild=/x", "feild"),
        ("/v1/secrets/a?field=/x&field=/y", "field"),
        ("/v1/secrets/a?field=/x&format=pem", "format"),
        ("/v1/secrets/a?format=der", "format"),
        ("/v1/vaults/pay/secrets/a?version=0b31729e2750416caba40429a1f3bea4", "version"),
        ("/v1/vaults?x=1", "x"),
        ("/v1/vaults/pay/secrets?limit=0", "limit"),
        ("/v1/vaults/pay/secrets?limit=many", "limit"),
        ("/v1/vaults/pay/secrets?cursor=nonsense", "cursor"),
        ("/v1/vaults/pay/secrets/a/versions?x", "x"),
        ("/v1/search?q=%28&match=regex", "q"),
        ("/v1/search?match=psychic", "match"),
        ("/v1/search?expires_within=soon", "expires_within"),
        ("/v1/search?nope=1", "nope"),
        ("/readyz?loud", "loud"),
    ] {
        let problem = get(&router, path).await.problem(400, "bad-query");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{said}`")), "{path}: {problem}");
    }
}

#[tokio::test]
async fn every_other_failure_has_its_own_code() {
    let house = House::new(&["pay", "hr"]);
    house.set("pay", "both", "1");
    house.set("hr", "both", "2");
    let off = Attributes { enabled: false, ..Attributes::default() };
    house.vault("pay").shelf.set(&"off".parse().unwrap(), "x", off);
    let router = house.open().await;
    get(&router, "/v1/secrets/none").await.problem(404, "secret-not-found");
    get(&router, "/v1/vaults/pay/secrets/none").await.problem(404, "secret-not-found");
    get(&router, "/v1/vaults/none/secrets/a").await.problem(404, "vault-not-found");
    get(&router, "/v1/vaults/none/secrets").await.problem(404, "vault-not-found");
    get(&router, "/v1/vaults/pay/secrets/none/versions").await.problem(404, "secret-not-found");
    get(&router, "/v1/vaults/pay/secrets/off").await.problem(410, "secret-disabled");
    get(&router, "/nowhere").await.problem(404, "not-found");
    let only_held = [("cache-control", "only-if-cached")];
    ask(&router, "GET", "/v1/vaults/pay/secrets/both", &only_held).await.problem(504, "not-cached");
    let html = [("accept", "text/html")];
    ask(&router, "GET", "/v1/vaults/pay/secrets/both", &html).await.problem(406, "not-acceptable");

    let problem = get(&router, "/v1/secrets/both").await.problem(409, "ambiguous");
    assert_eq!(problem["candidates"], serde_json::json!(["secret://hr/both", "secret://pay/both"]));
    get(&house.closed(), "/v1/secrets/a").await.problem(503, "not-ready");
    get(&house.closed(), "/v1/vaults/pay/secrets/a").await.problem(503, "not-ready");

    house.list_fails("hr", VaultErrorKind::Unavailable(Outage::Dns));
    house.get_fails("hr", "none", VaultErrorKind::Unavailable(Outage::Dns));
    let problem = get(&house.open().await, "/v1/secrets/none").await.problem(503, "incomplete");
    assert_eq!(problem["unanswered"][0]["vault"], "hr");
    assert_eq!(problem["unanswered"][0]["reason"], "dns-failure");
}

#[tokio::test]
async fn methods_that_are_not_served_are_refused_with_those_that_are() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "1");
    let router = house.open().await;
    for path in ["/v1/secrets/a", "/v1/vaults", "/v1/vaults/pay/secrets/a", "/v1/search", "/livez", "/openapi.json"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let answer = ask(&router, method, path, &[]).await;
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method} {path}");
        }
    }
    let answer = get(&router, "/v1/resolve").await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    post(&router, "/v1/resolve", r#"{"refs":{}}"#).await;
}

#[tokio::test]
async fn a_query_that_is_no_text_is_refused_and_so_are_two_views_at_once() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "1");
    let router = house.open().await;
    for path in ["/v1/search?q=%ff", "/v1/secrets/a?version=%c3%28", "/v1/vaults?%80"] {
        let problem = get(&router, path).await.problem(400, "bad-query");
        assert!(problem["detail"].as_str().unwrap().contains("not UTF-8"), "{problem}");
    }
    for (path, told) in [
        ("field=/x&format=pem", "`format` cannot stand beside `field`"),
        ("format=pem&field=/x", "`field` cannot stand beside `format`"),
    ] {
        let problem = get(&router, &format!("/v1/secrets/a?{path}")).await.problem(400, "bad-query");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
}
