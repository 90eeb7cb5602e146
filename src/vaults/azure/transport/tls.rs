//! Whom to trust: the system's roots and the configured ones. TLS 1.2 and later, by ring, named here explicitly so that nothing
//! depends on a process-wide default provider having been installed.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::roots::SystemRoots;
use crate::vaults::azure::SetupError;

/// The TLS settings of every connection of a source.
pub(super) fn client_config(system: &SystemRoots, extra_ca: Option<&Path>) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    // A system's store may hold relics that no verifier takes; they are no reason not to start.
    roots.add_parsable_certificates(system.certificates());
    if let Some(path) = extra_ca {
        add_file(&mut roots, path)?;
    }
    config(roots)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), SetupError> {
    let malformed = |reason| SetupError::CaMalformed { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|source| SetupError::CaUnreadable { path: path.to_owned(), source })?;
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| malformed("is not valid PEM"))?;
        roots.add(certificate).map_err(|_| malformed("holds a certificate that cannot be used as a CA"))?;
        found = true;
    }
    if found { Ok(()) } else { Err(malformed("holds no certificate in PEM form")) }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, SetupError> {
    if roots.is_empty() {
        return Err(SetupError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Client(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_trust_is_an_error_and_not_a_panic() {
        assert!(matches!(config(RootCertStore::empty()), Err(SetupError::NoRoots)));
    }

    #[test]
    fn a_ca_file_that_holds_no_certificate_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN NOTHING-----\n").unwrap();
        let error = client_config(&SystemRoots::read(), Some(file.path())).expect_err("not a CA file");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
        let error =
            client_config(&SystemRoots::read(), Some(Path::new("/nonexistent/ca.pem"))).expect_err("no such file");
        assert!(matches!(error, SetupError::CaUnreadable { .. }));
    }
}
