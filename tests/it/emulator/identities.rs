//! Identities without a client secret: the machine's, a certificate's, a federated token's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use reqwest::Method;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::support::{ESTATE, KEY_VAULT, Lab, READER, Reply, TENANT};

fn jwt(key: &KeyPair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    // rcgen signs in DER; a JWT wants the two bare numbers.
    let der = key.sign(signed.as_bytes()).unwrap();
    let mut rest = &der[2..];
    let mut raw = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let digits = &rest[2..2 + length];
        let digits = &digits[digits.len().saturating_sub(32)..];
        raw.extend(std::iter::repeat_n(0, 32 - digits.len()).chain(digits.iter().copied()));
        rest = &rest[2 + length..];
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw))
}

async fn sign_in(lab: &Lab, assertion: &str) -> Reply {
    let url = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", READER),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        ("scope", KEY_VAULT),
    ];
    lab.form(&url, &fields).await
}

fn code(reply: &Reply) -> i64 {
    if reply.status == 200 { 0 } else { reply.json()["error_codes"][0].as_i64().unwrap() }
}

fn claims(issuer: &str, subject: &str, audience: &str) -> Value {
    let expires = OffsetDateTime::now_utc().unix_timestamp() + 600;
    json!({"iss": issuer, "sub": subject, "aud": audience, "exp": expires})
}

#[tokio::test]
async fn a_certificate_proves_the_app_and_nothing_else_does() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["app".into()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem();
    let lab = Lab::of(&ESTATE.replacen("secret = [", &format!("certificates = ['''{pem}''']\nsecret = ["), 1));
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate.der()));
    let header = json!({"alg": "ES256", "typ": "JWT", "x5t#S256": thumbprint});
    let audience = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    let good = claims(READER, READER, &audience);
    assert_eq!(code(&sign_in(&lab, &jwt(&key, &header, &good)).await), 0);

    let stranger = KeyPair::generate().unwrap();
    assert_eq!(code(&sign_in(&lab, &jwt(&stranger, &header, &good)).await), 700_027, "another key");
    let unnamed = json!({"alg": "ES256"});
    assert_eq!(code(&sign_in(&lab, &jwt(&key, &unnamed, &good)).await), 700_027, "no thumbprint");
    let unsigned = json!({"alg": "none", "x5t#S256": thumbprint});
    assert_eq!(code(&sign_in(&lab, &jwt(&key, &unsigned, &good)).await), 700_027, "no algorithm");
    let elsewhere = claims(READER, READER, "https://login.microsoftonline.com/other/oauth2/v2.0/token");
    assert_eq!(code(&sign_in(&lab, &jwt(&key, &header, &elsewhere)).await), 700_023);
    let other = claims(READER, "somebody", &audience);
    assert_eq!(code(&sign_in(&lab, &jwt(&key, &header, &other)).await), 700_021);
    let mut late = good.clone();
    late["exp"] = json!(OffsetDateTime::now_utc().unix_timestamp() - 3600);
    assert_eq!(code(&sign_in(&lab, &jwt(&key, &header, &late)).await), 700_024);
    assert_eq!(code(&sign_in(&lab, "not.a.token").await), 50_027);
}

#[tokio::test]
async fn a_federated_token_must_be_of_the_issuer_subject_audience_and_key_that_are_trusted() {
    let key = KeyPair::generate().unwrap();
    let trust = format!(
        "federated = [{{ issuer = \"https://i.example/\", subject = \"s\", public_key = '''{}''' }}]\nsecret = [",
        key.public_key_pem()
    );
    let lab = Lab::of(&ESTATE.replacen("secret = [", &trust, 1));
    let header = json!({"alg": "ES256"});
    let exchange = "api://AzureADTokenExchange";
    let stranger = KeyPair::generate().unwrap();
    let cases = [
        (&key, claims("https://i.example/", "s", exchange), 0),
        (&key, claims("https://other.example/", "s", exchange), 700_211),
        (&key, claims("https://i.example/", "s", "api://other"), 700_212),
        (&key, claims("https://i.example/", "t", exchange), 700_213),
        (&stranger, claims("https://i.example/", "s", exchange), 700_027),
    ];
    for (key, claims, expected) in cases {
        assert_eq!(code(&sign_in(&lab, &jwt(key, &header, &claims)).await), expected, "{claims}");
    }
}

#[tokio::test]
async fn the_machines_identity_is_told_over_plain_http_with_numbers_as_texts() {
    let lab = Lab::new();
    let path = "metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
    let url = format!("http://{}/{path}", lab.emulator.addr());
    let refused = lab.send(Method::GET, &url, None, None).await.unwrap();
    assert!(refused.status == 400 && refused.text.contains("Required metadata header"), "{}", refused.text);
    let reply = lab.imds(&url).await;
    let body = reply.json();
    assert_eq!((body["expires_in"].as_str(), body["client_id"].as_str()), (Some("3599"), Some(READER)));
    assert!(body["expires_on"].as_str().unwrap().parse::<i64>().is_ok());
    let token = body["access_token"].as_str().unwrap();
    let url = "https://alpha.vault.azure.net/secrets/db-password?api-version=7.6";
    assert_eq!(lab.get(url, token).await.status, 200);
    let absent = format!("http://{}/{path}&client_id=nobody", lab.emulator.addr());
    assert!(lab.imds(&absent).await.text.contains("Identity not found"));
}

#[tokio::test]
async fn plain_http_serves_nothing_else() {
    let lab = Lab::new();
    let url = format!("http://{}/{TENANT}/oauth2/v2.0/token", lab.emulator.addr());
    let reply = lab.send(Method::POST, &url, None, None).await.unwrap();
    assert!(reply.status == 404 && reply.text.contains("over HTTPS"), "{}", reply.text);
}
