//! Whom this machine trusts: some 150 files, which are read once for all sources of a configuration.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

/// The authorities that this machine trusts. A cheap handle.
#[derive(Debug, Clone)]
pub struct SystemRoots(Arc<[CertificateDer<'static>]>);

impl SystemRoots {
    /// As they are now. Takes milliseconds.
    #[must_use]
    pub fn read() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a system CA certificate was not loaded");
        }
        Self(found.certs.into())
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.0.iter().cloned()
    }
}
