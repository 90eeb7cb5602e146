use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustls::pki_types::CertificateDer;
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

/// The authorities that this machine trusts. A cheap handle.
#[derive(Debug, Clone)]
pub struct SystemRoots(Arc<[CertificateDer<'static>]>);

/// Being read for whoever asks next.
static AHEAD: Mutex<Option<JoinHandle<SystemRoots>>> = Mutex::new(None);

impl SystemRoots {
    /// As they are now, or as they were when [`SystemRoots::read_ahead`] was called, if nobody has asked since.
    #[must_use]
    pub fn read() -> Self {
        let ahead = AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take();
        ahead.map_or_else(Self::load, joined)
    }

    /// Begins to read them, on a thread of its own: they are some 150 files, and take longer than all else before the first
    /// sign-in.
    pub fn read_ahead() {
        // Where there is no thread to be had, who asks reads them.
        let thread = thread::Builder::new().name("roots".to_owned()).spawn(Self::load);
        *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = thread.ok();
    }

    fn load() -> Self {
        let told = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
        let found = if told { vec![load_native_certs()] } else { side_by_side() };
        for error in found.iter().flat_map(|found| &found.errors) {
            tracing::debug!(%error, "a system CA certificate was not loaded");
        }
        let mut certificates: Vec<_> = found.into_iter().flat_map(|found| found.certs).collect();
        // Most stand in the bundle and in the folder.
        certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        certificates.dedup();
        Self(certificates.into())
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.0.iter().cloned()
    }
}

/// Where they usually are: a bundle, and a folder with a file for each, which takes the longest.
fn side_by_side() -> Vec<CertificateResult> {
    let places = openssl_probe::probe();
    thread::scope(|scope| {
        let folder = |folder| move || load_certs_from_paths(None, Some(folder));
        let folders: Vec<_> = places.cert_dir.iter().map(|path| scope.spawn(folder(Path::new(path)))).collect();
        let bundle = load_certs_from_paths(places.cert_file.as_deref(), None);
        let folders = folders.into_iter().map(|folder| folder.join().unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(bundle).chain(folders).collect()
    })
}

fn joined(thread: JoinHandle<SystemRoots>) -> SystemRoots {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_what_would_be_read() {
        SystemRoots::read_ahead();
        let (ahead, now) = (SystemRoots::read(), SystemRoots::read());
        assert_eq!(ahead.0, now.0);
        let mut all = load_native_certs().certs;
        all.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        all.dedup();
        assert_eq!(*now.0, *all, "and what the library finds by itself");
    }
}
