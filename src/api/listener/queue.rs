//! Taking connections from a listener's queue: one after the other, and, at the end, all that are left in it.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use super::{Kind, Listener};
use crate::api::guard::{Connection, Peer};
use crate::kernel::peer_groups;

/// One connection.
pub(in crate::api) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// As many are taken from a queue that is to be closed at most: it holds no more, and on TCP more keep coming.
const MOST: usize = 2_048;

impl Listener {
    /// The next connection.
    pub(in crate::api) async fn accept(&self) -> io::Result<(Stream, Connection)> {
        match &self.0 {
            Kind::Unix(listener, _) => listener.accept().await.map(|(stream, _)| of_unix(stream)),
            Kind::Tcp(listener, address) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Connection::Tcp { port: address.port() }))
            }
        }
    }

    /// Closes it, and gives those who were connected and not yet let in: the system would break their connections off.
    /// Whatever name it has goes first, so that who comes now is told at once that nobody is there, or finds whoever took
    /// its place.
    pub(in crate::api) fn close(self) -> Vec<(Stream, Connection)> {
        // The system is asked itself: the runtime may not know yet of the last ones.
        match self.0 {
            Kind::Unix(listener, place) => {
                drop(place);
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                rest(|| {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(of_unix(UnixStream::from_std(stream)?))
                })
            }
            Kind::Tcp(listener, address) => {
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                rest(|| {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok((Stream::Tcp(TcpStream::from_std(stream)?), Connection::Tcp { port: address.port() }))
                })
            }
        }
    }
}

/// Until there is none, or none can be had.
fn rest(mut accept: impl FnMut() -> io::Result<(Stream, Connection)>) -> Vec<(Stream, Connection)> {
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

fn of_unix(stream: UnixStream) -> (Stream, Connection) {
    // Not knowing them lets nobody in.
    let groups: Arc<[u32]> = peer_groups(&stream).unwrap_or_default().into();
    let peer = stream.peer_cred().ok().map(|peer| Peer { uid: peer.uid(), gid: peer.gid(), groups });
    (Stream::Unix(stream), Connection::Unix(peer))
}
