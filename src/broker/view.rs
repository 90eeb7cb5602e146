//! Other views of a value that is held: one field of a JSON value, a certificate as PEM. Made from the value itself,
//! so that no view ever waits on the network, and as a [`SecretValue`] again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::{Pointer, Secret, SecretValue};

/// Why a value cannot be seen that way. Tells nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A field was asked of a value that is not JSON, or that has no such field.
    #[error("the value has no field {pointer}: {reason}")]
    Field {
        /// As it was asked for.
        pointer: String,
        /// Not JSON, or nothing there.
        reason: &'static str,
    },
    /// PEM was asked of a secret that is no certificate.
    #[error("the secret is not a certificate: {0}")]
    NotCertificate(&'static str),
}

/// One field of a JSON value: a string without its quotes, anything else as JSON text.
///
/// # Errors
/// If the value is not JSON or has no such field.
pub fn field(secret: &Secret, pointer: &Pointer) -> Result<SecretValue, ViewError> {
    let fail = |reason| ViewError::Field { pointer: pointer.as_str().to_owned(), reason };
    let root: serde_json::Value =
        serde_json::from_slice(&secret.value.expose()).map_err(|_| fail("the value is not JSON"))?;
    match root.pointer(pointer.as_str()).ok_or_else(|| fail("there is nothing at that place"))? {
        serde_json::Value::String(text) => Ok(SecretValue::new(text.as_str())),
        other => Ok(SecretValue::new(other.to_string())),
    }
}

/// A certificate-backed secret as PEM: private key, certificate, chain. A value that is PEM already is given as it is.
///
/// # Errors
/// If the secret is neither PFX nor PEM.
pub fn pem(secret: &Secret) -> Result<SecretValue, ViewError> {
    let value = secret.value.expose();
    if value.starts_with(b"-----BEGIN ") {
        return Ok(SecretValue::new(value));
    }
    let pfx = Zeroizing::new(STANDARD.decode(value.trim_ascii()).map_err(|_| NOT_PFX)?);
    let store = p12_keystore::KeyStore::from_pkcs12(&pfx, "", p12_keystore::Pkcs12ImportPolicy::Relaxed)
        .map_err(|_| NOT_PFX)?;
    let mut out = Zeroizing::new(String::new());
    for (_, entry) in store.entries() {
        match entry {
            p12_keystore::KeyStoreEntry::PrivateKeyChain(chain) => {
                push_pem(&mut out, "PRIVATE KEY", chain.key().as_der());
                for certificate in chain.certs() {
                    push_pem(&mut out, "CERTIFICATE", certificate.as_der());
                }
            }
            p12_keystore::KeyStoreEntry::Certificate(certificate) => {
                push_pem(&mut out, "CERTIFICATE", certificate.as_der());
            }
            p12_keystore::KeyStoreEntry::Secret(_) => {}
        }
    }
    if out.is_empty() { Err(NOT_PFX) } else { Ok(SecretValue::new(out.as_bytes())) }
}

const NOT_PFX: ViewError = ViewError::NotCertificate("its value is neither PEM nor a PFX without a password");

/// RFC 7468: 64 characters a line.
fn push_pem(out: &mut String, label: &str, der: &[u8]) {
    let text = Zeroizing::new(STANDARD.encode(der));
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
}
