//! Signing in: every identity, and what its failures say.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use sidekey::secret::SecretValue;
use sidekey::vaults::azure::{Audience, AzureSource, Credential, DiscoveryRoute, Identity};
use sidekey::vaults::{Outage, Source as _, VaultError, VaultErrorKind};

use super::stage::{Asked, Reply, SECRET, Stage, TENANT, impatient, numbered_tokens};

/// What the sign-in that a stage saw had sent.
fn sent(stage: &Stage) -> Asked {
    stage.asked().into_iter().find(|asked| asked.method == "POST").expect("a sign-in")
}

async fn refused(reply: Reply) -> VaultError {
    let stage = Stage::bare(move |_| reply.clone()).await;
    let source = stage.source_with(|settings| settings.wire = impatient());
    source.sign_in(Audience::Vaults).await.expect_err("refused")
}

fn jwt(claims: &Value) -> String {
    format!("e30.{}.signature", BASE64URL.encode(claims.to_string()))
}

#[tokio::test]
async fn a_client_secret_signs_in_and_tells_who_that_is() {
    let token = jwt(&json!({ "tid": TENANT, "appid": "app-1", "oid": "oid-1" }));
    let stage = Stage::bare(move |_| Reply::token(&token, 3600)).await;
    let signed_in = stage.source().sign_in(Audience::Vaults).await.unwrap();
    assert_eq!(signed_in.identity, "client-secret");
    assert_eq!((signed_in.tenant.as_deref(), signed_in.object.as_deref()), (Some(TENANT), Some("oid-1")));
    let sent = sent(&stage);
    assert_eq!(
        (sent.host.as_str(), sent.path()),
        ("login.microsoftonline.com", &*format!("/{TENANT}/oauth2/v2.0/token"))
    );
    assert_eq!(sent.field("client_secret").as_deref(), Some(SECRET));
    assert_eq!(sent.field("scope").as_deref(), Some("https://vault.azure.net/.default"));
    assert!(!format!("{signed_in:?} {:?}", stage.source()).contains(SECRET));
}

#[tokio::test]
async fn the_two_services_get_a_token_each_and_each_is_asked_for_once() {
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    let source = stage.source();
    for _ in 0..5 {
        source.sign_in(Audience::Vaults).await.unwrap();
        source.sign_in(Audience::ResourceManager).await.unwrap();
    }
    let scopes: Vec<_> = stage.asked().iter().map(|asked| asked.field("scope").unwrap()).collect();
    assert_eq!(scopes, ["https://vault.azure.net/.default", "https://management.azure.com/.default"]);
}

#[tokio::test]
async fn the_aadsts_code_survives_line_breaks_and_says_what_to_do() {
    let body = json!({
        "error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid \"client\" secret provided.\r\nTrace ID: canary-1\r\n",
        "error_codes": [7_000_215],
    });
    let error = refused(Reply::json(401, &body)).await;
    assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: Some("AADSTS7000215".into()) });
    assert!(error.to_string().contains("client secret is wrong"), "{error}");
    assert!(!format!("{error:?}").contains("canary-1"), "{error:?}");
}

#[tokio::test]
async fn an_entra_that_fails_is_an_outage_and_not_a_wrong_credential() {
    for (reply, expected) in [
        (Reply::text(503, "<html>busy</html>"), VaultErrorKind::Unavailable(Outage::Server(503))),
        (Reply::Cut, VaultErrorKind::Unavailable(Outage::Connection)),
        (Reply::Hang, VaultErrorKind::TimedOut),
        (Reply::text(302, "").header("location", "https://evil.example/"), VaultErrorKind::Malformed),
        (Reply::text(200, "<html>captive portal</html>"), VaultErrorKind::Malformed),
        (Reply::text(403, "<html>proxy</html>"), VaultErrorKind::Unavailable(Outage::Server(403))),
    ] {
        assert_eq!(refused(reply).await.kind(), &expected);
    }
}

#[tokio::test]
async fn an_entra_that_fails_is_tried_a_few_times_only() {
    let stage = Stage::bare(|_| Reply::text(503, "")).await;
    let error = stage.source().sign_in(Audience::Vaults).await.expect_err("down");
    assert_eq!(error.kind(), &VaultErrorKind::Unavailable(Outage::Server(503)));
    assert_eq!(stage.asked().len(), 3, "the SDK alone would try nine times, for more than a minute");
}

#[tokio::test]
async fn a_failed_sign_in_is_told_by_the_vault_as_what_it_is() {
    let body = json!({ "error": "invalid_client", "error_description": "AADSTS7000222: expired" });
    let stage = Stage::new(move |asked| asked.host.starts_with("login.").then(|| Reply::json(401, &body))).await;
    let error = stage.vault().get(&"a".parse().unwrap(), None).await.expect_err("not signed in");
    assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: Some("AADSTS7000222".into()) });
}

#[tokio::test]
async fn a_client_secret_file_is_read_anew_and_one_line_end_is_not_part_of_it() {
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    let path = stage.path("secret");
    let source = || {
        let file = path.clone();
        stage.source_with(|settings| {
            settings.identity = Identity::ClientSecret {
                tenant: TENANT.into(),
                client: "app-1".into(),
                secret: Credential::File(file),
            };
        })
    };
    for (content, expected) in [("one", "one"), ("two\n", "two"), ("three\r\n", "three"), ("four\n\n", "four\n")] {
        std::fs::write(&path, content).unwrap();
        source().sign_in(Audience::Vaults).await.unwrap();
        assert_eq!(sent(&stage).field("client_secret").as_deref(), Some(expected));
        stage.forget();
    }
    std::fs::remove_file(&path).unwrap();
    let error = source().sign_in(Audience::Vaults).await.expect_err("no file");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(stage.asked().is_empty());
}

#[tokio::test]
async fn a_rotated_secret_is_used_by_the_next_renewal_of_the_same_source() {
    let issued = numbered_tokens();
    // The first token is refused, so that a second sign-in follows.
    let stage = Stage::new(move |asked| match (asked.host.as_str(), asked.authorization.as_deref()) {
        ("login.microsoftonline.com", _) => Some(issued()),
        ("pay.vault.azure.net", Some("Bearer token-0")) => Some(Reply::challenge()),
        _ => None,
    })
    .await;
    let path = stage.path("secret");
    std::fs::write(&path, "old").unwrap();
    let secret = Credential::File(path.clone());
    let source = stage.source_with(|settings| {
        settings.identity = Identity::ClientSecret { tenant: TENANT.into(), client: "app-1".into(), secret };
    });
    source.sign_in(Audience::Vaults).await.unwrap();
    assert_eq!(sent(&stage).field("client_secret").as_deref(), Some("old"));
    stage.forget();
    std::fs::write(&path, "new").unwrap();
    let vault = source.named().pop().unwrap();
    vault.get(&"a".parse().unwrap(), None).await.expect_err("the stage holds nothing");
    assert_eq!(sent(&stage).field("client_secret").as_deref(), Some("new"));
}

#[tokio::test]
async fn a_federated_token_file_is_the_assertion() {
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    let file = stage.path("token");
    std::fs::write(&file, "platform.jwt.here\n").unwrap();
    let source = stage.source_with(|settings| {
        settings.identity = Identity::FederatedToken { tenant: TENANT.into(), client: "app-1".into(), file };
    });
    assert_eq!(source.sign_in(Audience::Vaults).await.unwrap().identity, "federated-token");
    let sent = sent(&stage);
    assert_eq!(sent.field("client_assertion").as_deref(), Some("platform.jwt.here"));
    let kind = sent.field("client_assertion_type");
    assert_eq!(kind.as_deref(), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
}

fn with_certificate(stage: &Stage, file: PathBuf, password: Option<&str>) -> AzureSource {
    let password = password.map(|text| Credential::Inline(Arc::new(SecretValue::new(text))));
    stage.source_with(|settings| {
        settings.identity = Identity::Certificate { tenant: TENANT.into(), client: "app-1".into(), file, password };
    })
}

/// A key and certificate in PEM; RSA takes openssl's place with ring's own generator missing, so the key is fixed.
fn rsa() -> (KeyPair, String) {
    let key = KeyPair::from_pem_and_sign_algo(include_str!("rsa-2048.pem"), &PKCS_RSA_SHA256).unwrap();
    let certificate = CertificateParams::new(vec!["app-1".into()]).unwrap().self_signed(&key).unwrap();
    (key, certificate.pem())
}

#[tokio::test]
async fn a_pem_certificate_signs_an_assertion_that_verifies() {
    let (key, certificate) = rsa();
    let stranger =
        CertificateParams::new(vec!["ca".into()]).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    let file = stage.path("app.pem");
    // The chain may hold others before the one that belongs to the key.
    std::fs::write(&file, format!("{}{}{certificate}", key.serialize_pem(), stranger.pem())).unwrap();
    let source = with_certificate(&stage, file, None);
    assert_eq!(source.sign_in(Audience::Vaults).await.unwrap().identity, "certificate");

    let assertion = sent(&stage).field("client_assertion").unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let part = |text: &str| serde_json::from_slice::<Value>(&BASE64URL.decode(text).unwrap()).unwrap();
    let (header, claims) = (part(header), part(claims));
    let public =
        ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PSS_2048_8192_SHA256, key.public_key_raw());
    public.verify(signed.as_bytes(), &BASE64URL.decode(signature).unwrap()).expect("the signature verifies");
    let der = pem_der(&certificate);
    let thumbprint = BASE64URL.encode(ring::digest::digest(&ring::digest::SHA256, &der));
    assert_eq!((header["alg"].as_str(), header["x5t#S256"].as_str()), (Some("PS256"), Some(thumbprint.as_str())));
    let endpoint = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    assert_eq!((claims["aud"].as_str(), claims["iss"].as_str()), (Some(endpoint.as_str()), Some("app-1")));
    assert_eq!(claims["sub"], claims["iss"]);
    assert!(claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap() <= 600);
}

fn pem_der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_pfx_signs_in_with_its_password_and_says_so_without() {
    use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    let (key, certificate) = rsa();
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new(
        "1",
        PrivateKey::from_der(&key.serialize_der()).unwrap(),
        [Certificate::from_der(&pem_der(&certificate)).unwrap()],
    );
    store.add_entry("app", KeyStoreEntry::PrivateKeyChain(chain));
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    let file = stage.path("app.pfx");
    std::fs::write(&file, store.writer("open sesame").write().unwrap()).unwrap();

    with_certificate(&stage, file.clone(), Some("open sesame")).sign_in(Audience::Vaults).await.unwrap();
    assert!(sent(&stage).field("client_assertion").is_some());
    let told = async |password| {
        with_certificate(&stage, file.clone(), password)
            .sign_in(Audience::Vaults)
            .await
            .expect_err("closed")
            .to_string()
    };
    assert!(told(Some("wrong")).await.contains("does not open with the password given"));
    assert!(told(None).await.contains("needs a password"));
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_used_says_why() {
    let (rsa, certificate) = rsa();
    let elliptic = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let other = CertificateParams::new(vec!["x".into()]).unwrap().self_signed(&elliptic).unwrap().pem();
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    for (content, expected) in [
        (format!("{}{other}", elliptic.serialize_pem()), "not RSA"),
        (rsa.serialize_pem(), "no certificate"),
        (certificate.clone(), "no private key"),
        (format!("{}{other}", rsa.serialize_pem()), "no certificate that belongs"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".into(), "encrypted"),
        ("garbage".into(), "neither PEM nor a PFX"),
        (String::new(), "neither PEM nor a PFX"),
    ] {
        let file = stage.path("app.pem");
        std::fs::write(&file, content).unwrap();
        let error = with_certificate(&stage, file, None).sign_in(Audience::Vaults).await.expect_err(expected);
        assert!(error.to_string().contains(expected), "{error} should say {expected:?}");
    }
    assert!(stage.asked().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_wrong_tenant_or_client_is_a_fault_of_the_settings() {
    let stage = Stage::bare(|_| Reply::token("t", 3600)).await;
    for (tenant, client, key) in [("", "app-1", "tenant_id"), ("a/../b", "app-1", "tenant_id"), ("t", "", "client_id")]
    {
        let mut settings = stage.settings();
        settings.identity = Identity::ClientSecret {
            tenant: tenant.into(),
            client: client.into(),
            secret: Credential::Inline(Arc::new(SecretValue::new("x"))),
        };
        assert!(AzureSource::new(settings).expect_err(key).to_string().starts_with(key));
    }
}

#[tokio::test]
async fn resource_manager_gets_a_fresh_token_after_a_refusal_too() {
    let issued = numbered_tokens();
    let stage = Stage::new(move |asked| match (asked.host.as_str(), asked.authorization.as_deref()) {
        ("login.microsoftonline.com", _) if asked.field("scope").is_some_and(|scope| scope.contains("management")) => {
            Some(issued())
        }
        ("management.azure.com", Some("Bearer token-0")) => {
            Some(Reply::error(401, "InvalidAuthenticationToken", None).header("www-authenticate", "Bearer error=\"x\""))
        }
        ("management.azure.com", Some(_)) => {
            let row = json!({ "id": "/subscriptions/s", "vaultUri": "https://alpha.vault.azure.net" });
            Some(Reply::json(200, &json!({ "data": [row] })))
        }
        _ => None,
    })
    .await;
    let (discovery, report) = stage.source().survey().await;
    assert!(matches!(report.route, DiscoveryRoute::ResourceGraph), "{report:?}");
    assert_eq!((discovery.vaults.len(), discovery.faults.len()), (2, 0));
    let for_it = |asked: &&Asked| asked.field("scope").is_some_and(|scope| scope.contains("management"));
    assert_eq!((stage.asked().iter().filter(for_it).count(), stage.count("management.azure.com")), (2, 2));
}
