//! Where callers connect: a unix socket by default, TCP if asked for. Bound here, or by systemd, and served elsewhere.
//!
//! Must never happen: a socket that is open to more than was asked for, even for a moment; a live sidecar's socket or
//! somebody else's file removed; a TCP port on anything but loopback without TLS, but for one that tells no secret's name.

mod passed;
mod queue;
mod tcp;
mod tls;
mod unix;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use passed::{Passed, PassedSocket};
pub(super) use queue::Stream;
pub use tcp::{bind_metrics, bind_tcp, bind_tls};
pub use tls::{CertificateNames, ServedAs, Tls, TlsError, TlsFiles};
pub use unix::{Group, TakeOver, UnixOptions, bind_unix, bind_unix_beside};

/// Where connections come from. Dropping a unix listener removes its socket, if it is still the one that was bound.
pub struct Listener(Kind);

enum Kind {
    Unix(tokio::net::UnixListener, Name),
    Tcp(tokio::net::TcpListener, SocketAddr, Door),
}

/// A unix socket's name in the file system.
enum Name {
    Ours(unix::Place),
    /// Whoever bound it takes it away.
    Anothers(PathBuf),
}

/// What is behind a TCP port.
#[derive(Clone)]
enum Door {
    /// Everything, for callers on this machine.
    Plain,
    /// Everything, for callers from elsewhere.
    Tls(Tls),
    /// Health and metrics alone.
    Metrics,
}

impl Listener {
    /// What was bound, for a log or a greeting: the socket's path or the address with its port.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.0 {
            Kind::Unix(_, Name::Ours(place)) => place.path().display().to_string(),
            Kind::Unix(_, Name::Anothers(path)) => path.display().to_string(),
            Kind::Tcp(_, address, Door::Plain) => address.to_string(),
            Kind::Tcp(_, address, Door::Tls(_)) => format!("https://{address}"),
            Kind::Tcp(_, address, Door::Metrics) => format!("{address} (health and metrics)"),
        }
    }

    /// The TCP port; `None` for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.0 {
            Kind::Unix(..) => None,
            Kind::Tcp(_, address, _) => Some(address.port()),
        }
    }

    /// Whether who comes waits for a turn where others come too fast, and is not refused.
    pub(super) fn is_in_turn(&self) -> bool {
        match &self.0 {
            Kind::Tcp(_, _, Door::Plain | Door::Tls(_)) => true,
            Kind::Unix(..) | Kind::Tcp(_, _, Door::Metrics) => false,
        }
    }

    /// What it speaks TLS with.
    pub(super) fn tls(&self) -> Option<&Tls> {
        match &self.0 {
            Kind::Tcp(_, _, Door::Tls(tls)) => Some(tls),
            Kind::Unix(..) | Kind::Tcp(_, _, Door::Plain | Door::Metrics) => None,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.address()).finish()
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers there.
    #[error(
        "socket {path} is taken: another process is listening on it; stop it, take it over with --take-over, or choose another with --socket"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// A process of another user answers there.
    #[error("socket {path} is another user's, and is not taken over; choose another with --socket")]
    AnotherUsers {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket stands there. It is not removed.
    #[error("{path} exists and is not a socket; choose another with --socket")]
    NotASocket {
        /// What stands there.
        path: PathBuf,
    },
    /// Linux takes at most 107 bytes.
    #[error("socket path {path} has {length} bytes; 107 is the most")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// Anybody could put a socket of their own in our place.
    #[error("directory {directory} of the socket can be written by everybody; run: chmod o-w {directory}")]
    OpenDirectory {
        /// The socket's directory.
        directory: PathBuf,
    },
    /// The group that shall own the socket is not in `/etc/group`.
    #[error("group {0:?}, which shall own the socket, does not exist")]
    NoGroup(String),
    /// The socket cannot be made.
    #[error("socket {path}: {action} failed: {error}")]
    Unix {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// Only loopback is served without TLS.
    #[error("{0} is not loopback; only 127.0.0.1 and [::1] are served without TLS")]
    NotLoopback(SocketAddr),
    /// A socket that this process was started with cannot be listened on.
    #[error("a socket that was passed by systemd cannot be listened on: {error}")]
    Passed {
        /// Why not.
        error: io::Error,
    },
    /// Only sockets with a path have a mode that keeps others out.
    #[error("a socket that was passed by systemd has no path; name one with ListenStream=/run/…")]
    Nameless,
    /// Another process has the port.
    #[error("port {} is in use on {}; choose another with --tcp", .0.port(), .0.ip())]
    PortInUse(SocketAddr),
    /// The port cannot be bound.
    #[error("listening on {address} failed: {error}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
}
