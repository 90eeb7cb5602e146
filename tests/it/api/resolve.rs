use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use sidekey::api::model::{ResolveAnswer, ResolveRequest};
use sidekey::vaults::{Outage, VaultErrorKind};

use super::{House, post, send};

#[tokio::test]
async fn all_values_come_at_once_each_with_its_origin() {
    let house = House::new(&["pay", "hr"]);
    let old = house.set("pay", "db", "old").version.unwrap();
    house.set("pay", "db", r#"{"user":"ann"}"#);
    house.set("hr", "redis", "line\nline\u{1F511}\"");
    let router = house.open().await;
    let request = json!({"refs": {
        "DB": "secret://pay/db",
        "DB_USER": "secret://pay/db#/user",
        "OLD": format!("secret://pay/db@{old}"),
        "REDIS": "secret://*/redis",
        "APP_SERVICE": "@Microsoft.KeyVault(VaultName=hr;SecretName=redis)",
    }});
    let answer = post(&router, "/v1/resolve", request.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer: ResolveAnswer = serde_json::from_slice(&answer.body).unwrap();
    let opened: Vec<_> = answer.values.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
    let values: Vec<_> = opened.iter().map(|(key, value)| (*key, &**value)).collect();
    let redis = "line\nline\u{1F511}\"".as_bytes();
    assert_eq!(
        values,
        [
            ("APP_SERVICE", redis),
            ("DB", &br#"{"user":"ann"}"#[..]),
            ("DB_USER", b"ann"),
            ("OLD", b"old"),
            ("REDIS", redis),
        ]
    );
    assert_eq!(answer.resolved["REDIS"].vault.as_str(), "hr");
    assert_eq!(answer.resolved["OLD"].version, Some(old));
}

#[tokio::test]
async fn fields_of_one_secret_are_of_one_reading_of_it() {
    let house = House::new(&["pay"]);
    house.set("pay", "s3", r#"{"id":"AKIA","key":"k"}"#);
    let router = house.open().await;
    let refs = json!({"ID": "secret://pay/s3#/id", "KEY": "akv://pay/s3#/key", "ALL": "secret://pay/s3"});
    let answer = post(&router, "/v1/resolve", json!({ "refs": refs }).to_string()).await.json();
    assert_eq!(answer["values"], json!({"ID": "AKIA", "KEY": "k", "ALL": r#"{"id":"AKIA","key":"k"}"#}));
    let told = house.metrics.encode();
    let reads: Vec<_> = told.lines().filter(|line| line.starts_with("sidekey_reads_total")).collect();
    assert_eq!(reads, ["sidekey_reads_total{outcome=\"miss\"} 1"]);
}

#[tokio::test]
async fn every_failure_is_told_by_its_key_and_no_value_is_given() {
    let house = House::new(&["pay", "hr"]);
    house.set("pay", "good", "hunter2-canary");
    house.set("pay", "both", "1");
    house.set("hr", "both", "2");
    house.set("pay", "bytes", [0xff]);
    house.set("pay", "down", "1");
    house.get_fails("pay", "down", VaultErrorKind::Unavailable(Outage::Connection));
    let router = house.open().await;
    let request = json!({"refs": {
        "GOOD": "secret://pay/good",
        "MISSING": "secret://pay/missing",
        "BAD": "hunter2",
        "BOTH": "secret://*/both",
        "DOWN": "secret://pay/down",
        "BYTES": "secret://pay/bytes",
        "FIELD": "secret://pay/good#/x",
    }});
    let answer = post(&router, "/v1/resolve", request.to_string()).await;
    let problem = answer.json();
    let told: Vec<_> = problem["errors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, fault)| (key.as_str(), fault["code"].as_str().unwrap()))
        .collect();
    let expected = [
        ("BAD", "bad-reference"),
        ("BOTH", "ambiguous"),
        ("BYTES", "not-acceptable"),
        ("DOWN", "vault-unavailable"),
        ("FIELD", "field-not-found"),
        ("MISSING", "secret-not-found"),
    ];
    // Bytes are found out only where all else went well.
    let without_bytes: Vec<_> = expected.iter().copied().filter(|(key, _)| *key != "BYTES").collect();
    assert_eq!(told, without_bytes);
    assert_eq!(problem["errors"]["BOTH"]["candidates"][0], "secret://hr/both");
    assert_eq!(problem["errors"]["DOWN"]["reason"], "connection-failed");
    // What waiting will not mend decides the status.
    assert!(answer.status.is_client_error() && answer.header("retry-after").is_none());
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains("hunter2"), "{text}");

    let bytes = post(&router, "/v1/resolve", r#"{"refs":{"BYTES":"secret://pay/bytes"}}"#).await;
    bytes.problem(406, "not-acceptable");
}

#[tokio::test]
async fn if_waiting_may_mend_all_of_it_the_answer_says_when() {
    let house = House::new(&["pay"]);
    house.set("pay", "down", "1");
    house.get_fails("pay", "down", VaultErrorKind::Unavailable(Outage::Connection));
    let router = house.open().await;
    let answer = post(&router, "/v1/resolve", r#"{"refs":{"A":"secret://pay/down"}}"#).await;
    answer.problem(503, "vault-unavailable");
}

#[tokio::test]
async fn a_request_that_is_not_understood_resolves_nothing() {
    let router = House::new(&["pay"]).open().await;
    for body in [
        "",
        "[]",
        "{}",
        r#"{"refs":["a"]}"#,
        r#"{"refs":{"A":1}}"#,
        r#"{"refs":{},"more":1}"#,
        r#"{"refs":{"A":"secret://pay/a","A":"secret://pay/b"}}"#,
    ] {
        let problem = post(&router, "/v1/resolve", body).await.problem(400, "bad-query");
        assert!(problem["detail"].as_str().unwrap().contains("line 1, column"), "{problem}");
    }
    let many: serde_json::Map<_, _> = (0..1001).map(|n| (format!("K{n}"), json!("secret://pay/a"))).collect();
    post(&router, "/v1/resolve", json!({"refs": many}).to_string()).await.problem(400, "bad-query");
    post(&router, "/v1/resolve", vec![b' '; 1024 * 1024 + 1]).await.problem(413, "too-large");
    let form = Request::post("/v1/resolve").header("content-type", "text/plain").body(Body::from(r#"{"refs":{}}"#));
    send(&router, form.unwrap()).await.problem(415, "unsupported-media-type");
}

#[test]
fn a_printed_request_shows_its_keys_alone() {
    let request = ResolveRequest { refs: [("KEY".to_owned(), "hunter2".to_owned())].into() };
    assert!(!format!("{request:?}").contains("hunter2"));
}
