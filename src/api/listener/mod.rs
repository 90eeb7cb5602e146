//! Where callers connect: a unix socket by default, loopback TCP if asked for. Bound here, served elsewhere.
//!
//! Must never happen: a socket that is open to more than was asked for, even for a moment; a live sidecar's socket or
//! somebody else's file removed; a TCP port bound on anything but loopback.

mod queue;
mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) use queue::Stream;
pub use tcp::bind_tcp;
pub use unix::{Group, TakeOver, UnixOptions, bind_unix, bind_unix_beside};

/// Where connections come from. Dropping a unix listener removes its socket, if it is still the one that was bound.
pub struct Listener(Kind);

enum Kind {
    Unix(tokio::net::UnixListener, unix::Place),
    Tcp(tokio::net::TcpListener, SocketAddr),
}

impl Listener {
    /// What was bound, for a log or a greeting: the socket's path or the address with its port.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.0 {
            Kind::Unix(_, place) => place.path().display().to_string(),
            Kind::Tcp(_, address) => address.to_string(),
        }
    }

    /// The TCP port; `None` for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.0 {
            Kind::Unix(..) => None,
            Kind::Tcp(_, address) => Some(address.port()),
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
