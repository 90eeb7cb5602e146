//! Taking connections from a listener's queue: one after the other, and, at the end, all that are left in it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use super::{Door, Kind, Listener, Tls};
use crate::api::guard::{Connection, Peer};
use crate::api::room::Party;
use crate::kernel::peer_groups;

/// One connection.
pub(in crate::api) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// The handshake is still to come.
    Tls(TcpStream, Tls),
}

/// As many are taken from a queue that is to be closed at most: it holds no more, and on TCP more keep coming.
const MOST: usize = 4_200;

/// One that was taken from it, how it came, and whose it is.
type Accepted = (Stream, Connection, Party);

impl Listener {
    /// The next connection.
    pub(in crate::api) async fn accept(&self) -> io::Result<Accepted> {
        match &self.0 {
            Kind::Unix(listener, _) => listener.accept().await.map(|(stream, _)| of_unix(stream)),
            Kind::Tcp(listener, address, door) => {
                let (stream, from) = listener.accept().await?;
                Ok(of_tcp(stream, from, address.port(), door))
            }
        }
    }

    /// The next connection to a unix socket, for who speaks something else than HTTP there.
    ///
    /// # Errors
    /// The system's own, or `Unsupported` of what is no unix socket.
    pub(crate) async fn accept_unix(&self) -> io::Result<(UnixStream, Option<Peer>)> {
        match self.accept().await? {
            (Stream::Unix(stream), Connection::Unix(peer), _) => Ok((stream, peer)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// As [`Listener::close`], for the same.
    pub(crate) fn close_unix(self) -> Vec<(UnixStream, Option<Peer>)> {
        let rest = self.close().into_iter();
        rest.filter_map(|accepted| match accepted {
            (Stream::Unix(stream), Connection::Unix(peer), _) => Some((stream, peer)),
            _ => None,
        })
        .collect()
    }

    /// Closes it, and gives those who were connected and not yet let in: the system would break their connections off.
    /// Whatever name it has goes first, so that who comes now is told at once that nobody is there, or finds whoever took
    /// its place.
    pub(in crate::api) fn close(self) -> Vec<Accepted> {
        // The system is asked itself: the runtime may not know yet of the last ones.
        match self.0 {
            Kind::Unix(listener, name) => {
                drop(name);
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                rest(|| {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(of_unix(UnixStream::from_std(stream)?))
                })
            }
            Kind::Tcp(listener, address, door) => {
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                rest(|| {
                    let (stream, from) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(of_tcp(TcpStream::from_std(stream)?, from, address.port(), &door))
                })
            }
        }
    }
}

/// Until there is none, or none can be had.
fn rest(mut accept: impl FnMut() -> io::Result<Accepted>) -> Vec<Accepted> {
    let mut all = Vec::new();
    while all.len() < MOST {
        match accept() {
            Ok(accepted) => all.push(accepted),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(_) => break,
        }
    }
    all
}

fn of_unix(stream: UnixStream) -> Accepted {
    // Not knowing them lets nobody in.
    let groups: Arc<[u32]> = peer_groups(&stream).unwrap_or_default().into();
    let peer = stream.peer_cred().ok().map(|peer| Peer { uid: peer.uid(), gid: peer.gid(), groups });
    let party = peer.as_ref().map_or(Party::Nobody, |peer| Party::User(peer.uid));
    (Stream::Unix(stream), Connection::Unix(peer), party)
}

fn of_tcp(stream: TcpStream, from: SocketAddr, port: u16, door: &Door) -> Accepted {
    let party = Party::of_address(from.ip());
    match door {
        Door::Plain => (Stream::Tcp(stream), Connection::Tcp { port }, party),
        Door::Metrics => (Stream::Tcp(stream), Connection::Metrics, party),
        // Who it is, the handshake tells.
        Door::Tls(tls) => (Stream::Tls(stream, tls.clone()), Connection::Tcp { port }, party),
    }
}
