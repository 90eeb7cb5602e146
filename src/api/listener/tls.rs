//! TLS for callers from elsewhere: our certificate, and theirs as evidence of who they are.
//!
//! The files are read again when they change, while connections go on. What somebody writes into them must never leave us
//! without a certificate, or with half of one: what worked last is used until something newer does, and each fault is
//! told once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);
/// From the connection to the handshake's end.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A file that is longer is no certificate or key.
const LONGEST: u64 = 1024 * 1024;

/// Where certificates and keys are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities whose clients are known by their certificates; `None`: nobody's are asked for.
    pub client_ca: Option<PathBuf>,
    /// Which of the clients' certificates their authorities have revoked: a list of each authority that signs clients.
    /// `None`: they are good until they expire.
    pub client_crl: Option<PathBuf>,
    /// Whether nobody is let in without a certificate of theirs.
    pub certificate_required: bool,
}

/// Why TLS cannot be spoken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    /// The file that is at fault.
    pub path: PathBuf,
    /// What is wrong with it, without a word of what it holds.
    pub reason: String,
}

/// What a listener speaks TLS with. A cheap handle.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    now: ArcSwap<Edition>,
    /// The fault that was told last.
    told: Mutex<Option<TlsError>>,
}

struct Edition {
    /// Of what all the files held.
    digest: [u8; 32],
    acceptor: TlsAcceptor,
    served: ServedAs,
    /// Of what tells whose clients are let in.
    authorities: [u8; 32],
    /// Others are let in by now, or fewer.
    over: CancellationToken,
}

/// The names that a client's certificate holds. Its authority vouches for them; what they allow is another question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// Subject alternative names that are host names.
    pub dns: Vec<String>,
    /// And those that are URIs, such as SPIFFE ids.
    pub uris: Vec<String>,
}

/// The certificate that a connection was served with: what a `Host` may be. A cheap handle.
#[derive(Clone)]
pub struct ServedAs(Arc<Leaf>);

struct Leaf {
    certificate: CertificateDer<'static>,
    /// The name that was asked for first, as nearly all are.
    usual: OnceLock<Box<str>>,
}

impl Tls {
    /// With what these files hold now.
    ///
    /// # Errors
    /// If one of them cannot be read, or is not what it must be, or the key is not the certificate's.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let now = ArcSwap::from_pointee(contents.edition(&files)?);
        Ok(Self(Arc::new(Inner { files, now, told: Mutex::default() })))
    }

    /// Looks at the files every few seconds.
    pub(in crate::api) async fn watch(self) {
        loop {
            sleep(LOOK).await;
            let this = self.clone();
            // A share that hangs holds up this look, and nothing else.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Takes in what the files hold now, if it is new and whole.
    pub fn look(&self) {
        let Inner { files, now, told } = &*self.0;
        let edition = Contents::read(files).and_then(|contents| {
            if contents.digest() == now.load().digest { Ok(None) } else { contents.edition(files).map(Some) }
        });
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        match edition {
            Ok(edition) => {
                *told = None;
                if let Some(mut edition) = edition {
                    let before = now.load_full();
                    let is_as_before = edition.authorities == before.authorities;
                    if is_as_before {
                        edition.over = before.over.clone();
                    }
                    now.store(Arc::new(edition));
                    if !is_as_before {
                        before.over.cancel();
                    }
                    tracing::info!(cert = %files.cert.display(), "the TLS files have changed and are in use");
                }
            }
            Err(error) => {
                if told.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the TLS files have changed and cannot be used; what they held is used on");
                }
                *told = Some(error);
            }
        }
    }

    /// The encrypted stream, and what the handshake has told.
    pub(in crate::api) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Shaken)> {
        let edition = self.0.now.load_full();
        let stream = timeout(HANDSHAKE, edition.acceptor.accept(stream)).await??;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(CertificateNames::of);
        Ok((stream, Shaken { certificate, served: edition.served.clone(), over: edition.over.clone() }))
    }

    /// Whether both are the same handle.
    pub(in crate::api) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What a handshake has told.
pub(in crate::api) struct Shaken {
    /// The names that the client has proved.
    pub(in crate::api) certificate: Option<CertificateNames>,
    /// What it was served with.
    pub(in crate::api) served: ServedAs,
    /// Cancelled when the authorities of clients, or what they have revoked, are others: whom they let in may be one
    /// whom they would not any more.
    pub(in crate::api) over: CancellationToken,
}

impl CertificateNames {
    /// Called with one that was verified.
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else { return Self::default() };
        Self {
            dns: parsed.valid_dns_names().map(str::to_owned).collect(),
            uris: parsed.valid_uri_names().map(str::to_owned).collect(),
        }
    }
}

impl ServedAs {
    /// Whether the certificate holds that name or address, without a port.
    pub(in crate::api) fn is(&self, host: &str) -> bool {
        if self.0.usual.get().is_some_and(|usual| **usual == *host) {
            return true;
        }
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let Ok(name) = ServerName::try_from(bare) else { return false };
        let holds = EndEntityCert::try_from(&self.0.certificate)
            .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok());
        if holds {
            let _ = self.0.usual.set(host.into());
        }
        holds
    }
}

impl PartialEq for ServedAs {
    fn eq(&self, other: &Self) -> bool {
        self.0.certificate == other.0.certificate
    }
}

impl Eq for ServedAs {}

impl fmt::Debug for ServedAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedAs").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

/// What the files held at one moment.
struct Contents {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(&files.cert)?,
            key: Zeroizing::new(read(&files.key)?),
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
            client_crl: files.client_crl.as_deref().map(read).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        digest([&self.cert, &self.key, &self.authorities()])
    }

    fn authorities(&self) -> [u8; 32] {
        digest([&self.client_ca, &self.client_crl].map(|file| file.as_deref().unwrap_or_default()))
    }

    fn edition(&self, files: &TlsFiles) -> Result<Edition, TlsError> {
        let at = |path: &Path, reason: &str| TlsError { path: path.to_owned(), reason: reason.to_owned() };
        let chain = certificates(&files.cert, &self.cert)?;
        let leaf = chain.first().cloned().ok_or_else(|| at(&files.cert, "holds no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| at(&files.key, "holds no private key that is not itself encrypted"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = match (&files.client_ca, &self.client_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, pem)? {
                    roots.add(authority).map_err(|_| at(path, "holds a certificate that is no authority's"))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match (&files.client_crl, &self.client_crl) {
                    // Of whom no list tells, or none that is not over, is not let in: whoever holds the new ones back must
                    // not make an old certificate good again.
                    (Some(path), Some(pem)) => verifier
                        .with_crls(revoked(path, pem)?)
                        .only_check_end_entity_revocation()
                        .enforce_revocation_expiration(),
                    _ => verifier,
                };
                let verifier = if files.certificate_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| match error {
                    VerifierBuilderError::InvalidCrl(_) => {
                        at(files.client_crl.as_ref().unwrap_or(path), "holds a revocation list that is none")
                    }
                    _ => at(path, "holds no certificate"),
                })?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|_| at(&files.key, "is not the certificate's key, or of no kind that is supported"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let served = ServedAs(Arc::new(Leaf { certificate: leaf, usual: OnceLock::new() }));
        let (digest, authorities) = (self.digest(), self.authorities());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Edition { digest, acceptor, served, authorities, over: CancellationToken::new() })
    }
}

fn digest<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut all = Context::new(&SHA256);
    for part in parts {
        all.update(&part.len().to_le_bytes());
        all.update(part);
    }
    all.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
    all.map_err(|_| TlsError { path: path.to_owned(), reason: "holds a certificate that is cut or garbled".to_owned() })
}

fn revoked(path: &Path, pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let at = |reason: &str| TlsError { path: path.to_owned(), reason: reason.to_owned() };
    let all = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|_| at("holds a revocation list that is cut or garbled"))?;
    if all.is_empty() { Err(at("holds no revocation list")) } else { Ok(all) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let at = |reason: String| TlsError { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| at(format!("cannot be read: {}", error.kind())))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| at(format!("cannot be read: {}", error.kind())))?;
    if bytes.len() as u64 > LONGEST {
        return Err(at("has more than 1 MiB".to_owned()));
    }
    Ok(bytes)
}
