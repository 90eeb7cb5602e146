//! How long a connection is waited for, phase by phase.
//!
//! A new connection must bring its first head within [`HEAD`], and so must a later head from its first byte on: who
//! connects and is silent, or drips, does not hold a place. Between requests a connection may idle for longer. Who asks
//! and does not take the answer is let go after [`STALL`] without a byte taken.
//!
//! A busy connection pays for none of this: no timer is set or moved for a request. One is armed when a head arrives
//! in pieces; the one for idling is set once and looks, when it rings, whether anything was asked since.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::leftover::Leftover;
use super::roused::Roused;
use crate::clock::Moment;

/// From the connection, or from a later head's first byte, to the head's end.
pub(super) const HEAD: Duration = Duration::from_secs(5);

/// Of an answer that its reader does not take: from one byte taken to the next.
const STALL: Duration = Duration::from_secs(10);

/// Where a connection is. Shared between its stream, its service, and who looks for somebody to displace.
#[derive(Clone)]
pub(super) struct Phase(Arc<Shared>);

struct Shared {
    now: AtomicU8,
    /// Something was let in on it.
    known: AtomicBool,
    /// It is known where its heads lie. Once false, it stays so.
    forgetful: AtomicBool,
    /// Requests so far.
    asked: AtomicU64,
    /// When it came, was first listened to, or its last head was complete: a moment's number.
    since: AtomicU64,
}

/// What a connection is doing, to who looks for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It brings nothing, or the answer is made and not taken.
    Nothing {
        /// Something was let in on it before.
        known: bool,
        /// It was listened to, so that the silence is its own: a request may lie unread where there is much to do.
        heard: bool,
    },
    /// A request is being answered.
    Something,
}

/// Nothing has been asked yet.
const NEW: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// The last request was answered.
const IDLE: u8 = 2;
/// Some bytes of the next head have come.
const PARTIAL: u8 = 3;
/// Nothing has been asked yet, though it was listened to.
const SILENT: u8 = 4;

impl Phase {
    /// Of a connection that has just come.
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            now: AtomicU8::new(NEW),
            known: AtomicBool::new(false),
            forgetful: AtomicBool::new(true),
            asked: AtomicU64::new(0),
            since: AtomicU64::new(Moment::now().to_number()),
        }))
    }

    /// When it came, was first listened to, or its last head was complete.
    pub(super) fn since(&self) -> Moment {
        Moment::of_number(self.0.since.load(Ordering::Relaxed))
    }

    /// What it is doing.
    pub(super) fn doing(&self) -> Doing {
        match self.now() {
            BUSY => Doing::Something,
            now => Doing::Nothing { known: self.0.known.load(Ordering::Relaxed), heard: now != NEW },
        }
    }

    /// It was listened to, and has brought nothing, or not all of its first head.
    pub(super) fn listened(&self) {
        if self.now() == NEW {
            self.0.since.store(Moment::now().to_number(), Ordering::Relaxed);
            self.set(SILENT);
        }
    }

    /// A request was let in.
    pub(super) fn let_in(&self) {
        if !self.0.known.load(Ordering::Relaxed) {
            self.0.known.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nothing is left of a head, and of a token in it, if its request is dropped before more is looked for. Else the
    /// request is best kept until then: a buffer that is shared cannot be copied on into a larger one, and is wiped when the
    /// request gives it back. What came in pieces may still lie in a buffer that has grown, until the connection ends.
    pub(super) fn forgets_its_head(&self) -> bool {
        self.0.forgetful.load(Ordering::Relaxed)
    }

    /// Its heads lie where nobody knows from here.
    fn keeps_its_heads(&self) {
        self.0.forgetful.store(false, Ordering::Relaxed);
    }

    /// A head is complete.
    pub(super) fn begin(&self) {
        self.set(BUSY);
        self.0.since.store(Moment::now().to_number(), Ordering::Relaxed);
        // One request at a time: nobody else adds.
        self.0.asked.store(self.asked() + 1, Ordering::Relaxed);
    }

    /// Its response is made.
    pub(super) fn end(&self) {
        self.set(IDLE);
    }

    /// Whether nothing was ever asked.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.now(), NEW | SILENT)
    }

    /// Whether some bytes of a head have come, and not all.
    pub(super) fn is_partial(&self) -> bool {
        self.now() == PARTIAL
    }

    fn now(&self) -> u8 {
        self.0.now.load(Ordering::Relaxed)
    }

    fn set(&self, now: u8) {
        self.0.now.store(now, Ordering::Relaxed);
    }

    fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::Relaxed)
    }
}

/// A stream that ends when a head takes too long, or none comes.
pub(super) struct Patient<S> {
    stream: S,
    phase: Phase,
    keep_alive: Duration,
    /// For a head that is awaited or has come in part.
    head: Option<Pin<Box<Sleep>>>,
    /// For idling.
    idle: Option<Idle>,
    /// While the peer takes nothing of what is written to it.
    stall: Option<Pin<Box<Sleep>>>,
    leftover: Leftover,
}

struct Idle {
    timer: Roused<Pin<Box<Sleep>>>,
    /// How many requests there had been when it was last set, if the connection was idle then.
    asked: Option<u64>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, phase: Phase, keep_alive: Duration) -> Self {
        Self { stream, phase, keep_alive, head: None, idle: None, stall: None, leftover: Leftover::default() }
    }

    /// Whether patience has ended, while nothing is there to be read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.phase.listened();
        let phase = self.phase.now();
        if phase == SILENT || phase == PARTIAL {
            let head = self.head.get_or_insert_with(|| Box::pin(sleep(HEAD)));
            return head.as_mut().poll(cx);
        }
        self.head = None;
        // Set while the request is being answered: hyper does not ask again when the answer is out.
        let begin = || Idle { timer: Roused::new(Box::pin(sleep(self.keep_alive))), asked: None };
        let Idle { timer, asked } = self.idle.get_or_insert_with(begin);
        while timer.poll_unpin(cx).is_ready() {
            let now = (phase == IDLE).then(|| self.phase.asked());
            if now.is_some() && now == *asked {
                return Poll::Ready(());
            }
            *asked = now;
            timer.change().as_mut().reset(Instant::now() + self.keep_alive);
        }
        Poll::Pending
    }

    /// What a write came to, or its end if the peer has taken nothing for too long.
    fn unless_stalled<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_pending() {
            this.leftover.wipe(buffer);
            return this.poll_end(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if !this.leftover.read(buffer) {
            this.phase.keeps_its_heads();
        }
        if buffer.filled().len() > before && this.phase.now() == IDLE {
            this.phase.set(PARTIAL);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What encrypts takes bytes before the peer does, and sends them only here.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::leftover::FIRST_BUFFER;
    use super::*;

    /// What a reader gets who takes a byte each so many seconds.
    async fn taken(pause: u64) -> (io::Result<()>, usize) {
        let (mut reader, ours) = duplex(1);
        let mut patient = Patient::new(ours, Phase::new(), Duration::from_secs(75));
        let write = async move { patient.write_all(b"slow and steady").await };
        let read = async move {
            let mut all = 0;
            loop {
                sleep(Duration::from_secs(pause)).await;
                match reader.read(&mut [0]).await {
                    Ok(1) => all += 1,
                    _ => return all,
                }
            }
        };
        tokio::join!(write, read)
    }

    #[tokio::test]
    async fn nothing_of_a_head_is_left_where_it_was_read_to() {
        let (mut peer, ours) = duplex(64);
        let mut patient = Patient::new(ours, Phase::new(), Duration::from_secs(75));
        let mut memory = [0; 128];
        for head in [&b"GET / HTTP/1.1\r\nauthorization: Bearer a-token"[..], b"short"] {
            peer.write_all(head).await.unwrap();
            assert_eq!(patient.read(&mut memory).await.unwrap(), head.len());
        }
        assert!(
            memory[5..].contains(&b'B') && patient.phase.forgets_its_head(),
            "the second has not covered the first"
        );
        assert!(patient.read(&mut memory).now_or_never().is_none(), "nothing more has come");
        assert_eq!(memory, [0; 128]);
    }

    #[tokio::test]
    async fn a_buffer_that_was_filled_is_never_trusted_again() {
        let (mut peer, ours) = duplex(64 * 1024);
        let mut patient = Patient::new(ours, Phase::new(), Duration::from_secs(75));
        let mut memory = vec![0; FIRST_BUFFER];
        for (sent, forgets) in [(100, true), (FIRST_BUFFER, false), (100, false)] {
            peer.write_all(&vec![b'x'; sent]).await.unwrap();
            assert_eq!(patient.read(&mut memory).await.unwrap(), sent);
            assert_eq!(patient.phase.forgets_its_head(), forgets, "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_waited_for_from_one_byte_taken_to_the_next() {
        let (written, bytes) = taken(STALL.as_secs() - 1).await;
        assert!(written.is_ok() && bytes == 15, "{written:?} {bytes}");
        let (written, bytes) = taken(STALL.as_secs() + 1).await;
        assert!(written.is_err() && bytes < 3, "{written:?} {bytes}");
    }
}
