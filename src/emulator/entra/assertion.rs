//! Client assertions: a JWT that the app signed with its certificate, or that somebody it trusts signed for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use time::OffsetDateTime;
use webpki::{EndEntityCert, RawPublicKeyEntity};

use super::error::Refusal;
use super::{HOSTS, Tenant};
use crate::emulator::estate::App;

#[derive(Deserialize)]
struct Header {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    // RFC 7519 allows fractions, and Microsoft's Python client sends them.
    exp: f64,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Clocks may differ by so much (seconds).
const SKEW: f64 = 300.0;

/// Whether an assertion proves that the caller is the app.
pub(super) fn check(app: &App, tenant: &Tenant, assertion: &str) -> Result<(), Refusal> {
    let parts: Vec<_> = assertion.trim().split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err(Refusal::malformed_assertion()) };
    let signed = &assertion.trim()[..header.len() + 1 + claims.len()];
    let header: Header = part(header)?;
    let claims: Claims = part(claims)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::malformed_assertion())?;
    let proof = Proof { header: &header, signed: signed.as_bytes(), signature: &signature };
    let now = OffsetDateTime::now_utc() - OffsetDateTime::UNIX_EPOCH;
    let now = now.as_seconds_f64();
    if claims.exp + SKEW < now || claims.nbf.is_some_and(|not_before| not_before > now + SKEW) {
        return Err(Refusal::assertion_time());
    }
    if claims.iss.eq_ignore_ascii_case(&app.id) {
        by_certificate(app, tenant, &claims, &proof)
    } else {
        federated(app, &claims, &proof)
    }
}

struct Proof<'a> {
    header: &'a Header,
    signed: &'a [u8],
    signature: &'a [u8],
}

impl Proof<'_> {
    /// The algorithms that Entra takes; never `none`.
    fn algorithm(&self) -> Option<&'static dyn SignatureVerificationAlgorithm> {
        use webpki::ring;
        match self.header.alg.as_str() {
            "RS256" => Some(ring::RSA_PKCS1_2048_8192_SHA256),
            "PS256" => Some(ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
            "ES256" => Some(ring::ECDSA_P256_SHA256),
            _ => None,
        }
    }

    fn verify(&self, verify: impl FnOnce(&'static dyn SignatureVerificationAlgorithm, &[u8]) -> bool) -> bool {
        // A JWT's ECDSA signature is two bare numbers; verification wants them in DER.
        let signature = match self.header.alg.as_str() {
            "ES256" => ecdsa_der(self.signature),
            _ => Some(self.signature.to_vec()),
        };
        self.algorithm().zip(signature).is_some_and(|(algorithm, signature)| verify(algorithm, &signature))
    }
}

fn by_certificate(app: &App, tenant: &Tenant, claims: &Claims, proof: &Proof<'_>) -> Result<(), Refusal> {
    if !claims.sub.eq_ignore_ascii_case(&app.id) {
        return Err(Refusal::assertion_subject());
    }
    let told = proof.header.x5t_s256.as_ref().or(proof.header.x5t.as_ref()).map_or("", String::as_str);
    let named = |der: &[u8]| {
        let sha256 = URL_SAFE_NO_PAD.encode(digest(&SHA256, der));
        let sha1 = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der));
        match (&proof.header.x5t_s256, &proof.header.x5t) {
            (Some(given), _) => given.trim_end_matches('=') == sha256,
            (None, Some(given)) => given.trim_end_matches('=') == sha1,
            (None, None) => false,
        }
    };
    let Some(certificate) = app.certificates.iter().find(|der| named(der)) else {
        return Err(Refusal::unknown_certificate("The key was not found.", told));
    };
    let certificate = CertificateDer::from(certificate.as_slice());
    let verified = EndEntityCert::try_from(&certificate).is_ok_and(|certificate| {
        proof.verify(|algorithm, signature| certificate.verify_signature(algorithm, proof.signed, signature).is_ok())
    });
    if !verified {
        return Err(Refusal::unknown_certificate(
            "The key was found, but use of the key to verify the signature failed.",
            told,
        ));
    }
    if claims.audiences().any(|audience| names_token_endpoint(audience, tenant)) {
        Ok(())
    } else {
        Err(Refusal::assertion_audience())
    }
}

fn federated(app: &App, claims: &Claims, proof: &Proof<'_>) -> Result<(), Refusal> {
    let trusted: Vec<_> = app.federated.iter().filter(|trusted| trusted.issuer == claims.iss).collect();
    if trusted.is_empty() {
        return Err(Refusal::federated_issuer(&claims.iss));
    }
    let Some(trusted) = trusted.into_iter().find(|trusted| trusted.subject == claims.sub) else {
        return Err(Refusal::federated_subject(&claims.sub));
    };
    if !claims.audiences().any(|audience| audience == trusted.audience) {
        return Err(Refusal::federated_audience(claims.audiences().next().unwrap_or_default()));
    }
    let Some(key) = &trusted.public_key else { return Ok(()) };
    let key = SubjectPublicKeyInfoDer::from(key.as_slice());
    let verified = RawPublicKeyEntity::try_from(&key).is_ok_and(|key| {
        proof.verify(|algorithm, signature| key.verify_signature(algorithm, proof.signed, signature).is_ok())
    });
    if verified {
        Ok(())
    } else {
        Err(Refusal::unknown_certificate("The signature does not verify with the issuer's key.", ""))
    }
}

impl Claims {
    fn audiences(&self) -> impl Iterator<Item = &str> {
        match &self.aud {
            Audience::One(one) => std::slice::from_ref(one).iter(),
            Audience::Many(many) => many.iter(),
        }
        .map(String::as_str)
    }
}

/// Whether an `aud` is this tenant's token endpoint, in one of the forms that Entra takes.
fn names_token_endpoint(audience: &str, tenant: &Tenant) -> bool {
    let Some(url) = url::Url::parse(audience).ok().filter(|url| url.scheme() == "https") else { return false };
    let host = url.host_str().unwrap_or_default();
    let mut path = url.path_segments().into_iter().flatten();
    let named = path.next().unwrap_or_default();
    let rest: Vec<_> = path.filter(|segment| !segment.is_empty()).collect();
    (HOSTS.contains(&host) || host == "localhost" || host == "127.0.0.1")
        && (named.eq_ignore_ascii_case(&tenant.id) || tenant.domain.as_deref() == Some(named))
        && matches!(rest[..], [] | ["v2.0"] | ["oauth2", "token"] | ["oauth2", "v2.0", "token"])
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::malformed_assertion())?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::malformed_assertion())
}

/// `r || s` as an ASN.1 sequence of two integers (P-256: every length fits in one byte).
fn ecdsa_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 64 {
        return None;
    }
    let integer = |bytes: &[u8]| {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
        let mut digits = bytes[start..].to_vec();
        if digits[0] & 0x80 != 0 {
            digits.insert(0, 0);
        }
        let mut der = vec![0x02, u8::try_from(digits.len()).expect("at most 33 bytes")];
        der.extend(digits);
        der
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let mut der = vec![0x30, u8::try_from(body.len()).expect("at most 70 bytes")];
    der.extend(body);
    Some(der)
}
