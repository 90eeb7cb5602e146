use reqwest::Method;
use serde_json::{Value, json};
use sidekey::emulator::{Effect, Endpoint, Fault, Respond};

use super::support::{API, KEY_VAULT, Lab};

const URL: &str = "https://alpha.vault.azure.net/secrets/db-password?api-version=7.6";

async fn status(lab: &Lab, token: &str, url: &str) -> u16 {
    lab.get(url, token).await.status.as_u16()
}

#[tokio::test]
async fn a_fault_strikes_what_it_names_from_its_nth_call_and_so_often() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let fault =
        Fault::new(Effect::Respond(Respond::status(503))).on(Endpoint::Get).vault("alpha").secret("DB-Password");
    lab.control().fault(fault.nth(2).times(2));
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(status(&lab, &token, URL).await);
        assert_eq!(status(&lab, &token, &format!("https://alpha.vault.azure.net/secrets/filler-1?{API}")).await, 200);
    }
    assert_eq!(seen, [200, 503, 503, 200, 200]);
}

#[tokio::test]
async fn an_answer_can_be_put_in_the_services_place() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let respond = Respond {
        status: 429,
        code: Some("Throttled".into()),
        innererror: Some("Inner".into()),
        retry_after: Some("17".into()),
        ..Respond::default()
    };
    let number = lab.control().fault(Fault::new(Effect::Respond(respond)).on(Endpoint::Get));
    let reply = lab.get(URL, &token).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "17"));
    assert_eq!((reply.json()["error"]["code"].as_str(), reply.code().as_str()), (Some("Throttled"), "Inner"));
    assert!(lab.control().clear_fault(number));
    assert_eq!(status(&lab, &token, URL).await, 200);
}

#[tokio::test]
async fn a_connection_can_be_reset_and_an_answer_cut_in_half() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    for effect in [Effect::Reset, Effect::Truncate] {
        lab.control().fault(Fault::new(effect).on(Endpoint::Get).times(1));
        assert!(lab.send(Method::GET, URL, Some(&token), None).await.is_err());
        assert_eq!(status(&lab, &token, URL).await, 200, "the next connection is whole");
    }
}

#[tokio::test]
async fn a_body_can_be_of_another_secret_no_json_too_large_or_a_bomb() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let once = |effect| {
        lab.control().fault(Fault::new(effect).on(Endpoint::Get).times(1));
        lab.get(URL, &token)
    };
    let right = lab.get(URL, &token).await.json();
    let wrong = once(Effect::WrongId("other".into())).await.json();
    assert_eq!(wrong["value"], right["value"]);
    assert!(wrong["id"].as_str().unwrap().starts_with("https://alpha.vault.azure.net/secrets/other/"));
    let garbage = once(Effect::Garbage).await;
    assert!(garbage.status == 200 && serde_json::from_str::<Value>(&garbage.text).is_err());
    assert_eq!(once(Effect::Swap(json!({"a": 1}))).await.json(), json!({"a": 1}));
    assert!(once(Effect::HugeBytes(1_000_000)).await.text.len() > 1_000_000);
    let bomb = once(Effect::GzipBombMb(3)).await;
    assert_eq!(bomb.text.len(), 3 * 1024 * 1024 + 12, "unpacked by the client");
    let away = once(Effect::Redirect("https://evil.example/".into())).await;
    assert_eq!((away.status.as_u16(), away.header("location")), (302, "https://evil.example/"));
    let lured = once(Effect::Challenge("https://evil.example".into())).await;
    assert!(lured.header("www-authenticate").contains("resource=\"https://evil.example\""));
    assert_eq!(once(Effect::DripMs(0)).await.json(), right);
}

#[tokio::test]
async fn a_token_that_follows_an_evil_link_is_counted() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let link = "https://evil.example/secrets?next";
    lab.control().fault(Fault::new(Effect::NextLink(link.into())).on(Endpoint::List));
    let page = lab.get(&format!("https://alpha.vault.azure.net/secrets?{API}"), &token).await.json();
    assert_eq!(page["nextLink"], link);
    assert_eq!(lab.control().calls().leaked_tokens, 0);
    lab.get(link, &token).await;
    assert_eq!(lab.control().calls().leaked_tokens, 1);
}

#[tokio::test]
async fn everything_can_be_scripted_from_outside() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let at = |path: &str| format!("https://localhost/_emulator/{path}");
    let post = |path: &str, body: Value| lab.send(Method::POST, at(path).leak(), None, Some(body));
    let armed = post("faults", json!({"on": "get", "times": 1, "effect": {"respond": {"status": 500}}})).await.unwrap();
    assert_eq!(armed.status, 201);
    assert_eq!(status(&lab, &token, URL).await, 500);
    let faults = lab.get(&at("faults"), "").await.json();
    assert_eq!(faults["faults"][0]["struck"], 1);
    let bad = post("faults", json!({"on": "gett", "effect": "hang"})).await.unwrap();
    assert!(bad.status == 400 && bad.text.contains("gett"), "{}", bad.text);
    let set = json!({"set": {"vault": "alpha", "secret": "db-password", "value": "newest"}});
    assert_eq!(post("changes", set).await.unwrap().status, 204);
    assert_eq!(lab.get(URL, &token).await.json()["value"], "newest");
    let absent = json!({"disable": {"vault": "alpha", "secret": "absent"}});
    assert_eq!(post("changes", absent).await.unwrap().status, 409);
    for (change, expected) in [("disable", 403), ("enable", 200), ("delete", 404), ("recover", 200), ("rotate", 200)] {
        let change = json!({change: {"vault": "alpha", "secret": "db-password"}});
        assert_eq!(post("changes", change).await.unwrap().status, 204);
        assert_eq!(status(&lab, &token, URL).await, expected);
    }
    assert_ne!(lab.get(URL, &token).await.json()["value"], "newest", "rotated");
    let calls = lab.get(&at("calls"), "").await.json();
    assert_eq!(calls["vaults"]["alpha"]["secrets"]["db-password"]["get"], 8);
    assert_eq!(calls["statuses"]["500"], 1);
    let cleared = lab.send(Method::DELETE, &at("calls"), None, None).await.unwrap();
    assert_eq!((cleared.status.as_u16(), lab.control().calls().requests), (204, 0));
}
