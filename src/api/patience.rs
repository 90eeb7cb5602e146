//! How long a connection is waited for, phase by phase.
//!
//! A new connection must bring its first head within [`HEAD`], and so must a later head from its first byte on: who
//! connects and is silent, or drips, does not hold a place. Between requests a connection may idle for longer; that is
//! hyper's own timer, which starts anew with every head it waits for. hyper alone cannot tell these apart.
//!
//! A connection that was answered costs no timer: one is armed only if a head arrives in pieces.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// From the connection, or from a later head's first byte, to the head's end.
pub(super) const HEAD: Duration = Duration::from_secs(5);

/// Where a connection is. Shared between its stream and its service.
#[derive(Clone, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

/// Nothing has been asked yet.
const NEW: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// The last request was answered.
const IDLE: u8 = 2;
/// Some bytes of the next head have come.
const PARTIAL: u8 = 3;

impl Phase {
    /// A head is complete.
    pub(super) fn begin(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// Its response is made.
    pub(super) fn end(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    /// Whether nothing was ever asked.
    pub(super) fn is_new(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NEW
    }
}

/// A stream that ends when a head takes too long.
pub(super) struct Patient<S> {
    stream: S,
    phase: Phase,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, phase: Phase) -> Self {
        Self { stream, phase, deadline: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let phase = this.phase.0.load(Ordering::Relaxed);
        if read.is_ready() {
            if buffer.filled().len() > before && phase == IDLE {
                this.phase.0.store(PARTIAL, Ordering::Relaxed);
            }
            return read;
        }
        if phase != NEW && phase != PARTIAL {
            this.deadline = None;
            return Poll::Pending;
        }
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD)));
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
