//! The real services' recorded answers (`tests/golden`), played back to the backend as they are.

use std::collections::HashMap;

use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sidekey::vaults::azure::{Audience, ConfiguredVault, DiscoveryRoute};
use sidekey::vaults::{Source, VaultErrorKind};

use super::stage::{Asked, Reply, Stage};

#[derive(Deserialize)]
struct Recording {
    interactions: Vec<Interaction>,
}

#[derive(Deserialize, Clone)]
struct Interaction {
    method: String,
    uri: String,
    status: u16,
    headers: HashMap<String, String>,
    body: Option<String>,
}

impl Interaction {
    /// The answer as it was, but for what the wire decides.
    fn reply(&self) -> Reply {
        let reply = Reply::text(self.status, self.body.clone().unwrap_or_default());
        match self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("www-authenticate")) {
            Some((_, challenge)) => reply.header("www-authenticate", challenge.clone()),
            None => reply,
        }
    }

    fn json(&self) -> Value {
        self.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }
}

fn recording(file: &str) -> Vec<Interaction> {
    let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str::<Recording>(&std::fs::read_to_string(path).unwrap()).unwrap().interactions
}

/// Path and query without the API version and in one spelling: the recorder had decoded what the wire has encoded, and
/// joined doubled slashes.
fn address(uri: &str) -> String {
    let url = url::Url::parse(uri).unwrap();
    let mut query: Vec<_> = url
        .query_pairs()
        .filter(|(name, _)| name != "api-version")
        .map(|(name, value)| format!("{name}={}", value.replace(' ', "+").replace("//", "/")))
        .collect();
    query.sort();
    format!("{}?{}", url.path().trim_end_matches('/').to_lowercase(), query.join("&"))
}

/// Plays a vault's recording: reads that carry a token get what was recorded last for that address.
async fn vault_of(file: &str) -> (Stage, String, Vec<Interaction>) {
    let all = recording(file);
    let host = url::Url::parse(&all[0].uri).unwrap().host_str().unwrap().to_owned();
    let (played, challenge) = (all.clone(), all.iter().find(|one| one.status == 401).unwrap().reply());
    let stage = Stage::new(move |asked| {
        if !asked.host.contains(".vault.") {
            return None;
        }
        if asked.authorization.is_none() {
            return Some(challenge.clone());
        }
        let wanted = address(&format!("https://{}{}", asked.host, asked.target));
        let same = |one: &&Interaction| one.method == "GET" && one.status != 401 && of_page(&one.uri) == wanted;
        played.iter().rfind(same).map(Interaction::reply)
    })
    .await;
    (stage, host, all)
}

/// As [`address`], with the page size that this client asks for in place of the recorded one.
fn of_page(uri: &str) -> String {
    let (path, query) = address(uri).split_once('?').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let lists = path.ends_with("/secrets") || path.ends_with("/versions");
    let mut query: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if lists && !query.iter().any(|part| part.contains("skiptoken")) {
        query.retain(|part| !part.starts_with("maxresults"));
        query.push("maxresults=25".to_owned());
    }
    format!("{path}?{}", query.join("&"))
}

async fn opened(stage: &Stage, host: &str) -> std::sync::Arc<dyn sidekey::vaults::Vault> {
    let uri = ConfiguredVault::Uri(format!("https://{host}").parse().unwrap());
    stage.vault_with(|settings| settings.vaults = vec![uri])
}

/// Every item of the lists that a recording shows for a path, by its id.
fn ids(all: &[Interaction], ending: &str) -> Vec<String> {
    let pages =
        all.iter().filter(|one| one.method == "GET" && url::Url::parse(&one.uri).unwrap().path().ends_with(ending));
    let mut ids: Vec<_> = pages
        .flat_map(|page| page.json()["value"].as_array().cloned().unwrap_or_default())
        .map(|item| item["id"].as_str().unwrap().to_lowercase())
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

#[tokio::test]
async fn a_recorded_listing_of_secrets_is_read_whole() {
    let (stage, host, all) = vault_of("kv_secret_list.json").await;
    let listed: Vec<_> = opened(&stage, &host).await.list().try_collect().await.unwrap();
    let expected = ids(&all, "/secrets");
    assert!(!expected.is_empty());
    let mut names: Vec<_> = listed.iter().map(|metadata| format!("https://{host}/secrets/{}", metadata.name)).collect();
    names.sort();
    assert_eq!(names, expected);
    assert!(listed.iter().all(|metadata| metadata.enabled && metadata.updated.is_some()));
}

#[tokio::test]
async fn recorded_versions_are_read_over_pages_whose_links_carry_the_default_port() {
    let (stage, host, all) = vault_of("kv_list_versions_paged.json").await;
    let links = all.iter().filter_map(|one| one.json()["nextLink"].as_str().map(str::to_owned)).collect::<Vec<_>>();
    assert!(links.iter().any(|link| link.contains(":443/")), "the recording shows the port");
    let expected = ids(&all, "/versions");
    let name = expected[0].split('/').nth(4).unwrap().parse().unwrap();
    let listed: Vec<_> = opened(&stage, &host).await.versions(&name).try_collect().await.unwrap();
    assert_eq!(listed.len(), expected.len());
    assert!(stage.asked().iter().filter(|asked| asked.path().ends_with("/versions")).count() > 2, "in pages");
}

#[tokio::test]
async fn recorded_gets_and_the_recorded_404_mean_what_they_say() {
    for file in ["kv_crud.json", "kv_samples_crud_404.json", "kv_list_deleted.json"] {
        let (stage, host, all) = vault_of(file).await;
        let vault = opened(&stage, &host).await;
        let gets: Vec<_> = all
            .iter()
            .filter(|one| one.method == "GET" && one.uri.contains("/secrets/") && !one.uri.contains("/versions"))
            .collect();
        let mut seen = 0;
        for get in gets.iter().filter(|get| get.status == 200) {
            let (body, path) = (get.json(), url::Url::parse(&get.uri).unwrap().path().to_owned());
            let mut parts = path.trim_start_matches("/secrets/").split('/');
            let name = parts.next().unwrap().parse().unwrap();
            let version = parts.next().filter(|part| !part.is_empty()).map(|part| part.parse().unwrap());
            let later_gone = gets.iter().any(|other| address(&other.uri) == address(&get.uri) && other.status == 404);
            if version.is_none() && later_gone {
                let error = vault.get(&name, None).await.expect_err("it was deleted later");
                assert_eq!(error.kind(), &VaultErrorKind::NotFound);
            } else {
                let secret = vault.get(&name, version.as_ref()).await.unwrap();
                assert_eq!(secret.value.expose(), body["value"].as_str().unwrap().as_bytes());
            }
            seen += 1;
        }
        for gone in gets.iter().filter(|get| get.status == 404) {
            let path = url::Url::parse(&gone.uri).unwrap().path().to_owned();
            let name = path.trim_start_matches("/secrets/").split('/').next().unwrap().parse().unwrap();
            let error = vault.get(&name, None).await.expect_err("recorded as gone");
            assert_eq!(error.kind(), &VaultErrorKind::NotFound, "{file}");
            seen += 1;
        }
        assert!(seen > 0 || file == "kv_list_deleted.json", "{file} has nothing to read");
    }
}

/// Plays walks over a subscription's vaults; the first page is asked for with another API version than was recorded.
async fn walk_of(file: &str, ending: &str) -> (Stage, Vec<Interaction>) {
    let all = recording(file);
    let pages: Vec<_> = all
        .iter()
        .filter(|one| one.method == "GET" && url::Url::parse(&one.uri).unwrap().path().to_lowercase().ends_with(ending))
        .cloned()
        .collect();
    let played = pages.clone();
    let stage = Stage::new(move |asked| play(&played, asked)).await;
    (stage, pages)
}

fn play(pages: &[Interaction], asked: &Asked) -> Option<Reply> {
    if asked.host != "management.azure.com" {
        return None;
    }
    if asked.path() == "/subscriptions" {
        return Some(Reply::json(
            200,
            &json!({ "value": [{ "subscriptionId": "00000000-0000-0000-0000-000000000000" }] }),
        ));
    }
    if asked.method != "GET" {
        return Some(Reply::error(403, "AccessDenied", None));
    }
    let wanted = address(&format!("https://management.azure.com{}", asked.target));
    let first = !wanted.contains("skiptoken");
    let found = pages.iter().find(|page| match first {
        true => !address(&page.uri).contains("skiptoken"),
        false => address(&page.uri) == wanted,
    });
    Some(found.map_or_else(|| Reply::error(404, "NotRecorded", None), Interaction::reply))
}

#[tokio::test]
async fn a_hundred_and_fifty_three_recorded_pages_most_of_them_empty_give_twenty_four_vaults() {
    let (stage, _) = walk_of(
        "arm_vaults_paged_2019_457pages.json",
        "/00000000-0000-0000-0000-000000000000/providers/microsoft.keyvault/vaults",
    )
    .await;
    let source = stage.source_with(|settings| {
        settings.vaults.clear();
        settings.identity = sidekey::vaults::azure::Identity::ClientSecret {
            tenant: "contoso.onmicrosoft.com".into(),
            client: "app-1".into(),
            secret: sidekey::vaults::azure::Credential::Inline(std::sync::Arc::new(sidekey::secret::SecretValue::new(
                "x",
            ))),
        };
    });
    let (discovery, report) = source.survey().await;
    assert!(discovery.faults.is_empty(), "{:?}", discovery.faults);
    assert_eq!((report.described, discovery.vaults.len()), (24, 24));
    let pages = stage.asked().iter().filter(|asked| asked.path().ends_with("/vaults")).count();
    assert_eq!(pages, 153);
}

#[tokio::test]
async fn the_small_recorded_walk_and_the_newer_vault_are_read() {
    let ending = "/00000000-0000-0000-0000-000000000000/providers/microsoft.keyvault/vaults";
    let (stage, _) = walk_of("arm_vaults_paged_2019_small.json", ending).await;
    let (discovery, report) = stage.source_with(|settings| settings.vaults.clear()).survey().await;
    assert!(discovery.faults.is_empty(), "{:?}", discovery.faults);
    assert!(report.described >= 3, "{report:?}");

    // One vault as the 2023 version describes it, with and without the slash at the end of its address.
    let vaults: Vec<_> = recording("arm_vault_crud_2023.json")
        .iter()
        .filter(|one| one.status == 200 && one.json()["properties"]["vaultUri"].is_string())
        .map(Interaction::json)
        .collect();
    assert!(vaults.len() > 2);
    let stage = Stage::new(move |asked| match (asked.host.as_str(), asked.path()) {
        ("management.azure.com", "/subscriptions") => {
            Some(Reply::json(200, &json!({ "value": [{ "subscriptionId": "s" }] })))
        }
        ("management.azure.com", path) if path.ends_with("/vaults") => {
            Some(Reply::json(200, &json!({ "value": vaults })))
        }
        _ => None,
    })
    .await;
    let source = stage.source_with(|settings| {
        settings.vaults.clear();
        if let sidekey::vaults::azure::Identity::ClientSecret { tenant, .. } = &mut settings.identity {
            *tenant = "00000000-0000-0000-0000-000000000000".into();
        }
    });
    let discovery = source.discover().await;
    let [vault] = &discovery.vaults[..] else { panic!("{discovery:?}") };
    assert_eq!(vault.info().name.as_str(), "myvaltzikfikxz");
    assert_eq!(vault.info().resource_group.as_deref(), Some("rgname"));
}

#[tokio::test]
async fn the_recorded_subscriptions_and_token_are_read() {
    let all = recording("arm_subscriptions.json");
    let body = |ending: &str| all.iter().find(|one| one.uri.contains(ending)).unwrap().reply();
    let (token, subscriptions) = (body("/oauth2/v2.0/token"), body("/subscriptions?api-version"));
    let stage = Stage::new(move |asked| match (asked.host.as_str(), asked.path()) {
        ("login.microsoftonline.com", _) => Some(token.clone()),
        ("management.azure.com", "/subscriptions") => Some(subscriptions.clone()),
        ("management.azure.com", path) if path.ends_with("/vaults") => Some(Reply::json(200, &json!({ "value": [] }))),
        _ => None,
    })
    .await;
    let source = stage.source();
    let (discovery, report) = source.survey().await;
    assert!(discovery.faults.is_empty(), "{:?}", discovery.faults);
    assert_eq!(report.subscriptions, 2);
    let lasts = source.sign_in(Audience::ResourceManager).await.unwrap().valid_for.as_secs();
    assert!((86_000..86_400).contains(&lasts), "{lasts}");
}

#[tokio::test]
async fn recorded_answers_of_resource_graph_are_read_and_its_refusal_is_told() {
    for file in ["arg_basic_object_array.json", "arg_basic.json", "arg_facets.json"] {
        let reply = recording(file)[0].reply();
        let stage =
            Stage::new(move |asked| (asked.method == "POST" && asked.host.starts_with("man")).then(|| reply.clone()))
                .await;
        let (discovery, report) = stage.source_with(|settings| settings.vaults.clear()).survey().await;
        let rows = recording(file)[0].json()["data"].as_array().unwrap().clone();
        let vaults = rows.iter().filter(|row| row["properties"]["vaultUri"].is_string()).count();
        if vaults > 0 {
            assert!(matches!(report.route, DiscoveryRoute::ResourceGraph), "{file}: {report:?}");
        }
        assert_eq!(report.described, vaults, "{file}");
        assert!(discovery.faults.len() >= rows.len() - vaults, "what has no address is told: {file}");
    }
    let reply = recording("arg_bad_query_400.json")[0].reply();
    let stage =
        Stage::new(move |asked| (asked.method == "POST" && asked.host.starts_with("man")).then(|| reply.clone())).await;
    let (_, report) = stage.source().survey().await;
    assert!(matches!(report.route, DiscoveryRoute::Subscriptions { .. }));
}
