//! Managed secrets: the secret half of a certificate, as Key Vault keeps it.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, Pkcs12ImportPolicy, PrivateKey, PrivateKeyChain};
use rcgen::{CertificateParams, DnType, KeyPair};

/// The content type of a PFX in base64, without a password.
pub(super) const PFX_TYPE: &str = "application/x-pkcs12";
/// The content type of a PEM.
pub(super) const PEM_TYPE: &str = "application/x-pem-file";

/// A new key with a self-signed certificate for that subject, as a PFX without a password, in base64.
pub(super) fn pfx(subject: &str) -> io::Result<String> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(vec![subject.to_owned()]).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, subject);
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    let certificate = Certificate::from_der(certificate.der()).map_err(io::Error::other)?;
    let private = PrivateKey::from_der(key.serialized_der()).map_err(io::Error::other)?;
    let chain = PrivateKeyChain::new(subject.as_bytes(), private, [certificate]);
    let mut store = KeyStore::new();
    store.add_entry(subject, KeyStoreEntry::PrivateKeyChain(chain));
    Ok(STANDARD.encode(store.writer("").write().map_err(io::Error::other)?))
}

/// The same key and certificates as PEM; `None` if the text is no such PFX.
pub(super) fn pem_of_pfx(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).ok()?;
    let store = KeyStore::from_pkcs12(&bytes, "", Pkcs12ImportPolicy::Strict).ok()?;
    let (_, chain) = store.private_key_chain()?;
    let mut pem = block("PRIVATE KEY", chain.key().as_der());
    for certificate in chain.certs() {
        pem.push_str(&block("CERTIFICATE", certificate.as_der()));
    }
    Some(pem)
}

fn block(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut block = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        block.push_str(&String::from_utf8_lossy(line));
        block.push('\n');
    }
    block + &format!("-----END {label}-----\n")
}
