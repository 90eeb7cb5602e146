//! Credentials of AWS, as its SDKs ask for them.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sidekey::access::{Access, AccessSettings, Caller, Client, Peer};
use sidekey::api::{Api, AwsProfile, ServeOptions, router};
use sidekey::vaults::{Outage, VaultErrorKind};

use super::guard::{exchange, status};
use super::listeners::Running;
use super::{Answer, House, get, send};
use crate::audit::Paper;

const PATH: &str = "/v1/aws/credentials/backup";

fn profile(name: &str, id: &str, key: &str, token: Option<&str>) -> AwsProfile {
    AwsProfile {
        name: name.to_owned(),
        access_key_id: id.parse().unwrap(),
        secret_access_key: key.parse().unwrap(),
        session_token: token.map(|token| token.parse().unwrap()),
        lifetime: Duration::from_secs(90),
    }
}

fn house() -> House {
    let house = House::new(&["pay", "web"]);
    house.set("pay", "id", "AKIACANARY");
    house.set("pay", "key", "canary/+\"\\\u{e9}");
    house.set("web", "both", r#"{"id":"AKIAOTHER","key":"other","token":"session"}"#);
    house
}

async fn served(house: &House, paper: &Paper) -> Router {
    let profiles = [
        profile("backup", "secret://pay/id", "secret://pay/key", None),
        profile("other", "secret://web/both#/id", "secret://*/both#/key", Some("secret://web/both#/token")),
    ];
    router(house.audited(paper.required()).await.with_aws(profiles))
}

async fn as_caller(router: &Router, caller: &Caller, path: &str) -> Answer {
    send(router, Request::get(path).extension(caller.clone()).body(Body::empty()).unwrap()).await
}

fn told(paper: &Paper) -> Vec<String> {
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let lines = paper.taken();
    assert!(lines.iter().all(|line| line["operation"] == "aws" && line["request"] == lines[0]["request"]));
    let told = |line| format!("{}/{} {}", text(line, "vault"), text(line, "name"), text(line, "outcome"));
    lines.iter().map(told).collect()
}

#[tokio::test]
async fn the_keys_come_together_with_the_end_of_their_time_and_each_is_recorded() {
    let (house, paper) = (house(), Paper::default());
    let router = served(&house, &paper).await;
    let answer = get(&router, PATH).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/json")));
    let mut document = answer.json();
    let expiration = document.as_object_mut().unwrap().remove("Expiration").unwrap();
    let end = humantime::parse_rfc3339(expiration.as_str().unwrap()).unwrap();
    let left = end.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(90), "{left:?}");
    let expected = json!({"AccessKeyId": "AKIACANARY", "SecretAccessKey": "canary/+\"\\\u{e9}", "Token": ""});
    assert_eq!(document, expected);
    assert_eq!(told(&paper), ["pay/id ok", "pay/key ok"]);

    let document = get(&router, "/v1/aws/credentials/other").await.json();
    let keys = ["AccessKeyId", "SecretAccessKey", "Token"].map(|key| document[key].as_str().unwrap().to_owned());
    assert_eq!(keys, ["AKIAOTHER", "other", "session"]);
    assert_eq!(told(&paper), ["web/both ok"; 3]);

    house.set("pay", "key", "rotated");
    let fresh = super::ask(&router, "GET", "/v1/vaults/pay/secrets/key", &[("cache-control", "no-cache")]).await;
    assert_eq!(&fresh.body[..], b"rotated");
    assert_eq!(get(&router, PATH).await.json()["SecretAccessKey"], "rotated");
}

#[tokio::test]
async fn of_a_key_that_cannot_be_had_whole_no_part_is_told() {
    let (house, paper) = (house(), Paper::default());
    house.get_fails("pay", "key", VaultErrorKind::Unavailable(Outage::Connection));
    let answer = get(&served(&house, &paper).await, PATH).await;
    let problem = answer.problem(503, "vault-unavailable");
    let failed: Vec<_> = problem["errors"].as_object().unwrap().keys().collect();
    assert_eq!(failed, ["secret_access_key"]);
    assert!(!String::from_utf8_lossy(&answer.body).contains("CANARY"));
    assert_eq!(told(&paper), ["pay/id withheld", "pay/key vault-unavailable"]);
}

#[tokio::test]
async fn who_may_not_read_all_of_it_is_told_the_same_as_of_what_is_not_there() {
    let (house, paper) = (house(), Paper::default());
    let router = served(&house, &paper).await;
    let of = |read: &[&str]| {
        let read = read.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let client = Client { name: "orders".to_owned(), uid: Some(4711), read, ..Client::default() };
        let access = Access::load(&AccessSettings { clients: vec![client], token_file: None }).unwrap();
        access.of_peer(&Peer { uid: 4711, gid: 12, groups: [].into() }).unwrap()
    };
    let half = of(&["pay/id", "web/other"]);
    let mut bodies = Vec::new();
    for path in [PATH, "/v1/aws/credentials/other", "/v1/aws/credentials/nowhere"] {
        let answer = as_caller(&router, &half, path).await;
        answer.problem(403, "forbidden");
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    let lines =
        ["pay/id withheld", "pay/key forbidden", "web/both forbidden", "*/both forbidden", "web/both forbidden"];
    assert_eq!(told_each(&paper), [&lines[..], &["-/- forbidden"]].concat());

    assert_eq!(as_caller(&router, &of(&["pay/*"]), PATH).await.status.as_u16(), 200);
    // Who may read everything may as well be told what there is.
    get(&router, "/v1/aws/credentials/nowhere").await.problem(404, "not-found");
    get(&router, &format!("{PATH}?frob=1")).await.problem(400, "bad-query");
}

/// Of several requests.
fn told_each(paper: &Paper) -> Vec<String> {
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let told = |line| format!("{}/{} {}", text(line, "vault"), text(line, "name"), text(line, "outcome"));
    paper.taken().iter().map(told).collect()
}

#[tokio::test]
async fn the_token_may_stand_alone_here_and_nowhere_else() {
    let (house, paper) = (house(), Paper::default());
    let state = house.audited(paper.required()).await;
    let state = state.with_aws([profile("backup", "secret://pay/id", "secret://pay/key", None)]);
    let running = Running::start_with(Api::new(state), ServeOptions::default()).await;
    let (port, token) = (running.port, running.token.as_str());
    let ask = async |path: &str, headers: String| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}\r\n");
        exchange(running.tcp().await, &head).await
    };
    for (headers, expected) in [
        (format!("Authorization: {token}\r\n"), 200),
        (format!("Authorization: Bearer {token}\r\n"), 200),
        (String::new(), 401),
        ("Authorization:\r\n".to_owned(), 401),
        ("Authorization: wrong\r\n".to_owned(), 401),
        (format!("Authorization: Basic {token}\r\n"), 401),
        (format!("Authorization: Bearer{token}\r\n"), 401),
        (format!("Authorization: {token}\r\nAuthorization: {token}\r\n"), 401),
        (format!("Authorization: {token}\r\nOrigin: http://127.0.0.1\r\n"), 400),
        (format!("Authorization: {token}\r\nX-Forwarded-For: 10.0.0.1\r\n"), 400),
    ] {
        let answer = ask(PATH, headers.clone()).await;
        assert_eq!(status(&answer), expected, "{headers:?}\n{answer}");
        assert_eq!(answer.contains("AKIACANARY"), expected == 200);
    }
    for path in ["/v1/vaults/pay/secrets/key", "/v1/vaults", "/v1/aws/credentials", "/v1/aws/credentials/backup/"] {
        assert_eq!(status(&ask(path, format!("Authorization: {token}\r\n")).await), 401, "{path}");
    }
}
