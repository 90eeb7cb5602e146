//! One connection, from its handshake to its end.
//!
//! Must never happen: a byte of a request parsed of a peer that nobody can be; a connection closed upon while its request is
//! on its way.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::header::{CONNECTION, HeaderValue};
use futures::{FutureExt as _, poll};
use hyper::body::Body as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Serving;
use crate::api::guard::Connection;
use crate::api::listener::{Shaken, Tls};
use crate::api::patience::{Doing, Patient, Phase};
use crate::api::room::{Leave, Party, Seat};
use crate::api::roused::Roused;

/// One connection.
pub(super) struct Guest {
    pub(super) connection: Connection,
    pub(super) party: Party,
    pub(super) phase: Phase,
    /// No more requests on it.
    pub(super) closing: CancellationToken,
    pub(super) seat: Seat,
    /// It has a spare place: for a probe, or to be told to come back.
    pub(super) is_spare: bool,
    /// Cancelled when the certificate that it has shown may be good no more.
    pub(super) over: Option<CancellationToken>,
}

impl Guest {
    /// Resolves when the certificate that it has shown may be good no more.
    async fn outlived(&self) {
        match &self.over {
            Some(over) => over.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when others need its place.
    async fn displaced(&self) {
        self.closing.cancelled().await;
        if self.seat.leaves().is_none() {
            std::future::pending().await
        }
    }
}

impl Serving {
    /// The encrypted stream, unless the handshake fails, takes too long, or others need its place.
    pub(super) async fn shake_hands(
        &self,
        stream: TcpStream,
        tls: &Tls,
        guest: &mut Guest,
    ) -> Option<TlsStream<TcpStream>> {
        guest.phase.listened();
        let shaken = tokio::select! {
            shaken = tls.accept(stream) => shaken,
            () = guest.displaced() => {
                self.metrics.connection_ended("displaced");
                return None;
            }
            () = self.cut.cancelled() => return None,
        };
        // Why is the peer's own affair, and often noise: scanners, and those who speak no TLS.
        let Ok((stream, Shaken { certificate, served, over })) = shaken else {
            self.metrics.connection_ended("handshake");
            return None;
        };
        guest.over = certificate.is_some().then_some(over);
        if let Connection::Tcp { port } = guest.connection {
            guest.connection = Connection::Tls { port, certificate: certificate.map(Arc::new), served };
        }
        Some(stream)
    }

    pub(super) async fn connection<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S, guest: Guest) {
        let Guest { phase, closing, seat, .. } = &guest;
        let io = TokioIo::new(Patient::new(stream, phase.clone(), self.keep_alive));
        let cut = self.cut.child_token();
        let builder = self.builder.clone();
        let last = AtomicBool::new(guest.is_spare);
        let visitor = self.guard.visitor(&guest.connection);
        // Before a byte of a request is parsed.
        if self.guard.turns_away(&guest.connection, &visitor) {
            self.metrics.refused("unknown-peer");
            return;
        }
        let service = service_fn(|request| {
            phase.begin();
            self.answer(request, &guest, &visitor).map(|mut response| {
                if last.load(Ordering::Relaxed) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                // A stream of events goes on for as long as it likes.
                if response.size_hint().exact().is_some() {
                    phase.end();
                }
                Ok::<_, Infallible>(response)
            })
        });
        let mut served = pin!(builder.serve_connection(io, service));
        let closed = pin!(closing.cancelled());
        tokio::select! {
            biased;
            // Its errors are the peer's: it went away, was too slow, or spoke no HTTP.
            _ = served.as_mut() => return,
            () = Roused::new(closed) => last.store(true, Ordering::Relaxed),
            () = guest.outlived() => {
                // Nothing more is asked on it. What is under way was asked by one who was let in.
                last.store(true, Ordering::Relaxed);
                served.as_mut().graceful_shutdown();
                tokio::select! {
                    _ = served => {}
                    () = cut.cancelled() => {}
                    () = guest.displaced() => self.metrics.connection_ended("cut"),
                }
                return;
            }
        }
        match seat.leaves() {
            Some(Leave::Now) => return self.metrics.connection_ended("cut"),
            // One look more: to be closed upon with a request in the same moment is a failed read.
            Some(Leave::Soon) if poll!(served.as_mut()).is_ready() || phase.doing() != Doing::Something => {
                return self.metrics.connection_ended("displaced");
            }
            Some(Leave::Soon) => seat.lingers(),
            None => {}
        }
        // Who has just connected, or has an idle connection, may be sending a request in this moment; to be closed upon
        // then is a failed read.
        tokio::select! {
            _ = served.as_mut() => return,
            () = cut.cancelled() => return,
            () = tokio::time::sleep(self.linger) => {}
        }
        if phase.is_new() {
            return;
        }
        // Half a head is a request on its way, and hyper would call it idle.
        if !phase.is_partial() {
            served.as_mut().graceful_shutdown();
        }
        tokio::select! {
            _ = served => {}
            () = cut.cancelled() => {}
        }
    }
}
