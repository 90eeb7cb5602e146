//! Connections: the first byte tells TLS from plain HTTP, the name asked for in the handshake tells hosts that do not
//! exist, and a connection can be cut as a fault.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::route;
use super::world::{VaultHost, World};

/// The first byte of every TLS record that opens a connection.
const TLS_HANDSHAKE: u8 = 0x16;
/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Accepts and serves until it is told to stop.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) world: Arc<World>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Connections {
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    self.world.calls.connection();
                    let serving = self.clone().serve(tcp, peer);
                    self.tasks.spawn(serving);
                }
                Err(error) => {
                    // Out of file descriptors, mostly: wait for some to come free rather than spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(self, tcp: TcpStream, peer: SocketAddr) {
        let stop = self.stop.clone();
        let served = tokio::select! {
            served = self.hand_over(tcp) => served,
            () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(2)).await } => return,
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    async fn hand_over(&self, tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let mut first = [0];
        let peeked = tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            peeked = tokio::time::timeout(PATIENCE, tcp.peek(&mut first)) => peeked,
        };
        let Ok(read) = peeked else { return Ok(()) };
        if read? == 0 {
            return Ok(());
        }
        let cut = Cut::default();
        let wire = Wire { tcp, cut: cut.clone() };
        if first[0] != TLS_HANDSHAKE {
            return self.http(wire, false, cut).await;
        }
        let handshake = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire);
        let start = tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            start = tokio::time::timeout(PATIENCE, handshake) => start,
        };
        let Ok(start) = start else { return Ok(()) };
        let start = start?;
        let name = start.client_hello().server_name().map(str::to_ascii_lowercase);
        if let Some(name) = name
            && let VaultHost::Unknown = self.world.vault_of_host(&name)
        {
            // In Azure the name would not resolve; the nearest that can be done behind a resolver override.
            cut.cut();
            return Ok(());
        }
        let tls = start.into_stream(self.tls.clone()).await?;
        self.http(tls, true, cut).await
    }

    async fn http(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send, tls: bool, cut: Cut) -> io::Result<()> {
        let service = service_fn(|request| route::answer(self.world.clone(), request, tls, cut.clone()));
        let mut builder = hyper::server::conn::http1::Builder::new();
        let connection =
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served.map_err(io::Error::other),
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await.map_err(io::Error::other)
    }
}

/// Cuts a connection: once asked to, it ends by a reset rather than in peace.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A TCP connection that may end by a reset.
#[derive(Debug)]
struct Wire {
    tcp: TcpStream,
    cut: Cut,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.cut.is_cut() {
            // A close without lingering sends RST; if it cannot be set, the peer sees an end instead.
            SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).ok();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_cut() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
