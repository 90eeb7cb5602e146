//! `sidekey emulator`: an estate from a file, served until told to stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{Emulator, Estate, EstateFault};

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The estate's file; `None`: the demo's.
    pub estate: Option<PathBuf>,
    /// Where to write the authority's certificate, PEM.
    pub ca_out: Option<PathBuf>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The estate's file cannot be read.
    #[error("cannot read the estate {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The estate has faults.
    #[error("the estate {} has {}", path.display(), Faults(faults))]
    Estate {
        /// The file.
        path: PathBuf,
        /// All of them.
        faults: Vec<EstateFault>,
    },
    /// The address is not loopback: everything that the emulator serves is open to who reaches it.
    #[error("{0} is not a loopback address, and the emulator must never face a network; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be written.
    #[error("cannot write the certificate to {}", path.display())]
    CaOut {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Serves until `shutdown` is done; `started` is told once requests are taken and the certificate is written.
///
/// # Errors
/// If it cannot start; nothing is served then.
pub async fn serve(
    options: ServeOptions,
    started: impl FnOnce(&Emulator),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let ServeOptions { listen, estate, ca_out } = options;
    if !listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(listen));
    }
    let estate = match estate {
        Some(path) => read(&path)?,
        None => Estate::demo(OffsetDateTime::now_utc()),
    };
    let cannot_listen = |source| ServeError::Listen { addr: listen, source };
    let listener = std::net::TcpListener::bind(listen).map_err(cannot_listen)?;
    let emulator = Emulator::start(estate, listener).map_err(cannot_listen)?;
    if let Some(path) = ca_out {
        std::fs::write(&path, emulator.ca_pem()).map_err(|source| ServeError::CaOut { path, source })?;
    }
    started(&emulator);
    shutdown.await;
    emulator.stop().await;
    Ok(())
}

fn read(path: &Path) -> Result<Estate, ServeError> {
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ServeError::Read { path, source }),
    };
    Estate::parse(&text).map_err(|faults| ServeError::Estate { path, faults })
}

/// How many, then each on a line of its own.
struct Faults<'f>(&'f [EstateFault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.0.len();
        write!(f, "{faults} {}:", if faults == 1 { "fault" } else { "faults" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
