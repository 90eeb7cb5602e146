//! A service principal with a certificate: Entra takes a short-lived assertion signed with the private key. By ring,
//! because the SDK's own way needs OpenSSL and takes PFX alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use azure_core::credentials::AccessToken;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as PfxError;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::federated::exchange;
use super::issuer::Entra;
use super::proof::Proof;
use super::rotation::Exchange;
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// How long an assertion is good: long enough for clocks that differ, short enough to be of no use to a thief.
const ASSERTION_LIFE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Certificate(pub(super) Entra);

#[async_trait]
impl Exchange for Certificate {
    fn check(&self, proof: &Proof) -> Result<(), &'static str> {
        Pair::of(proof).map(drop)
    }

    async fn exchange(&self, proof: &Proof, scope: &str) -> Result<AccessToken, VaultError> {
        let failed = |reason| VaultError::new(VaultErrorKind::Unauthenticated { code: None }, reason);
        let Self(entra) = self;
        let assertion = Pair::of(proof).map_err(failed)?.assertion(&entra.client, &entra.token_endpoint())?;
        exchange(entra, assertion, scope).await
    }
}

/// A private key and the certificate that belongs to it.
struct Pair {
    key: RsaKeyPair,
    certificate: Vec<u8>,
}

impl Pair {
    /// Of a file, and the password to it if the proof has a second part.
    fn of(proof: &Proof) -> Result<Self, &'static str> {
        let file = proof.bytes(0).ok_or("is missing")?;
        let password = (proof.len() > 1).then(|| proof.line(1));
        Self::parse(&file, password.as_ref().map(|password| password.as_str()))
    }

    /// PEM if it looks like it, else PFX.
    fn parse(bytes: &[u8], password: Option<&str>) -> Result<Self, &'static str> {
        let pem = memchr::memmem::find(bytes, b"-----BEGIN ").is_some();
        if pem { Self::from_pem(bytes) } else { Self::from_pfx(bytes, password) }
    }

    fn from_pem(bytes: &[u8]) -> Result<Self, &'static str> {
        if <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).any(|section| section.is_err()) {
            return Err("is not valid PEM");
        }
        if memchr::memmem::find(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some() {
            return Err("has an encrypted private key, which is not supported in PEM; use a PFX, or decrypt the key");
        }
        let key = match PrivateKeyDer::from_pem_slice(bytes).map_err(|_| "has no private key")? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Sec1(_) | _ => return Err(NOT_RSA),
        };
        let certificates = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).map(|der| der.to_vec());
        Self::matching(key.map_err(rejected)?, certificates)
    }

    fn from_pfx(bytes: &[u8], password: Option<&str>) -> Result<Self, &'static str> {
        let archive = Pkcs12Archive::from_pkcs12(bytes, password.unwrap_or_default()).map_err(|error| {
            let sealed = matches!(error, PfxError::MacError(_) | PfxError::UnpadError | PfxError::Pkcs5Error(_));
            match password {
                Some(_) if sealed => "does not open with the password given",
                None if sealed => "needs a password, and none is configured",
                Some(_) | None => "is neither PEM nor a PFX that is understood",
            }
        })?;
        let key = archive.keys.first().ok_or("has no private key")?;
        let key = RsaKeyPair::from_pkcs8(key.key.as_der()).map_err(rejected)?;
        Self::matching(key, archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()))
    }

    /// The certificate that holds the key's public half, wherever it stands in a chain.
    fn matching(key: RsaKeyPair, certificates: impl Iterator<Item = Vec<u8>>) -> Result<Self, &'static str> {
        let mut any = false;
        for certificate in certificates {
            if memchr::memmem::find(&certificate, key.public().as_ref()).is_some() {
                return Ok(Self { key, certificate });
            }
            any = true;
        }
        Err(if any { "has no certificate that belongs to its private key" } else { "has no certificate" })
    }

    /// A signed assertion: <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>.
    fn assertion(&self, client: &str, endpoint: &str) -> Result<String, VaultError> {
        let failed = |_| VaultError::new(VaultErrorKind::Unavailable(Outage::Internal), "signing the assertion failed");
        let random = SystemRandom::new();
        let mut id = [0u8; 16];
        random.fill(&mut id).map_err(failed)?;
        let thumbprint = ring::digest::digest(&ring::digest::SHA256, &self.certificate);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": BASE64URL.encode(thumbprint) });
        let claims = json!({
            "aud": endpoint,
            "iss": client,
            "sub": client,
            "jti": BASE64URL.encode(id),
            "nbf": now,
            "iat": now,
            "exp": now + ASSERTION_LIFE.as_secs(),
        });
        let signed = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&signature::RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).map_err(failed)?;
        Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
    }
}

const NOT_RSA: &str = "has a private key that is not RSA, and Entra takes RSA alone";

fn rejected(error: ring::error::KeyRejected) -> &'static str {
    // ring tells its reasons by text only; these are its constants.
    match error.to_string().as_str() {
        "WrongAlgorithm" | "InvalidEncoding" => NOT_RSA,
        "TooSmall" => "has an RSA key shorter than 2048 bits",
        _ => "has a private key that cannot be used",
    }
}
