//! Reading and listing: what is asked of a vault, and what its answers mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::TryStreamExt;
use serde_json::{Value, json};
use sidekey::secret::{SecretName, Version};
use sidekey::vaults::azure::ConfiguredVault;
use sidekey::vaults::{Denial, Outage, VaultErrorKind};

use super::stage::{Asked, Reply, Stage, VERSION, numbered_tokens};

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

/// A stage whose vaults answer requests that carry a token.
async fn vaults(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Stage {
    Stage::new(move |asked| {
        let ours = asked.host.contains(".vault.") && asked.authorization.is_some();
        ours.then(|| answer(asked))
    })
    .await
}

fn found(asked: &Asked) -> Reply {
    let mut path = asked.path().trim_start_matches("/secrets/").split('/');
    let (name, version) = (path.next().unwrap(), path.next().filter(|version| !version.is_empty()));
    Reply::secret(&asked.host, name, version.unwrap_or(VERSION), &format!("value-of-{name}"))
}

#[tokio::test]
async fn twenty_first_reads_at_once_cost_one_token_and_not_one_request_more() {
    let stage = vaults(found).await;
    let vault = stage.vault();
    let reads = (0..20).map(|number| {
        let vault = &vault;
        async move { vault.get(&name(&format!("s-{number}")), None).await.unwrap().value.expose().to_vec() }
    });
    let values = futures::future::join_all(reads).await;
    assert_eq!(values[7], b"value-of-s-7");
    assert_eq!((stage.count("login.microsoftonline.com"), stage.count("pay.vault.azure.net")), (1, 20));
    assert_eq!(stage.asked().len(), 21, "and nobody else is asked");
}

#[tokio::test]
async fn a_first_read_that_fails_leaves_the_next_one_to_try() {
    let calls = AtomicUsize::new(0);
    let stage = Stage::new(move |asked| match asked.host.contains(".vault.") {
        true if calls.fetch_add(1, Ordering::SeqCst) == 0 => Some(Reply::text(418, "")),
        true if asked.authorization.is_some() => Some(found(asked)),
        _ => None,
    })
    .await;
    let vault = stage.vault();
    assert!(vault.get(&name("a"), None).await.is_err());
    assert_eq!(vault.get(&name("a"), None).await.unwrap().value.expose(), b"value-of-a");
}

#[tokio::test]
async fn a_version_is_asked_for_and_answered() {
    let stage = vaults(found).await;
    let vault = stage.vault();
    let version: Version = "ffffffffffffffffffffffffffffffff".parse().unwrap();
    let secret = vault.get(&name("a"), Some(&version)).await.unwrap();
    assert_eq!(secret.metadata.version, Some(version));
    let asked = stage.asked().pop().unwrap();
    assert_eq!(asked.target, "/secrets/a/ffffffffffffffffffffffffffffffff?api-version=2025-07-01");
}

#[tokio::test]
async fn another_secrets_vaults_or_versions_answer_is_never_served() {
    let swaps: [fn(&Asked) -> Reply; 5] = [
        |asked| Reply::secret(&asked.host, "b", VERSION, "swapped"),
        |_| Reply::secret("other.vault.azure.net", "a", VERSION, "swapped"),
        |asked| Reply::secret(&asked.host, "a", "00000000000000000000000000000000", "swapped"),
        |_| Reply::json(200, &json!({ "value": "swapped" })),
        |_| Reply::text(200, "<html>captive portal</html>"),
    ];
    for swap in swaps {
        let stage = vaults(swap).await;
        let vault = stage.vault();
        let version: Version = VERSION.parse().unwrap();
        let error = vault.get(&name("a"), Some(&version)).await.expect_err("swapped");
        assert_eq!(error.kind(), &VaultErrorKind::Malformed);
    }
}

#[tokio::test]
async fn attributes_tags_and_content_type_arrive() {
    let stage = vaults(|asked| {
        let id = format!("https://{}/secrets/a/{VERSION}", asked.host);
        let attributes = json!({ "enabled": true, "nbf": 1, "exp": 2, "created": 3, "updated": 4,
            "recoveryLevel": "SomethingNew+Purgeable" });
        Reply::json(
            200,
            &json!({ "value": "", "id": id, "attributes": attributes, "contentType": "text/plain",
            "tags": { "team": "pay" }, "managed": true, "kid": "https://x/keys/y", "unknown": [1] }),
        )
    })
    .await;
    let secret = stage.vault().get(&name("a"), None).await.unwrap();
    assert!(secret.value.is_empty(), "an empty value is a value");
    let metadata = secret.metadata;
    let seconds = [metadata.not_before, metadata.expires, metadata.created, metadata.updated];
    assert_eq!(seconds.map(|time| time.unwrap().unix_timestamp()), [1, 2, 3, 4]);
    assert_eq!((metadata.content_type.as_deref(), metadata.managed), (Some("text/plain"), true));
    assert_eq!(metadata.tags.get("team"), Some("pay"));
}

#[tokio::test]
async fn refusals_are_told_apart_by_their_inner_code_and_never_not_found() {
    let table: [(u16, &str, Option<&str>, VaultErrorKind); 12] = [
        (404, "SecretNotFound", None, VaultErrorKind::NotFound),
        (403, "Forbidden", Some("SecretDisabled"), VaultErrorKind::Disabled),
        (403, "Forbidden", Some("ForbiddenByRbac"), VaultErrorKind::Denied(Denial::Rbac)),
        (403, "Forbidden", Some("AccessDenied"), VaultErrorKind::Denied(Denial::AccessPolicy)),
        (403, "Forbidden", Some("ForbiddenByFirewall"), VaultErrorKind::Unavailable(Outage::Firewall)),
        (403, "Forbidden", Some("ForbiddenByConnection"), VaultErrorKind::Unavailable(Outage::PrivateLink)),
        (403, "Forbidden", Some("SomethingNew"), VaultErrorKind::Unavailable(Outage::Server(403))),
        (403, "Forbidden", None, VaultErrorKind::Unavailable(Outage::Server(403))),
        (400, "BadParameter", None, VaultErrorKind::Unavailable(Outage::Internal)),
        (404, "ResourceNotFound", None, VaultErrorKind::Unavailable(Outage::Server(404))),
        (500, "InternalServerError", None, VaultErrorKind::Unavailable(Outage::Server(500))),
        (501, "NotImplemented", None, VaultErrorKind::Unavailable(Outage::Server(501))),
    ];
    for (status, code, inner, expected) in table {
        let stage = vaults(move |_| Reply::error(status, code, inner)).await;
        let error = stage.vault().get(&name("a"), None).await.expect_err(code);
        assert_eq!(error.kind(), &expected, "{status} {code} {inner:?}");
        let mut told = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            told.push_str(&next.to_string());
            cause = next.source();
        }
        told.push_str(&format!("{error:?}"));
        for upstream in ["appid", "oid-1", "Caller"] {
            assert!(!told.contains(upstream), "{told}");
        }
    }
}

/// A vault that takes one token alone; Entra issues `token-0`, `token-1` and so on.
async fn picky(refusal: fn() -> Reply, good: &'static str) -> Stage {
    let issued = numbered_tokens();
    Stage::new(move |asked| match (asked.host.as_str(), asked.authorization.as_deref()) {
        ("login.microsoftonline.com", _) => Some(issued()),
        ("pay.vault.azure.net", Some(bearer)) if bearer == good => Some(found(asked)),
        ("pay.vault.azure.net", Some(_)) => Some(refusal()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_refused_token_is_replaced_by_exactly_one_sign_in() {
    let stage = picky(Reply::challenge, "Bearer token-1").await;
    let vault = stage.vault();
    let wanted = name("a");
    let reads = (0..20).map(|_| vault.get(&wanted, None));
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap().value.expose(), b"value-of-a");
    }
    assert_eq!(stage.count("login.microsoftonline.com"), 2, "the first token and one replacement");
}

#[tokio::test]
async fn a_refusal_that_persists_ends_and_does_not_loop() {
    let refusal = || {
        let body =
            json!({ "error": { "code": "Unauthorized", "message": "[x] / AKV10046: Unable to resolve the key" } });
        Reply::json(401, &body)
            .header("www-authenticate", r#"Bearer authorization="https://a/t", resource="https://vault.azure.net""#)
    };
    let stage = picky(refusal, "none").await;
    let vault = stage.vault();
    for _ in 0..10 {
        let error = vault.get(&name("a"), None).await.expect_err("no token is good");
        assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: Some("AKV10046".into()) });
    }
    assert_eq!(stage.count("login.microsoftonline.com"), 2);
    assert!(stage.count("pay.vault.azure.net") <= 1 + 2 * 10, "two tries for each read, and one more for the first");
}

#[tokio::test]
async fn a_vault_of_another_tenant_is_told_so_and_costs_no_sign_in() {
    let refusal = || {
        let body =
            json!({ "error": { "code": "Unauthorized", "message": "AKV10032: Invalid issuer. Expected one of x" } });
        Reply::json(401, &body)
            .header("www-authenticate", r#"Bearer authorization="https://a/t", resource="https://vault.azure.net""#)
    };
    let stage = picky(refusal, "none").await;
    let vault = stage.vault();
    let error = vault.get(&name("a"), None).await.expect_err("another tenant's vault");
    assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: Some("AKV10032".into()) });
    assert!(error.to_string().contains("another tenant"), "{error}");
    assert_eq!(stage.count("login.microsoftonline.com"), 1);
}

#[tokio::test]
async fn all_three_forms_of_a_refusal_s_challenge_are_understood() {
    for refusal in [
        || {
            Reply::challenge_of(
                r#"Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net""#,
            )
        },
        || Reply::challenge_of(r#"Bearer authorization="https://a/t", scope="https://vault.azure.net/.default""#),
        || {
            let resource = r#"resource="https://vault.azure.net/", error="invalid_token""#;
            Reply::challenge_of(&format!(r#"Bearer authorization="https://login.windows.net/t", {resource}"#))
        },
    ] {
        let issued = numbered_tokens();
        let revoked = Arc::new(AtomicBool::new(false));
        let is_revoked = Arc::clone(&revoked);
        let stage = Stage::new(move |asked| match (asked.host.as_str(), asked.authorization.as_deref()) {
            ("login.microsoftonline.com", _) => Some(issued()),
            ("pay.vault.azure.net", Some("Bearer token-0")) if is_revoked.load(Ordering::SeqCst) => Some(refusal()),
            ("pay.vault.azure.net", Some(_)) => Some(found(asked)),
            _ => None,
        })
        .await;
        let vault = stage.vault();
        // The SDK knows the vault by the time of the refusal, and reads it.
        vault.get(&name("a"), None).await.unwrap();
        revoked.store(true, Ordering::SeqCst);
        assert_eq!(vault.get(&name("b"), None).await.unwrap().value.expose(), b"value-of-b");
        for sign_in in stage.asked().into_iter().filter(|asked| asked.host.starts_with("login.")) {
            assert_eq!(sign_in.field("scope").as_deref(), Some("https://vault.azure.net/.default"));
        }
    }
}

#[tokio::test]
async fn a_vault_under_another_suffix_is_asked_what_it_wants_tokens_for_and_gets_them_for_no_more() {
    for (resource, reads) in [("https://vault.usgovcloudapi.net", true), ("https://evil.example", false)] {
        let stage = Stage::new(move |asked| match (asked.host.contains(".vault."), &asked.authorization) {
            (true, None) => {
                Some(Reply::challenge_of(&format!(r#"Bearer authorization="https://a/t", resource="{resource}""#)))
            }
            (true, Some(_)) => Some(found(asked)),
            (false, _) => None,
        })
        .await;
        let vault = stage.vault_with(|settings| {
            settings.cloud.vault_suffixes = vec![".vault.azure.net".into(), ".vault.usgovcloudapi.net".into()];
            let uri = "https://pay.vault.usgovcloudapi.net".parse().unwrap();
            settings.vaults = vec![ConfiguredVault::Uri(uri)];
        });
        let read = vault.get(&name("a"), None).await;
        assert_eq!(read.is_ok(), reads, "{read:?}");
        let given = stage.asked().iter().filter(|asked| asked.authorization.is_some()).count();
        let scopes: Vec<_> = stage.asked().iter().filter_map(|asked| asked.field("scope")).collect();
        let expected: &[&str] = if reads { &["https://vault.usgovcloudapi.net/.default"] } else { &[] };
        assert_eq!((given, scopes), (usize::from(reads), expected.iter().map(|s| (*s).to_owned()).collect()));
    }
}

#[tokio::test]
async fn a_challenge_for_another_resource_gets_no_token_of_it() {
    for resource in
        ["https://management.azure.com", "https://evil.example", "https://graph.microsoft.com", "https://net"]
    {
        let stage = Stage::new(move |asked| {
            let challenge = format!(r#"Bearer authorization="https://evil.example/t", resource="{resource}""#);
            asked.host.contains(".vault.").then(|| Reply::challenge_of(&challenge))
        })
        .await;
        let vault = stage.vault();
        for _ in 0..3 {
            let error = vault.get(&name("a"), None).await.expect_err(resource);
            assert_eq!(error.kind(), &VaultErrorKind::Malformed, "{resource}");
        }
        for asked in stage.asked() {
            let scope = asked.field("scope");
            let of_vaults = scope.as_deref() == Some("https://vault.azure.net/.default");
            assert!(
                asked.host == "pay.vault.azure.net" || (asked.host.starts_with("login.") && of_vaults),
                "{asked:?}"
            );
        }
    }
}

fn page(host: &str, names: &[&str], next: &Value) -> Reply {
    let items: Vec<_> = names
        .iter()
        .map(|name| json!({ "id": format!("https://{host}/secrets/{name}"), "attributes": { "enabled": true } }))
        .collect();
    Reply::json(200, &json!({ "value": items, "nextLink": next }))
}

#[tokio::test]
async fn a_listing_goes_on_through_empty_pages_and_links_with_the_default_port() {
    let stage = vaults(|asked| {
        let link = |page: &str| json!(format!("https://{}:443/secrets?api-version=7.4&$skiptoken={page}", asked.host));
        match asked.field("$skiptoken").as_deref() {
            None => page(&asked.host, &["a", "b"], &link("2")),
            Some("2") => page(&asked.host, &[], &link("3")),
            Some("3") => page(&asked.host, &["c"], &json!("")),
            Some(_) => Reply::text(500, ""),
        }
    })
    .await;
    let vault = stage.vault();
    let mut listed: Vec<_> =
        vault.list().map_ok(|metadata| metadata.name.to_string()).try_collect::<Vec<_>>().await.unwrap();
    listed.sort();
    assert_eq!(listed, ["a", "b", "c"]);
    let first = stage.asked().into_iter().find(|asked| asked.host == "pay.vault.azure.net").unwrap();
    assert_eq!(first.field("maxresults").as_deref(), Some("25"));
}

#[tokio::test]
async fn a_link_to_a_foreign_host_is_not_followed_and_no_token_goes_there() {
    for evil in
        ["https://evil.example/secrets", "https://other.vault.azure.net/secrets", "http://pay.vault.azure.net/x"]
    {
        let stage = vaults(move |asked| page(&asked.host, &["a"], &json!(evil))).await;
        let vault = stage.vault();
        let mut listing = vault.list();
        assert_eq!(listing.try_next().await.unwrap().unwrap().name, name("a"));
        let error = listing.try_next().await.expect_err("the listing is not whole");
        assert_eq!(error.kind(), &VaultErrorKind::Malformed);
        assert!(
            stage
                .asked()
                .iter()
                .all(|asked| ["pay.vault.azure.net", "login.microsoftonline.com"].contains(&asked.host.as_str()))
        );
    }
}

#[tokio::test]
async fn a_listing_that_leads_in_a_circle_ends_as_a_fault() {
    let stage = vaults(|asked| {
        let next = json!(format!("https://{}/secrets?$skiptoken=again", asked.host));
        page(&asked.host, &["a"], &next)
    })
    .await;
    let error = stage.vault().list().try_collect::<Vec<_>>().await.expect_err("a circle");
    assert_eq!(error.kind(), &VaultErrorKind::Malformed);
}

#[tokio::test]
async fn a_listing_that_fails_on_a_later_page_ends_with_the_failure() {
    let stage = vaults(|asked| match asked.field("$skiptoken") {
        None => page(&asked.host, &["a"], &json!(format!("https://{}/secrets?$skiptoken=2", asked.host))),
        Some(_) => Reply::error(403, "Forbidden", Some("ForbiddenByRbac")),
    })
    .await;
    let error = stage.vault().list().try_collect::<Vec<_>>().await.expect_err("half a listing");
    assert_eq!(error.kind(), &VaultErrorKind::Denied(Denial::Rbac));
}

#[tokio::test]
async fn the_versions_of_nothing_are_not_found_even_if_the_vault_says_none() {
    let stage = vaults(|asked| page(&asked.host, &[], &Value::Null)).await;
    let error = stage.vault().versions(&name("a")).try_collect::<Vec<_>>().await.expect_err("nothing");
    assert_eq!(error.kind(), &VaultErrorKind::NotFound);
}
