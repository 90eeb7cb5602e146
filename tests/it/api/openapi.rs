use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::{House, ask, get, post};

/// Every route, as the design has it.
const ROUTES: [(&str, &str); 14] = [
    ("get", "/v1/secrets/{name}"),
    ("get", "/v1/vaults/{vault}/secrets/{name}"),
    ("get", "/v1/vaults/{vault}/secrets/{name}/versions/{version}"),
    ("get", "/v1/vaults/{vault}/secrets/{name}/versions"),
    ("get", "/v1/vaults"),
    ("get", "/v1/vaults/{vault}/secrets"),
    ("get", "/v1/search"),
    ("post", "/v1/resolve"),
    ("get", "/v1/aws/credentials/{profile}"),
    ("get", "/v1/watch"),
    ("get", "/livez"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
];

#[tokio::test]
async fn what_is_served_is_described_and_what_is_described_is_served() {
    let house = House::new(&["pay"]);
    let version = house.set("pay", "a", "1").version.unwrap();
    let router = house.open().await;
    let document = get(&router, "/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described: BTreeSet<(&str, &str)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.as_str(), path.as_str())))
        .collect();
    assert_eq!(described, BTreeSet::from(ROUTES));
    for (method, path) in ROUTES {
        let path = path.replace("{vault}", "pay").replace("{name}", "a").replace("{version}", version.as_str());
        let path = path.replace("{profile}", "keys");
        let answer = match method {
            "post" => post(&router, &path, r#"{"refs":{}}"#).await,
            // Its body has no end.
            _ if path == "/v1/watch" => ask(&router, "HEAD", &path, &[]).await,
            _ => ask(&router, "GET", &path, &[]).await,
        };
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}");
    }
}

#[tokio::test]
async fn every_status_schema_and_parameter_of_the_document_is_there() {
    let document = get(&House::new(&["pay"]).open().await, "/openapi.json").await.json();
    let value = &document["paths"]["/v1/secrets/{name}"]["get"];
    let statuses: Vec<_> = value["responses"].as_object().unwrap().keys().map(String::as_str).collect();
    for status in
        ["200", "304", "400", "401", "403", "404", "405", "406", "409", "410", "421", "500", "502", "503", "504"]
    {
        assert!(statuses.contains(&status), "{status} is missing in {statuses:?}");
    }
    let parameters: BTreeSet<_> =
        value["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["name", "field", "format", "version", "Cache-Control", "If-None-Match"].into());
    for header in ["ETag", "Age", "Cache-Status", "Sidekey-Vault", "Sidekey-Incomplete"] {
        assert!(value["responses"]["200"]["headers"][header].is_object(), "{header}");
    }
    let unavailable = value["responses"]["503"]["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
    assert!(document.pointer(unavailable).unwrap()["headers"]["Retry-After"].is_object());
    // Nothing refers to what is not there.
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("only within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} is missing");
    }
}

fn collect<'d>(value: &'d Value, into: &mut Vec<&'d str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| collect(value, into));
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
