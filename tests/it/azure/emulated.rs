//! The backend against the emulator: the contract over the wire, every identity that it knows, and the other clouds.

use std::io::Write;
use std::sync::Arc;

use futures::TryStreamExt;
use sidekey::emulator::{Change, Effect, Emulator, Endpoint, Estate, Fault, Respond};
use sidekey::secret::SecretValue;
use sidekey::vaults::azure::{Audience, AzureSettings, AzureSource, Cloud, ConfiguredVault, Credential, Identity};
use sidekey::vaults::contract;
use sidekey::vaults::{Denial, Outage, SkipReason, Source, Vault, VaultErrorKind};

use super::stage::settings_at;
use crate::emulator::support::{ESTATE, FOREIGN, READER, TENANT};

/// What the contract wants of a vault.
const CONTRACT: &str = r#"
[[vault]]
name = "contract"
subscription = "production"
[[vault.secret]]
name = "contract-two-versions"
content_type = "text/plain"
tags = { team = "pay" }
versions = [{ value = "old-value", created = "-30d" }]
value = "new-value"
[[vault.secret]]
name = "contract-disabled"
value = "unseen"
enabled = false
[[vault.secret]]
name = "contract-deleted"
value = "gone"
deleted = true
[[vault.secret]]
name = "contract-empty"
value = ""
[[vault.bulk]]
pattern = "filler-{}"
count = 60
"#;

/// A running emulator, and the file of its CA.
struct Lab {
    emulator: Emulator,
    ca: tempfile::NamedTempFile,
}

impl Lab {
    fn of(estate: &str) -> Self {
        let estate = Estate::parse(estate).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let emulator = Emulator::start_on_loopback(estate).unwrap();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(emulator.ca_pem().as_bytes()).unwrap();
        Self { emulator, ca }
    }

    fn settings(&self) -> AzureSettings {
        let mut settings = settings_at(self.emulator.addr(), Some(self.ca.path().to_owned()));
        settings.identity = secret_of(READER, "right");
        settings
    }

    fn source(&self) -> AzureSource {
        self.source_with(|_| {})
    }

    fn source_with(&self, change: impl FnOnce(&mut AzureSettings)) -> AzureSource {
        let mut settings = self.settings();
        change(&mut settings);
        AzureSource::new(settings).unwrap()
    }
}

fn secret_of(client: &str, secret: &str) -> Identity {
    Identity::ClientSecret {
        tenant: TENANT.into(),
        client: client.into(),
        secret: Credential::Inline(Arc::new(SecretValue::new(secret))),
    }
}

async fn named(source: &AzureSource, name: &str) -> Arc<dyn Vault> {
    let vaults = source.discover().await.vaults;
    vaults.into_iter().find(|vault| vault.info().name.as_str() == name).unwrap_or_else(|| panic!("no vault {name}"))
}

#[tokio::test]
async fn the_contract_holds_over_the_wire() {
    let lab = Lab::of(&format!("{ESTATE}{CONTRACT}"));
    contract::check(&*named(&lab.source(), "contract").await).await;
    assert_eq!(lab.emulator.control().calls().leaked_tokens, 0);
}

#[tokio::test]
async fn the_contract_holds_with_short_pages_and_empty_ones() {
    let contract = CONTRACT.replacen("subscription", "page_size = 3\nempty_pages = 4\nsubscription", 1);
    let lab = Lab::of(&format!("{ESTATE}{contract}"));
    contract::check(&*named(&lab.source(), "contract").await).await;
}

#[tokio::test]
async fn every_subscriptions_vaults_are_found_and_a_hidden_one_by_its_name() {
    let lab = Lab::of(ESTATE);
    let source = lab.source_with(|settings| {
        settings.vaults = vec![ConfiguredVault::Name("hidden".parse().unwrap())];
    });
    let discovery = source.discover().await;
    let mut names: Vec<_> = discovery.vaults.iter().map(|vault| vault.info().name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["alpha", "busy", "hidden", "policies", "private", "walled"]);
    assert_eq!(discovery.skipped[0].reason, SkipReason::ForeignTenant { tenant: FOREIGN.into() });
    assert_eq!(lab.emulator.control().calls().endpoint(Endpoint::Graph), 1);
}

#[tokio::test]
async fn without_resource_graph_the_same_vaults_are_found_subscription_by_subscription() {
    let lab = Lab::of(ESTATE);
    lab.emulator.control().fault(Fault::new(Effect::Respond(Respond::status(403))).on(Endpoint::Graph));
    let (discovery, report) = lab.source().survey().await;
    assert_eq!((discovery.vaults.len(), discovery.skipped.len(), report.subscriptions), (5, 1, 2));
}

#[tokio::test]
async fn each_way_of_being_out_of_reach_is_told_apart() {
    let lab = Lab::of(ESTATE);
    let source = lab.source();
    let name = "x".parse().unwrap();
    for (vault, expected) in [
        ("alpha", VaultErrorKind::NotFound),
        ("walled", VaultErrorKind::Unavailable(Outage::Firewall)),
        ("private", VaultErrorKind::Unavailable(Outage::PrivateLink)),
    ] {
        let error = named(&source, vault).await.get(&name, None).await.expect_err(vault);
        assert_eq!(error.kind(), &expected, "{vault}");
    }
    let error = named(&source, "busy").await.get(&name, None).await.expect_err("busy");
    assert!(matches!(error.kind(), VaultErrorKind::Throttled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_role_and_a_missing_policy_are_told_apart() {
    let lab = Lab::of(ESTATE);
    let nobody = lab.source_with(|settings| {
        settings.identity = secret_of("aaaaaaaa-0000-4000-8000-000000000002", "right");
        settings.vaults = ["alpha", "policies"].map(|name| ConfiguredVault::Name(name.parse().unwrap())).into();
    });
    let name = "db-password".parse().unwrap();
    for (vault, denial) in [("alpha", Denial::Rbac), ("policies", Denial::AccessPolicy)] {
        let error = named(&nobody, vault).await.get(&name, None).await.expect_err("denied");
        assert_eq!(error.kind(), &VaultErrorKind::Denied(denial), "{vault}");
        let error = named(&nobody, vault).await.list().try_collect::<Vec<_>>().await.expect_err("denied");
        assert_eq!(error.kind(), &VaultErrorKind::Denied(denial), "{vault}");
    }
}

#[tokio::test]
async fn revoked_tokens_are_repaired_by_one_sign_in_and_no_read_fails() {
    let lab = Lab::of(ESTATE);
    let vault = named(&lab.source(), "alpha").await;
    let name = "db-password".parse().unwrap();
    vault.get(&name, None).await.unwrap();
    let control = lab.emulator.control();
    control.change(Change::RevokeTokens { app: None }).unwrap();
    control.reset_calls();
    for read in futures::future::join_all((0..20).map(|_| vault.get(&name, None))).await {
        assert_eq!(read.unwrap().value.expose(), b"new");
    }
    assert_eq!(control.calls().endpoint(Endpoint::Token), 1);
}

/// A source whose client secret is in a file that is looked at with every read.
fn with_file(lab: &Lab, file: &std::path::Path) -> AzureSource {
    lab.source_with(|settings| {
        let secret = Credential::File(file.to_owned());
        settings.identity = Identity::ClientSecret { tenant: TENANT.into(), client: READER.into(), secret };
        settings.wire.credential_look = std::time::Duration::ZERO;
    })
}

#[tokio::test]
async fn what_signed_in_last_is_used_on_whatever_is_written_into_the_file() {
    let lab = Lab::of(ESTATE);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "right\n").unwrap();
    let vault = named(&with_file(&lab, file.path()), "alpha").await;
    let name = "db-password".parse().unwrap();
    vault.get(&name, None).await.unwrap();
    let control = lab.emulator.control();
    // Unknown to Entra, expired there, cut to nothing, and gone.
    for content in [Some("wrong"), Some("old"), Some(""), None] {
        match content {
            Some(content) => std::fs::write(file.path(), content).unwrap(),
            None => std::fs::remove_file(file.path()).unwrap(),
        }
        for read in futures::future::join_all((0..50).map(|_| vault.get(&name, None))).await {
            assert_eq!(read.unwrap().value.expose(), b"new", "{content:?}");
        }
    }
    // Now a token is needed, and what the file held last does not give one.
    control.change(Change::RevokeTokens { app: None }).unwrap();
    for read in futures::future::join_all((0..50).map(|_| vault.get(&name, None))).await {
        assert_eq!(read.unwrap().value.expose(), b"new");
    }
}

#[tokio::test]
async fn while_entra_is_out_reads_go_on() {
    let lab = Lab::of(ESTATE);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "right").unwrap();
    let vault = named(&with_file(&lab, file.path()), "alpha").await;
    let name = "db-password".parse().unwrap();
    vault.get(&name, None).await.unwrap();
    let control = lab.emulator.control();
    control.fault(Fault::new(Effect::Respond(Respond::status(503))).on(Endpoint::Token));
    std::fs::write(file.path(), "other").unwrap();
    for _ in 0..10 {
        for read in futures::future::join_all((0..20).map(|_| vault.get(&name, None))).await {
            assert_eq!(read.unwrap().value.expose(), b"new");
        }
    }
}

#[tokio::test]
async fn one_token_serves_many_reads_of_many_vaults() {
    let lab = Lab::of(&format!("{ESTATE}{CONTRACT}"));
    let source = lab.source();
    let (alpha, contract) = (named(&source, "alpha").await, named(&source, "contract").await);
    for number in 1..=20 {
        let name = format!("filler-{number}").parse().unwrap();
        alpha.get(&name, None).await.unwrap();
        contract.get(&name, None).await.unwrap();
    }
    let calls = lab.emulator.control().calls();
    assert_eq!(calls.endpoint(Endpoint::Token), 2, "one for Resource Manager, one for all vaults");
    assert_eq!(calls.endpoint(Endpoint::Challenge), 0, "what vaults want tokens for is known");
}

#[tokio::test]
async fn a_wrong_secret_an_expired_one_and_an_unknown_client_carry_their_codes() {
    let lab = Lab::of(ESTATE);
    for (client, secret, code) in [
        (READER, "wrong", "AADSTS7000215"),
        (READER, "old", "AADSTS7000222"),
        ("aaaaaaaa-0000-4000-8000-00000000dead", "right", "AADSTS700016"),
    ] {
        let source = lab.source_with(|settings| settings.identity = secret_of(client, secret));
        let error = source.sign_in(Audience::Vaults).await.expect_err(code);
        assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: Some(code.into()) });
    }
}

#[tokio::test]
async fn the_machines_identity_signs_in_at_the_endpoint_told() {
    let lab = Lab::of(ESTATE);
    let endpoint = format!("http://{}", lab.emulator.addr()).parse().unwrap();
    let source = lab.source_with(|settings| {
        settings.identity = Identity::ManagedIdentity { client: None, endpoint: Some(endpoint) };
    });
    assert_eq!(source.sign_in(Audience::Vaults).await.unwrap().identity, "managed-identity");
    let secret = named(&source, "alpha").await.get(&"db-password".parse().unwrap(), None).await.unwrap();
    assert_eq!(secret.value.expose(), b"new");
    assert_eq!(lab.emulator.control().calls().endpoint(Endpoint::Token), 0);

    let endpoint = format!("http://{}", lab.emulator.addr()).parse().unwrap();
    let stranger = lab.source_with(|settings| {
        settings.identity = Identity::ManagedIdentity { client: Some("unknown".into()), endpoint: Some(endpoint) };
    });
    let error = stranger.sign_in(Audience::Vaults).await.expect_err("no such identity");
    assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: None });
}

#[tokio::test]
async fn the_other_clouds_are_served_under_their_own_names() {
    for (cloud, word, suffix) in [
        (Cloud::us_government(), "us-government", ".vault.usgovcloudapi.net"),
        (Cloud::china(), "china", ".vault.azure.cn"),
    ] {
        let estate = ESTATE.replacen("domain =", &format!("cloud = \"{word}\"\ndomain ="), 1);
        let lab = Lab::of(&estate);
        let source = lab.source_with(|settings| settings.cloud = cloud);
        let vault = named(&source, "alpha").await;
        assert_eq!(vault.info().uri.as_deref(), Some(&*format!("https://alpha{suffix}/")));
        let secret = vault.get(&"db-password".parse().unwrap(), None).await.unwrap();
        assert_eq!(secret.value.expose(), b"new", "{word}");
    }
}

#[tokio::test]
async fn faults_on_the_wire_never_become_a_value_or_a_not_found() {
    let lab = Lab::of(ESTATE);
    let vault = named(&lab.source(), "alpha").await;
    let name = "db-password".parse().unwrap();
    vault.get(&name, None).await.unwrap();
    let control = lab.emulator.control();
    for effect in [
        Effect::Reset,
        Effect::Truncate,
        Effect::Garbage,
        Effect::WrongId("disabled-one".into()),
        Effect::Swap(serde_json::json!({ "value": "swapped" })),
        Effect::HugeBytes(100_000_000),
        Effect::GzipBombMb(100),
        Effect::Redirect("https://evil.example/secrets/a".into()),
        Effect::Challenge("https://evil.example".into()),
        Effect::Respond(Respond { status: 429, retry_after: Some("86400".into()), ..Respond::default() }),
    ] {
        let told = format!("{effect:?}");
        let number = control.fault(Fault::new(effect).on(Endpoint::Get));
        let error = vault.get(&name, None).await.expect_err(&told);
        assert!(!error.kind().is_authoritative(), "{told}: {error:?}");
        control.clear_fault(number);
        assert_eq!(vault.get(&name, None).await.unwrap().value.expose(), b"new", "after {told}");
    }
    assert_eq!(control.calls().leaked_tokens, 0);
}
