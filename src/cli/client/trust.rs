//! Over TLS: whom to trust, and who we are. Files alone, as no flag or variable holds a secret.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};
use zeroize::Zeroizing;

use crate::cli::args::Connect;
use crate::cli::{Context, Exit, Failure};

/// The files that say so.
#[derive(Debug, Default)]
pub(super) struct Trust {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Trust {
    pub(super) fn of(context: &Context, connect: &Connect) -> Self {
        let of = |name: &str| context.vars.get(name).map(PathBuf::from);
        Self {
            ca: connect.ca_file.clone().or_else(|| of("SIDEKEY_CA_FILE")),
            cert: of("SIDEKEY_CLIENT_CERT"),
            key: of("SIDEKEY_CLIENT_KEY"),
        }
    }

    /// A client that trusts the authorities of the file, else the system's, and shows the certificate if there is one.
    pub(super) fn give(&self, builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
        let authorities = match &self.ca {
            Some(file) => Certificate::from_pem_bundle(&read(file)?)
                .ok()
                .filter(|all| !all.is_empty())
                .ok_or_else(|| fault(file, "holds no certificate that can be used"))?,
            None => {
                let system = rustls_native_certs::load_native_certs().certs;
                system.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
            }
        };
        let builder = builder.tls_certs_only(authorities);
        let (cert, key) = match (&self.cert, &self.key) {
            (None, None) => return Ok(builder),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) | (None, Some(_)) => {
                let what = "SIDEKEY_CLIENT_CERT and SIDEKEY_CLIENT_KEY go together";
                return Err(Failure::new(Exit::Usage, what));
            }
        };
        let mut both = Zeroizing::new(read(key)?);
        both.push(b'\n');
        both.extend_from_slice(&read(cert)?);
        let identity = Identity::from_pem(&both).map_err(|_| fault(cert, "and its key cannot be used"))?;
        Ok(builder.identity(identity))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::io(&format!("reading {}", file.display()), &error))
}

fn fault(file: &Path, what: &str) -> Failure {
    Failure::new(Exit::Config, format!("{} {what}", file.display()))
}
