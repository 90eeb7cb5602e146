use reqwest::Method;
use serde_json::json;
use sidekey::emulator::Endpoint;

use super::support::{API, ARM, KEY_VAULT, Lab, TENANT};

#[tokio::test]
async fn a_call_without_a_token_is_challenged_and_one_with_it_is_answered() {
    let lab = Lab::new();
    let url = format!("https://alpha.vault.azure.net/secrets/db-password/?{API}");
    let reply = lab.send(Method::GET, &url, None, None).await.unwrap();
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.header("www-authenticate"),
        format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"https://vault.azure.net\""
        )
    );
    let token = lab.token(KEY_VAULT).await;
    for url in [url, "https://alpha.vault.azure.net/secrets/db-password?api%2Dversion=7.6".to_owned()] {
        let reply = lab.get(&url, &token).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let body = reply.json();
        assert_eq!(body["value"], "new");
        assert_eq!(body["tags"], json!({"team": "pay"}));
        let id = body["id"].as_str().unwrap();
        assert!(id.starts_with("https://alpha.vault.azure.net/secrets/db-password/"), "{id}");
    }
}

#[tokio::test]
async fn a_listing_comes_in_pages_of_25_whose_links_tell_the_port() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let url = format!("https://alpha.vault.azure.net/secrets?{API}");
    let first = lab.get(&url, &token).await.json();
    let link = first["nextLink"].as_str().unwrap();
    assert!(link.starts_with("https://alpha.vault.azure.net:443/secrets?api-version=7.6&$skiptoken="), "{link}");
    let (sizes, items) = lab.walk(&url, &token).await;
    assert_eq!(sizes, [25, 25, 13]);
    let item = items.iter().find(|item| item["id"].as_str().unwrap().ends_with("/secrets/db-password")).unwrap();
    assert!(item.get("value").is_none(), "a listing never tells a value: {item}");
    let mut ids: Vec<_> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 63);
    assert_eq!(lab.get(&format!("{url}&maxresults=26"), &token).await.status, 400);
}

#[tokio::test]
async fn every_request_is_counted_by_what_it_is_for() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let url = format!("https://alpha.vault.azure.net/secrets/DB-Password?{API}");
    lab.send(Method::GET, &url, None, None).await.unwrap();
    for _ in 0..3 {
        lab.get(&url, &token).await;
    }
    lab.get("https://management.azure.com/subscriptions?api-version=2022-12-01", &lab.token(ARM).await).await;
    let calls = lab.control().calls();
    assert_eq!(calls.secret("alpha", "db-password", Endpoint::Get), 3);
    assert_eq!(calls.vault("alpha", Endpoint::Challenge), 1);
    assert_eq!(calls.endpoint(Endpoint::Token), 2);
    assert_eq!(calls.endpoint(Endpoint::Subscriptions), 1);
    assert_eq!(calls.requests, 7);
    lab.control().reset_calls();
    assert_eq!(lab.control().calls().requests, 0);
}
