//! Finding vaults: which services are asked, what is left out and why, and what a short round says.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sidekey::vaults::azure::{ConfiguredVault, DiscoveryRoute, GraphShortfall};
use sidekey::vaults::{Denial, Discovery, Outage, SkipReason, Source, VaultErrorKind};

use super::stage::{Asked, Reply, Stage, TENANT};

const GRAPH: &str = "/providers/Microsoft.ResourceGraph/resources";
const OTHER_TENANT: &str = "22222222-2222-2222-2222-222222222222";

/// A row of Resource Graph.
fn row(name: &str, uri: &str, tenant: &str) -> Value {
    let id = format!("/subscriptions/sub-1/resourceGroups/rg-1/providers/Microsoft.KeyVault/vaults/{name}");
    json!({ "id": id, "location": "westeurope", "vaultUri": uri, "vaultTenant": tenant, "tenantId": TENANT })
}

fn vault_row(name: &str) -> Value {
    row(name, &format!("https://{name}.vault.azure.net/"), TENANT)
}

fn rows(rows: &[Value]) -> Reply {
    Reply::json(200, &json!({ "data": rows, "count": rows.len(), "resultTruncated": "false", "facets": [] }))
}

/// The same as Resource Manager's list has it.
fn item(name: &str) -> Value {
    let id = format!("/subscriptions/sub-1/resourceGroups/rg-1/providers/Microsoft.KeyVault/vaults/{name}");
    let properties = json!({ "tenantId": TENANT, "vaultUri": format!("https://{name}.vault.azure.net/") });
    json!({ "id": id, "name": name, "location": "westeurope", "properties": properties })
}

async fn graph(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Stage {
    Stage::new(move |asked| (asked.path() == GRAPH).then(|| answer(asked))).await
}

/// No Resource Graph; the script answers for Resource Manager.
async fn arm(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Stage {
    Stage::new(move |asked| (asked.host == "management.azure.com" && asked.path() != GRAPH).then(|| answer(asked)))
        .await
}

fn names(discovery: &Discovery) -> Vec<String> {
    let mut names: Vec<_> = discovery.vaults.iter().map(|vault| vault.info().name.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn resource_graph_finds_every_vault_in_one_call_and_the_configured_are_added() {
    let stage = graph(|_| rows(&[vault_row("alpha"), vault_row("beta")])).await;
    let (discovery, report) = stage.source().survey().await;
    assert_eq!(names(&discovery), ["alpha", "beta", "pay"]);
    assert!(discovery.faults.is_empty() && discovery.skipped.is_empty());
    assert!(matches!(report.route, DiscoveryRoute::ResourceGraph));
    assert_eq!((report.subscriptions, report.described), (1, 2));
    assert_eq!(stage.count("management.azure.com"), 1);

    let asked = stage.asked().into_iter().find(|asked| asked.path() == GRAPH).unwrap();
    assert_eq!(asked.field("api-version").as_deref(), Some("2024-04-01"));
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["options"], json!({ "resultFormat": "objectArray", "$top": 1000 }));
    assert_eq!(body.get("subscriptions"), None, "the whole tenant");
    let alpha = discovery.vaults.iter().find(|vault| vault.info().name.as_str() == "alpha").unwrap().info();
    assert_eq!(alpha.subscription.as_deref(), Some("sub-1"));
    assert_eq!((alpha.resource_group.as_deref(), alpha.location.as_deref()), (Some("rg-1"), Some("westeurope")));
    assert_eq!((alpha.configured, alpha.uri.as_deref()), (false, Some("https://alpha.vault.azure.net/")));
}

#[tokio::test]
async fn pages_of_resource_graph_are_followed_by_their_token_whatever_the_result_says() {
    let stage = graph(|asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        let token = body["options"]["$skipToken"].as_str().map(str::to_owned);
        let (data, next) = match token.as_deref() {
            None => (vec![vault_row("alpha")], Some("2")),
            Some("2") => (vec![], Some("3")),
            Some(_) => (vec![vault_row("beta")], None),
        };
        Reply::json(200, &json!({ "data": data, "resultTruncated": "false", "$skipToken": next }))
    })
    .await;
    assert_eq!(names(&stage.source().discover().await), ["alpha", "beta", "pay"]);
}

#[tokio::test]
async fn the_same_vault_is_the_same_in_every_round_and_learns_where_it_is() {
    let stage = graph(|asked| {
        let first = asked.authorization.is_none();
        if first { Reply::text(500, "") } else { rows(&[vault_row("pay"), vault_row("alpha")]) }
    })
    .await;
    let source = stage.source();
    let first = source.discover().await.vaults;
    let second = source.discover().await.vaults;
    assert_eq!(first.len(), 2);
    for vault in &first {
        let again = second.iter().find(|other| other.info().name == vault.info().name).unwrap();
        assert!(Arc::ptr_eq(vault, again));
    }
    let pay = first.iter().find(|vault| vault.info().name.as_str() == "pay").unwrap().info();
    assert_eq!((pay.configured, pay.subscription.as_deref()), (true, Some("sub-1")));
}

#[tokio::test]
async fn a_configured_vault_that_discovery_shows_later_is_described_then() {
    let found = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let shown = Arc::clone(&found);
    let stage = graph(move |_| match shown.load(std::sync::atomic::Ordering::SeqCst) {
        true => rows(&[vault_row("pay")]),
        false => Reply::error(403, "AccessDenied", None),
    })
    .await;
    let source = stage.source();
    let vault = source.discover().await.vaults.remove(0);
    assert_eq!(vault.info().subscription, None);
    found.store(true, std::sync::atomic::Ordering::SeqCst);
    let again = source.discover().await.vaults.remove(0);
    assert!(Arc::ptr_eq(&vault, &again));
    assert_eq!(vault.info().subscription.as_deref(), Some("sub-1"));
}

#[tokio::test]
async fn without_resource_graph_every_subscription_is_listed_and_vaults_that_arm_does_not_show_are_there() {
    for graph in [Reply::error(403, "AccessDenied", None), Reply::error(404, "NotFound", None), Reply::Cut, rows(&[])] {
        let stage = Stage::new(move |asked| match (asked.host.as_str(), asked.path()) {
            (_, GRAPH) => Some(graph.clone()),
            ("management.azure.com", "/subscriptions") => {
                let next = "https://management.azure.com:443/subscriptions?api-version=2022-12-01&$skiptoken=a%2Fb%3d";
                let page = |id: &str, next: Value| {
                    json!({ "value": [{ "subscriptionId": id, "tenantId": TENANT,
                    "state": "Enabled" }], "nextLink": next })
                };
                match asked.field("$skiptoken").as_deref() {
                    None => Some(Reply::json(200, &page("sub-1", json!(next)))),
                    Some("a/b=") => Some(Reply::json(200, &page("sub-2", Value::Null))),
                    Some(_) => None,
                }
            }
            ("management.azure.com", path) => {
                let subscription = path.split('/').nth(2).unwrap();
                assert_eq!(asked.field("api-version").as_deref(), Some("2026-02-01"));
                Some(Reply::json(200, &json!({ "value": [item(&format!("of-{subscription}"))] })))
            }
            _ => None,
        })
        .await;
        let (discovery, report) = stage.source().survey().await;
        assert_eq!(names(&discovery), ["of-sub-1", "of-sub-2", "pay"]);
        assert!(discovery.faults.is_empty(), "{:?}", discovery.faults);
        assert!(matches!(report.route, DiscoveryRoute::Subscriptions { .. }));
        assert_eq!(report.subscriptions, 2);
        // The link is used as it was given, escapes and all.
        assert!(stage.asked().iter().any(|asked| asked.target.ends_with("&$skiptoken=a%2Fb%3d")));
    }
}

#[tokio::test]
async fn one_subscription_that_fails_takes_nothing_from_the_others_and_is_told() {
    let stage = arm(|asked| match asked.path() {
        "/subscriptions" => {
            let value: Vec<_> = ["good", "bad", "gone"]
                .iter()
                .map(|id| json!({ "subscriptionId": id, "state": if *id == "gone" { "Deleted" } else { "Enabled" } }))
                .collect();
            Reply::json(200, &json!({ "value": value }))
        }
        path if path.contains("/good/") => Reply::json(200, &json!({ "value": [item("alpha")], "nextLink": "" })),
        path => {
            assert!(path.contains("/bad/"), "a deleted subscription is not asked: {path}");
            Reply::error(403, "AuthorizationFailed", None)
        }
    })
    .await;
    let discovery = stage.source().discover().await;
    assert_eq!(names(&discovery), ["alpha", "pay"]);
    let [fault] = &discovery.faults[..] else { panic!("{:?}", discovery.faults) };
    assert_eq!(fault.kind(), &VaultErrorKind::Denied(Denial::Rbac));
    assert!(fault.to_string().contains("subscription bad") && fault.to_string().contains("Reader"), "{fault}");
}

#[tokio::test]
async fn when_nothing_answers_the_configured_vaults_are_there_and_the_fault_is_told() {
    let stage = Stage::new(|asked| asked.host.starts_with("management.").then(|| Reply::text(503, ""))).await;
    let (discovery, report) = stage.source().survey().await;
    assert_eq!(names(&discovery), ["pay"]);
    assert_eq!(discovery.faults[0].kind(), &VaultErrorKind::Unavailable(Outage::Server(503)));
    let DiscoveryRoute::Subscriptions { because: GraphShortfall::Failed(error) } = report.route else {
        panic!("{report:?}")
    };
    assert_eq!(error.kind(), &VaultErrorKind::Unavailable(Outage::Server(503)));
}

#[tokio::test]
async fn an_identity_without_any_role_sees_nothing_and_that_is_no_fault() {
    let stage = Stage::new(|asked| match (asked.host.as_str(), asked.path()) {
        (_, GRAPH) => Some(rows(&[])),
        ("management.azure.com", _) => Some(Reply::json(200, &json!({ "value": [] }))),
        _ => None,
    })
    .await;
    let (discovery, report) = stage.source().survey().await;
    assert_eq!(names(&discovery), ["pay"]);
    assert!(discovery.faults.is_empty());
    assert_eq!(report.subscriptions, 0);
}

#[tokio::test]
async fn a_truncated_answer_is_not_taken_for_the_whole() {
    let cut = json!({ "data": [vault_row("alpha")], "resultTruncated": "true" });
    let crowded = json!({ "data": [vault_row("alpha")], "resultTruncated": "false" });
    for reply in
        [Reply::json(200, &cut), Reply::json(200, &crowded).header("x-ms-tenant-subscription-limit-hit", "true")]
    {
        let stage = graph(move |_| reply.clone()).await;
        let (discovery, report) = stage.source().survey().await;
        assert!(matches!(report.route, DiscoveryRoute::Subscriptions { because: GraphShortfall::Truncated }));
        assert_eq!(names(&discovery), ["alpha", "pay"], "what was seen is not thrown away");
        assert!(!discovery.faults.is_empty(), "Resource Manager refuses here, so that the round is short");
    }
}

#[tokio::test]
async fn a_link_to_a_foreign_host_is_a_fault_and_no_token_goes_there() {
    let evil = "https://evil.example/subscriptions?api-version=2022-12-01";
    let stage = arm(move |asked| match asked.path() {
        "/subscriptions" => Reply::json(200, &json!({ "value": [{ "subscriptionId": "sub-1" }], "nextLink": evil })),
        _ => Reply::json(200, &json!({ "value": [item("alpha")], "nextLink": evil })),
    })
    .await;
    let discovery = stage.source().discover().await;
    assert_eq!(names(&discovery), ["alpha", "pay"]);
    assert_eq!(discovery.faults.len(), 2);
    assert!(discovery.faults.iter().all(|fault| fault.kind() == &VaultErrorKind::Malformed));
    assert_eq!(stage.count("evil.example"), 0);
}

#[tokio::test]
async fn a_listing_that_leads_in_a_circle_is_a_fault() {
    let stage = arm(|asked| {
        let own = format!("https://management.azure.com{}", asked.target);
        match asked.path() {
            "/subscriptions" => Reply::json(200, &json!({ "value": [{ "subscriptionId": "sub-1" }] })),
            _ => Reply::json(200, &json!({ "value": [item("alpha")], "nextLink": own })),
        }
    })
    .await;
    let discovery = stage.source().discover().await;
    assert_eq!(names(&discovery), ["alpha", "pay"]);
    assert_eq!(discovery.faults.len(), 1);
}

#[tokio::test]
async fn a_vault_of_another_tenant_is_reported_and_not_asked() {
    let stage =
        graph(|_| rows(&[row("theirs", "https://theirs.vault.azure.net", OTHER_TENANT), vault_row("ours")])).await;
    let discovery = stage.source().discover().await;
    assert_eq!(names(&discovery), ["ours", "pay"]);
    let [skipped] = &discovery.skipped[..] else { panic!("{:?}", discovery.skipped) };
    assert_eq!(skipped.info.name.as_str(), "theirs");
    assert_eq!(skipped.reason, SkipReason::ForeignTenant { tenant: OTHER_TENANT.into() });
}

#[tokio::test]
async fn the_tenant_is_known_from_the_token_where_the_settings_do_not_tell_it() {
    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({ "tid": TENANT.to_uppercase() }).to_string());
    let token = format!("e30.{claims}.x");
    let stage = Stage::new(move |asked| match asked.host.as_str() {
        "login.microsoftonline.com" => Some(Reply::token(&token, 3600)),
        "management.azure.com" => {
            Some(rows(&[row("theirs", "https://theirs.vault.azure.net", OTHER_TENANT), vault_row("ours")]))
        }
        _ => None,
    })
    .await;
    let source = stage.source_with(|settings| {
        if let sidekey::vaults::azure::Identity::ClientSecret { tenant, .. } = &mut settings.identity {
            *tenant = "contoso.onmicrosoft.com".into();
        }
    });
    let discovery = source.discover().await;
    assert_eq!((names(&discovery).len(), discovery.skipped.len()), (2, 1));
}

#[tokio::test]
async fn a_vault_on_a_foreign_host_is_reported_and_no_byte_goes_there() {
    let foreign = [
        "https://pay.vault.azure.net.evil.example/",
        "https://evil.example/",
        "https://pay.vault.azure.net@evil.example/",
        "https://pay.vault.azure.net:8443/",
        "https://a.b.vault.azure.net/",
        "https://xn--py-wja.vault.azure.net/",
        "http://plain.vault.azure.net/",
        "https://hsm.managedhsm.azure.net/",
    ];
    let stage = graph(move |_| {
        rows(&foreign.iter().enumerate().map(|(n, uri)| row(&format!("v-{n}"), uri, TENANT)).collect::<Vec<_>>())
    })
    .await;
    let discovery = stage.source().discover().await;
    assert_eq!(names(&discovery), ["pay"]);
    assert_eq!(discovery.skipped.len(), foreign.len());
    assert!(discovery.skipped.iter().all(|skipped| skipped.reason.code() == "foreign-host"));
    assert!(stage.asked().iter().all(|asked| !asked.host.contains("vault") && !asked.host.contains("evil")));
}

#[tokio::test]
async fn subscriptions_and_patterns_narrow_what_is_found_but_not_what_is_configured() {
    let stage = graph(|asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(body["subscriptions"], json!(["sub-1"]));
        rows(&[vault_row("pay-prod"), vault_row("pay-test"), vault_row("ops"), vault_row("pay")])
    })
    .await;
    let source = stage.source_with(|settings| {
        settings.subscriptions = vec!["sub-1".into()];
        settings.include = vec!["PAY-*".into()];
        settings.exclude = vec!["*-test".into()];
        settings.vaults.push(ConfiguredVault::Uri("https://Ops-2.vault.azure.net".parse().unwrap()));
    });
    let (discovery, report) = source.survey().await;
    assert_eq!(names(&discovery), ["ops-2", "pay", "pay-prod"]);
    assert_eq!(report.filtered, 2);
}

#[tokio::test]
async fn two_hosts_of_one_name_are_a_fault_and_not_a_coin_toss() {
    let stage = graph(|_| rows(&[vault_row("same"), row("same", "https://same.vault.azure.cn", TENANT)])).await;
    let source = stage.source_with(|settings| settings.cloud.vault_suffixes.push(".vault.azure.cn".into()));
    let discovery = source.discover().await;
    assert_eq!(names(&discovery), ["pay", "same"]);
    assert!(discovery.faults[0].to_string().contains("same name"), "{:?}", discovery.faults);
}

#[tokio::test]
async fn a_vault_without_an_address_makes_the_round_short() {
    let stage = graph(|_| rows(&[json!({ "id": "/subscriptions/s/x/y", "vaultUri": "" }), vault_row("alpha")])).await;
    let discovery = stage.source().discover().await;
    assert_eq!((names(&discovery), discovery.faults.len()), (vec!["alpha".to_owned(), "pay".to_owned()], 1));
}
