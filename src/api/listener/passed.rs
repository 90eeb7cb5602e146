//! Sockets that were opened before us, by systemd (`sidekey.socket`): they are listened on while we are down, so that a
//! restart fails no connect, and may be where we could not bind ourselves.
//!
//! Must never happen: a rule that holds for a socket of our own passed over for one that was handed to us; the file of a
//! socket that another process bound taken away.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::Socket;

use super::tcp::limit_hops;
use super::{Door, Kind, ListenError, Listener, Name, Tls};

/// Sockets that this process was started with.
#[derive(Debug, Default)]
pub struct Passed {
    /// All of them, each with its name.
    pub sockets: Vec<PassedSocket>,
    /// How many were no stream sockets.
    pub strange: usize,
}

/// One of them.
#[derive(Debug)]
pub enum PassedSocket {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP port.
    Tcp(TcpListener),
    /// A TCP port that `FileDescriptorName=metrics` stands with.
    Metrics(TcpListener),
}

impl Passed {
    /// Takes them over, as `LISTEN_FDS` and `LISTEN_PID` tell, and takes the variables away. `names` is what
    /// `LISTEN_FDNAMES` held. To be called before there are threads.
    #[must_use]
    pub fn take(names: Option<&str>) -> Self {
        let mut all = ListenFd::from_env();
        let mut passed = Self::default();
        let mut names = names.unwrap_or_default().split(':');
        for at in 0..all.len() {
            let is_metrics = names.next() == Some("metrics");
            let socket = match (all.take_unix_listener(at), all.take_tcp_listener(at)) {
                (Ok(Some(unix)), _) => PassedSocket::Unix(unix),
                (_, Ok(Some(tcp))) if is_metrics => PassedSocket::Metrics(tcp),
                (_, Ok(Some(tcp))) => PassedSocket::Tcp(tcp),
                _ => {
                    passed.strange += 1;
                    continue;
                }
            };
            passed.sockets.push(socket);
        }
        passed
    }
}

impl PassedSocket {
    /// Listens on it; with `tls` where that is given, and only then on another address than loopback.
    ///
    /// # Errors
    /// If it is a TCP port that must not be served so, or is no socket that can be listened on.
    pub fn listen(self, tls: Option<&Tls>) -> Result<Listener, ListenError> {
        match self {
            Self::Unix(socket) => unix(socket),
            Self::Metrics(socket) => tcp(socket, Door::Metrics),
            Self::Tcp(socket) => {
                let address = socket.local_addr().map_err(|error| ListenError::Passed { error })?;
                match tls {
                    Some(tls) => tcp(socket, Door::Tls(tls.clone())),
                    None if address.ip().is_loopback() => tcp(socket, Door::Plain),
                    None => Err(ListenError::NotLoopback(address)),
                }
            }
        }
    }
}

fn unix(socket: UnixListener) -> Result<Listener, ListenError> {
    let failed = |error| ListenError::Passed { error };
    let path = socket.local_addr().map_err(failed)?.as_pathname().map(Path::to_owned);
    // Everybody in the network namespace may connect to one that has no path: no mode stands before it.
    let path: PathBuf = path.ok_or(ListenError::Nameless)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let listener = tokio::net::UnixListener::from_std(socket).map_err(failed)?;
    Ok(Listener(Kind::Unix(listener, Name::Anothers(path))))
}

fn tcp(socket: TcpListener, door: Door) -> Result<Listener, ListenError> {
    let failed = |error| ListenError::Passed { error };
    let address: SocketAddr = socket.local_addr().map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let socket = Socket::from(socket);
    limit_hops(&socket, address).map_err(failed)?;
    socket.set_tcp_nodelay(true).map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(socket.into()).map_err(failed)?;
    Ok(Listener(Kind::Tcp(listener, address, door)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_to_a_port_that_was_passed_leave_as_those_to_ours_do() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = PassedSocket::Tcp(socket).listen(None).unwrap();
        let Kind::Tcp(listener, ..) = listener.0 else { panic!("a TCP listener") };
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert_eq!((socket.ttl_v4().unwrap(), socket.tcp_nodelay().unwrap()), (1, true));
    }
}
