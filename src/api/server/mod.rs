//! Accepting connections, serving them, and letting go of them.
//!
//! Accepting is here; `capacity` says how many there may be, `connection` serves one of them, and `answer` one request of
//! its. Accepting waits for no place and for nobody's doing: where there are no places left, [`Room`] tells who goes, and
//! over TCP a turn is waited for until those have heard of it. A machine that runs out of file descriptors slows accepting
//! down and never ends it, and who idles goes. Shutting down accepts nothing new, ends what idles, finishes what is under
//! way, and tells what did not finish in time.

mod answer;
mod capacity;
mod connection;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use capacity::Capacity;
use connection::Guest;

use super::Api;
use super::guard::{Connection, Guard};
use super::listener::{Listener, Stream, Tls};
use super::patience::Phase;
use super::room::{Party, Room};
use super::strangers::{PERIOD, Strangers};
use crate::metrics::Metrics;
use crate::tasks::keep;

/// Bounds on what callers may hold, and for how long.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// What all listeners have together.
    pub capacity: Capacity,
    /// How long a connection may idle between two requests, at least; at most twice that. 75 seconds.
    pub keep_alive: Duration,
    /// How long requests under way may take to finish once shutdown began. 5 seconds.
    pub grace: Duration,
    /// How long, once shutdown began, a connection that is new or idles is waited for: the request that is on its way is
    /// answered, as the connection's last. 1 second; at most [`ServeOptions::grace`].
    pub linger: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            capacity: Capacity::default(),
            keep_alive: Duration::from_secs(75),
            grace: Duration::from_secs(5),
            linger: Duration::from_secs(1),
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their request did not end within the grace.
    pub cut: usize,
}

/// What every connection is served with. Cheap to clone.
#[derive(Clone)]
struct Serving {
    api: Api,
    guard: Arc<Guard>,
    metrics: Metrics,
    builder: http1::Builder,
    keep_alive: Duration,
    linger: Duration,
    capacity: Capacity,
    strangers: Strangers,
    connections: TaskTracker,
    /// No new requests.
    closing: CancellationToken,
    /// The grace is over.
    cut: CancellationToken,
}

/// Serves until `shutdown` is cancelled, then drains: sockets that are still ours are removed, so that nobody new comes;
/// who is in a listener's queue by then is let in; the listeners are closed; what is under way, or on its way, is
/// answered, and every answer says that it is its connection's last.
pub async fn serve(
    listeners: Vec<Listener>,
    api: impl Into<Api>,
    guard: Guard,
    metrics: Metrics,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> Drained {
    let serving = Serving::new(api.into(), guard, metrics, &options, shutdown);
    let mut accepting = JoinSet::new();
    let mut all_tls: Vec<&Tls> = listeners.iter().filter_map(Listener::tls).collect();
    all_tls.dedup_by(|one, other| one.is(other));
    for tls in all_tls {
        let (serving, tls) = (serving.clone(), tls.clone());
        accepting.spawn(async move {
            let watch = keep("tls files", &serving.metrics, || tls.clone().watch());
            serving.closing.run_until_cancelled(watch).await;
        });
    }
    for listener in listeners {
        let serving = serving.clone();
        accepting.spawn(async move {
            keep("accepting", &serving.metrics, || serving.clone().accept(&listener)).await;
            for (stream, connection, party) in listener.close() {
                serving.begin(stream, connection, party);
            }
        });
    }
    let counting = serving.clone();
    accepting.spawn(async move {
        let count = keep("strangers", &counting.metrics, || counting.clone().count_strangers());
        counting.closing.run_until_cancelled(count).await;
    });
    while accepting.join_next().await.is_some() {}
    serving.closing.cancelled().await;
    serving.connections.close();
    let drained = tokio::time::timeout(options.grace, serving.connections.wait()).await;
    let cut = if drained.is_ok() { 0 } else { serving.connections.len() };
    serving.cut.cancel();
    serving.connections.wait().await;
    serving.tell_strangers();
    if cut > 0 {
        tracing::warn!(connections = cut, "requests did not finish within the grace and were cut");
    }
    Drained { cut }
}

/// Serves a connection that no listener has accepted, to its end.
#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
pub(super) async fn serve_one<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    connection: Connection,
    api: Api,
    guard: Guard,
    metrics: Metrics,
) {
    let options = ServeOptions::default();
    let serving = Serving::new(api, guard, metrics, &options, CancellationToken::new());
    if let Some(guest) = serving.guest(connection, Party::Nobody) {
        serving.connection(stream, guest).await;
    }
}

impl Serving {
    fn new(api: Api, guard: Guard, metrics: Metrics, options: &ServeOptions, closing: CancellationToken) -> Self {
        let mut builder = http1::Builder::new();
        // No timer of hyper's: it would make and drop one for every request. Patience has its own.
        builder.max_buf_size(64 * 1024).max_header_size(32 * 1024);
        Self {
            api,
            guard: Arc::new(guard),
            metrics,
            builder,
            keep_alive: options.keep_alive,
            linger: options.linger,
            capacity: options.capacity.clone(),
            strangers: Strangers::default(),
            connections: TaskTracker::new(),
            closing,
            cut: CancellationToken::new(),
        }
    }

    /// Tells the audit, time and again, how many of those who were not let in have no line of their own.
    async fn count_strangers(self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.tell_strangers();
        }
    }

    fn tell_strangers(&self) {
        let api = self.api.0.load();
        self.strangers.left_out().into_iter().for_each(|left_out| api.audit().leave_out(&left_out));
    }

    async fn accept(self, listener: &Listener) {
        let mut pause = FIRST_PAUSE;
        loop {
            let next = async {
                if listener.is_in_turn() {
                    self.capacity.room.settled().await;
                }
                listener.accept().await
            };
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = next => accepted,
            };
            let (stream, connection, party) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_the_peers(&error) => continue,
                Err(error) => {
                    tracing::warn!(listener = listener.address(), %error, "accepting a connection failed; trying again");
                    self.capacity.room.relieve();
                    tokio::select! {
                        () = self.closing.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LAST_PAUSE);
                    continue;
                }
            };
            pause = FIRST_PAUSE;
            self.begin(stream, connection, party);
        }
    }

    /// Serves it on a task of its own, if there is a place for it.
    fn begin(&self, stream: Stream, connection: Connection, party: Party) {
        let Some(mut guest) = self.guest(connection, party) else { return self.metrics.connection_ended("refused") };
        let serving = self.clone();
        self.connections.spawn(async move {
            match stream {
                Stream::Unix(stream) => serving.connection(stream, guest).await,
                Stream::Tcp(stream) => serving.connection(stream, guest).await,
                Stream::Tls(stream, tls) => {
                    // On the heap: others need not have the room for it.
                    let encrypted = Box::pin(async move {
                        if let Some(stream) = serving.shake_hands(stream, &tls, &mut guest).await {
                            serving.connection(stream, guest).await;
                        }
                    });
                    encrypted.await;
                }
            }
        });
    }

    /// A place for it, and what goes with it.
    fn guest(&self, connection: Connection, party: Party) -> Option<Guest> {
        // Children, not clones: a token's waiters share one lock, which every connection would take at every turn.
        let closing = self.closing.child_token();
        let Capacity { room, spare, probes, .. } = &self.capacity;
        let phase = Phase::new();
        let enter = |room: &Room| room.enter(party, phase.clone(), closing.clone());
        let (seat, is_spare) = match connection {
            Connection::Metrics => enter(probes).map(|seat| (seat, false)),
            _ => enter(room).map(|seat| (seat, false)).or_else(|| enter(spare).map(|seat| (seat, true))),
        }?;
        Some(Guest { connection, party, phase, closing, seat, is_spare, over: None })
    }
}

/// After a failure that is the machine's: as long as that before the next try, doubled from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Whether it is that one connection that failed, not accepting.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
