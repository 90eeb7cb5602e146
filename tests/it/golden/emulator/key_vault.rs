//! Each recorded session is played again to the emulator: every request in its order, every answer compared.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::Value;

use crate::emulator::support::{KEY_VAULT, Lab};
use crate::golden::recording::{Exchange, Recording, shape};

/// A vault as it was when the session was recorded: of which soft delete was on or off.
fn lab(recording: &Recording) -> Lab {
    let first = &recording.interactions[0];
    let vault = first.uri.trim_start_matches("https://").split('.').next().unwrap();
    let soft = recording.interactions.iter().any(|one| one.uri.contains("/deletedsecrets"));
    let level = if soft { "Recoverable+Purgeable" } else { "Purgeable" };
    Lab::of(&format!(
        r#"
[challenge]
authority_host = "login.windows.net"
text = "Request is missing a Bearer or PoP token."
[[tenant]]
id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
[[app]]
name = "reader"
id = "aaaaaaaa-0000-4000-8000-000000000001"
secret = [{{ value = "right" }}]
[[subscription]]
id = "s"
name = "s"
[[vault]]
name = "{vault}"
subscription = "s"
recovery_level = "{level}"
recoverable_days = 0
[[grant]]
app = "reader"
vaults = ["*"]
rights = ["all"]
"#
    ))
}

/// What differs between two runs of one session: versions' ids and the marks of lists.
#[derive(Default)]
struct Learned(HashMap<String, String>);

impl Learned {
    fn from(&mut self, recorded: &Value, emulated: &Value) {
        match (recorded, emulated) {
            (Value::Object(recorded), Value::Object(emulated)) => {
                for (key, value) in recorded {
                    self.from(value, emulated.get(key).unwrap_or(&Value::Null));
                }
            }
            (Value::String(recorded), Value::String(emulated)) if recorded.starts_with("https://") => {
                self.0.insert(
                    recorded.rsplit('/').next().unwrap().to_owned(),
                    emulated.rsplit('/').next().unwrap().to_owned(),
                );
            }
            _ => {}
        }
    }

    /// The address of this run that stands for a recorded one.
    fn translate(&self, uri: &str) -> String {
        let (origin, last) = uri.rsplit_once('/').unwrap();
        let bare = last.split('?').next().unwrap();
        match (self.0.get(last), self.0.get(bare)) {
            (Some(whole), _) => format!("{origin}/{whole}"),
            (None, Some(version)) => format!("{origin}/{}", last.replacen(bare, version, 1)),
            (None, None) => uri.to_owned(),
        }
    }
}

async fn play(file: &str) -> usize {
    let recording = Recording::of(file);
    let lab = lab(&recording);
    let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let url = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
    let client = crate::emulator::support::READER;
    let fields =
        [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", "right"), ("scope", KEY_VAULT)];
    let token = lab.form(&url, &fields).await.json()["access_token"].as_str().unwrap().to_owned();
    let (mut learned, mut compared) = (Learned::default(), 0);
    for exchange in &recording.interactions {
        if is_waiting(exchange) {
            continue;
        }
        let bearer = (exchange.status != 401).then_some(token.as_str());
        let method = Method::from_bytes(exchange.method.as_bytes()).unwrap();
        let body =
            exchange.request_body.as_ref().and_then(Value::as_str).map(|text| serde_json::from_str(text).unwrap());
        let uri = learned.translate(&exchange.uri);
        let reply = lab.send(method, &uri, bearer, body).await.unwrap();
        let at = format!("{file}: {} {uri}: {}", exchange.method, reply.text);
        assert_eq!(reply.status, exchange.status, "{at}");
        assert_eq!(reply.header("content-type"), exchange.headers["content-type"], "{at}");
        let recorded_challenge = exchange.headers.get("www-authenticate").map_or("", String::as_str);
        assert_eq!(reply.header("www-authenticate"), recorded_challenge, "{at}");
        let (recorded, emulated) = (exchange.json(), reply.json());
        assert_eq!(shape(&emulated), shape(&recorded), "{at}");
        assert_eq!(timeless(&emulated), timeless(&recorded), "{at}");
        learned.from(&recorded, &emulated);
        compared += 1;
    }
    compared
}

/// The real service takes seconds to delete, and is asked until it has.
fn is_waiting(exchange: &Exchange) -> bool {
    exchange.status == 404 && exchange.uri.contains("/deletedsecrets/")
}

/// A body without what no two runs have in common: times, versions' ids, the marks of lists.
fn timeless(body: &Value) -> Value {
    match body {
        Value::Number(_) => 0.into(),
        Value::String(text) => {
            let text = text.split("$skiptoken=").next().unwrap();
            let is_version = |part: &&str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let parts = text.split('/').map(|part| if is_version(&part) { "VERSION" } else { part });
            parts.collect::<Vec<_>>().join("/").into()
        }
        Value::Array(items) => items.iter().map(timeless).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), timeless(value))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) => body.clone(),
    }
}

#[tokio::test]
async fn every_recorded_session_of_key_vault_plays_the_same_against_the_emulator() {
    let sessions = [
        ("kv_crud", 7),
        ("kv_secret_list", 9),
        ("kv_list_versions_paged", 12),
        ("kv_list_deleted", 23),
        ("kv_samples_crud_404", 7),
    ];
    for (file, exchanges) in sessions {
        assert_eq!(play(file).await, exchanges, "{file}");
    }
}

#[tokio::test]
async fn a_link_to_the_next_page_is_written_as_the_recorded_ones_are() {
    let recorded = Recording::of("kv_list_versions_paged").find("maxresults=2", 200).json();
    let recorded = recorded["nextLink"].as_str().unwrap().to_owned();
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let url = "https://alpha.vault.azure.net/secrets/db-password/versions?maxresults=1&api-version=7.0";
    let emulated = lab.get(url, &token).await.json()["nextLink"].as_str().unwrap().to_owned();
    for link in [&recorded, &emulated] {
        let (origin, rest) = link.split_once(".vault.azure.net").unwrap();
        assert!(origin.starts_with("https://"));
        assert!(rest.starts_with(":443/secrets/"), "{link}");
        assert!(rest.contains("/versions?api-version=7.0&$skiptoken="), "{link}");
    }
}

#[tokio::test]
async fn the_challenges_text_and_authority_and_the_recovery_level_are_whatever_they_are_told_to_be() {
    for (host, text) in [
        ("login.windows.net", "Request is missing a Bearer or PoP token."),
        ("login.microsoftonline.com", "AKV10000: Request is missing a Bearer or PoP token."),
        ("login.microsoftonline.com", "[BearerReadAccessTokenFailed] No token."),
    ] {
        let lab = Lab::of(&format!(
            "[challenge]\nauthority_host = \"{host}\"\ntext = \"{text}\"\n[[tenant]]\nid = \"t\"\n\
             [[subscription]]\nid = \"s\"\nname = \"s\"\n[[vault]]\nname = \"alpha\"\nsubscription = \"s\"\n"
        ));
        let url = "https://alpha.vault.azure.net/secrets/a?api-version=7.6";
        let reply = lab.send(Method::GET, url, None, None).await.unwrap();
        let challenge = format!("Bearer authorization=\"https://{host}/t\", resource=\"https://vault.azure.net\"");
        assert_eq!(reply.header("www-authenticate"), challenge);
        assert_eq!(reply.json()["error"]["message"], text);
    }
    let level = "CustomizedRecoverable+ProtectedSubscription+FromTheFuture";
    let estate = crate::emulator::support::ESTATE
        .replace("access = \"policy\"", &format!("recovery_level = \"{level}\"\nrecoverable_days = 7"));
    let lab = Lab::of(&estate);
    let token = lab.token(KEY_VAULT).await;
    let url = "https://policies.vault.azure.net/secrets/a?api-version=7.6";
    let body = Some(serde_json::json!({"value": "x"}));
    let attributes = lab.send(Method::PUT, url, Some(&token), body).await.unwrap().json()["attributes"].clone();
    assert_eq!((attributes["recoveryLevel"].as_str(), attributes["recoverableDays"].as_u64()), (Some(level), Some(7)));
}
