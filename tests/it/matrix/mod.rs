//! The matrix: every route, by every door, with every credential that is none, and not one byte of what there is in an
//! answer.
//!
//! Routes come from the API's own description, so that a new one is in here by itself. What is right is tried too, with
//! the same eyes: a table that would see nothing proves nothing.

mod credentials;
mod doors;

use std::sync::Arc;

use credentials::{Credential, wrong};
use doors::{House, Shown};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};

const VAULT: &str = "vlt7kqzj";
const NAME: &str = "nm9kqzj";
const VALUE: &str = "vl5kqzj-hunter2";
const TAG: &str = "tg3kqzj";
/// Of all of these; no hexadecimal digits, of which ids are made.
const MARK: &str = "kqzj";

/// A method, a path and a body.
type Route = (&'static str, String, &'static str);

/// Every operation that the API describes, and what it describes nowhere, with names that exist, or with some that do not.
fn routes(vault: &str, name: &str) -> Vec<Route> {
    let document = serde_json::from_str::<serde_json::Value>(sidekey::api::DOCUMENT).unwrap();
    let version = "0b31729e2750416caba40429a1f3bea4";
    let mut routes: Vec<Route> = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace("{vault}", vault).replace("{name}", name).replace("{version}", version);
        let path = path.replace("{profile}", name);
        assert!(!path.contains('{'), "{path} has a part that this test cannot fill");
        for method in operations.as_object().unwrap().keys() {
            match &**method {
                "get" => {
                    routes.extend([("GET", path.clone(), ""), ("HEAD", path.clone(), ""), ("POST", path.clone(), "")])
                }
                "post" => routes.extend([("POST", path.clone(), RESOLVE), ("GET", path.clone(), "")]),
                other => panic!("this test cannot ask by {other}"),
            }
        }
    }
    let more = [
        "/",
        "/v1",
        "/v1/",
        "/v1/vaults/",
        "/livez?verbose",
        "/readyz?verbose",
        "/readyz?",
        "//v1/vaults",
        "/v1//vaults",
        "/livez/../v1/vaults",
        "/livez/%2e%2e/v1/vaults",
        "/livez;/v1/vaults",
        "/LIVEZ",
        "/favicon.ico",
    ];
    routes.extend(more.map(|path| ("GET", path.to_owned(), "")));
    routes.extend(
        ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "LIST"].map(|method| (method, "/v1/vaults".to_owned(), "")),
    );
    routes.push(("GET", format!("/v1/search?q={}&match=prefix", &name[..2]), ""));
    routes.push(("GET", format!("/v1/watch?ref={vault}/*"), ""));
    routes.push(("GET", format!("/v1/vaults/{vault}/secrets/{name}?field=/a"), ""));
    routes
}

/// What a probe without a credential may be told: one bit.
fn is_probe(route: &Route) -> bool {
    matches!((route.0, &*route.1), ("GET" | "HEAD" | "POST", "/livez" | "/readyz"))
}

const RESOLVE: &str = r#"{"refs":{"A":"secret://vlt7kqzj/nm9kqzj"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_to_who_shows_nothing_that_is_right() {
    let house = House::open(vault()).await;
    let mut asked = 0;
    for door in house.doors() {
        let all = wrong(door);
        let expected = if door.asks_for_a_token() { 45 } else { 15 };
        assert!(all.len() > expected, "{} credentials", all.len());
        let routes = routes(VAULT, NAME);
        assert!(routes.len() > 50, "{} routes", routes.len());
        for (nth, credential) in all.iter().enumerate() {
            // A handshake takes its time: there, each credential meets every third route, and each route every third credential.
            let (first, step) = if door.shakes_hands() { (nth % 3, 3) } else { (0, 1) };
            for route in routes.iter().skip(first).step_by(step) {
                if credential.is_bare(door) && route.1.starts_with("/v1/aws/credentials/") {
                    continue;
                }
                asked += 1;
                let answer = door.ask(route, credential).await;
                let case = || format!("{door:?} {route:?} {credential:?}\n{answer}");
                let lower = answer.to_ascii_lowercase();
                let told = lower.contains(MARK) || lower.contains(&door.token().to_ascii_lowercase());
                assert!(!told, "something is told: {}", case());
                if matches!(credential.shown, Shown::AnotherAuthoritys | Shown::Expired) {
                    assert_eq!(answer, "", "nothing is answered to who is not even let in to ask: {}", case());
                    continue;
                }
                let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
                let status = status.unwrap_or_else(|| panic!("no answer: {}", case()));
                // A folded header is no HTTP, these methods are nobody's, and a probe is answered or its method is not.
                let expected = match route.0 {
                    _ if credential.headers.contains("\r\n ") => 400,
                    _ if is_probe(route) && credential.query.is_empty() && [200, 405].contains(&status) => status,
                    "OPTIONS" | "TRACE" => 405,
                    _ => 401,
                };
                assert_eq!(status, expected, "{}", case());
            }
        }
    }
    assert!(asked > 9_000, "{asked} cases");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_the_same_whether_there_is_such_a_thing_or_not() {
    let house = House::open(vault()).await;
    for door in house.doors() {
        for credential in wrong(door).iter().filter(|credential| credential.query.is_empty()).take(8) {
            for (there, absent) in routes(VAULT, NAME).iter().zip(&routes("zzz0zzz0", "zzz0zzz")) {
                let answers = [door.ask(there, credential).await, door.ask(absent, credential).await];
                let [one, other] = answers.map(|answer| without_what_differs_each_time(&answer));
                assert_eq!(one, other, "{door:?} {there:?} {credential:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_right_is_answered_by_every_door() {
    let house = House::open(vault()).await;
    for door in house.doors() {
        let right = Credential::right(door);
        for (path, mark) in [
            (format!("/v1/secrets/{NAME}"), VALUE),
            (format!("/v1/vaults/{VAULT}/secrets/{NAME}"), VALUE),
            (format!("/v1/vaults/{VAULT}/secrets/{NAME}/versions"), NAME),
            (format!("/v1/vaults/{VAULT}/secrets"), TAG),
            ("/v1/vaults".to_owned(), VAULT),
            ("/v1/search?q=nm".to_owned(), NAME),
            ("/metrics".to_owned(), "sidekey_vaults 1"),
            ("/openapi.json".to_owned(), "/v1/search"),
            ("/readyz?verbose".to_owned(), "ready"),
        ] {
            let answer = door.ask(&("GET", path.clone(), ""), &right).await;
            assert!(answer.contains(" 200 ") && answer.contains(mark), "{door:?} {path}\n{answer}");
        }
        for right in [right, Credential::bare(door)] {
            let answer = door.ask(&("GET", format!("/v1/aws/credentials/{NAME}"), ""), &right).await;
            assert!(answer.contains(" 200 ") && answer.contains(VALUE), "{door:?}\n{answer}");
        }
        let right = Credential::right(door);
        let answer = door.ask(&("POST", "/v1/resolve".to_owned(), RESOLVE), &right).await;
        assert!(answer.contains(VALUE), "{door:?}\n{answer}");
    }
}

/// The request's id and the time.
fn without_what_differs_each_time(answer: &str) -> String {
    let differs = |line: &&str| !line.starts_with("sidekey-request-id:") && !line.starts_with("date:");
    let lines = answer.lines().filter(differs).collect::<Vec<_>>().join("\n");
    let id = regex::Regex::new(r#""request_id":"[^"]*""#).unwrap();
    id.replace_all(&lines, "").into_owned()
}

fn vault() -> Arc<MemorySource> {
    let vault = MemoryVault::new(VaultInfo::new("test".parse().unwrap(), VAULT.parse().unwrap()));
    let attributes = Attributes { tags: [(TAG.to_owned(), TAG.to_owned())].into(), ..Attributes::default() };
    vault.set(&NAME.parse().unwrap(), VALUE, attributes);
    Arc::new(MemorySource::new("test".parse().unwrap(), vec![Arc::new(vault) as Arc<dyn Vault>]))
}
