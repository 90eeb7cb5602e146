//! Accepting connections, serving them, and letting go of them.
//!
//! Every request passes here in the same order: guard, route, the headers that every answer carries. What a handler
//! does wrong is that request's 500 and nothing else. Accepting never waits for anybody: where there are no places left,
//! [`Room`] tells who goes. A machine that runs out of file descriptors slows accepting down and never ends it, and who
//! idles goes. Shutting down accepts nothing new, ends what idles, finishes what is under way, and tells what
//! did not finish in time.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use futures::{FutureExt as _, StreamExt as _, poll};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::guard::{Connection, Guard, is_probe};
use super::listener::{Listener, Stream, Tls};
use super::load::{Cost, Load, overloaded};
use super::patience::{Doing, Patient, Phase};
use super::problem::{Code, Problem, REQUEST_ID};
use super::room::{Leave, Party, Room, Seat, slack};
use super::routes::secrets::{self, Place};
use super::trail::Trail;
use super::{Api, Routes, routes};
use crate::access::{Caller, Visitor};
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

/// Places for connections and requests, which all that serve with it share. A cheap handle.
#[derive(Clone)]
pub struct Capacity {
    room: Room,
    /// For who finds no place there: probes are answered, everything else is told to come back.
    spare: Room,
    /// Of the listener that tells health and metrics alone.
    probes: Room,
    load: Load,
}

impl Capacity {
    /// Connections at once, where the configuration says nothing.
    pub const CONNECTIONS: usize = 4_096;
    /// Requests that wait for vaults at once, where the configuration says nothing.
    pub const REQUESTS: usize = 1_024;

    /// So many connections at once, and so many requests that wait for vaults.
    #[must_use]
    pub fn new(connections: usize, requests: usize) -> Self {
        let [spare, probes] = Self::beside(connections).map(Room::spare);
        Self { room: Room::new(connections), spare, probes, load: Load::new(requests) }
    }

    /// Connections that there may be in all, for so many places: with those in spare places and those that are leaving.
    #[must_use]
    pub fn most(connections: usize) -> usize {
        let all = Self::beside(connections).into_iter().chain([connections]);
        all.map(|places| places + 2 * slack(places)).sum()
    }

    /// Spare places, and those of the listener that tells health and metrics: a kubelet's, a scraper's or two.
    fn beside(connections: usize) -> [usize; 2] {
        [64, 32].map(|most| (connections / 16).clamp(2, most))
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(Self::CONNECTIONS, Self::REQUESTS)
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capacity").finish_non_exhaustive()
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
    while accepting.join_next().await.is_some() {}
    serving.closing.cancelled().await;
    serving.connections.close();
    let drained = tokio::time::timeout(options.grace, serving.connections.wait()).await;
    let cut = if drained.is_ok() { 0 } else { serving.connections.len() };
    serving.cut.cancel();
    serving.connections.wait().await;
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
            connections: TaskTracker::new(),
            closing,
            cut: CancellationToken::new(),
        }
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
        let phase = room.phase();
        let enter = |room: &Room| room.enter(party, phase.clone(), closing.clone());
        let (seat, is_spare) = match connection {
            Connection::Metrics => enter(probes).map(|seat| (seat, false)),
            _ => enter(room).map(|seat| (seat, false)).or_else(|| enter(spare).map(|seat| (seat, true))),
        }?;
        Some(Guest { connection, party, phase, closing, seat, is_spare })
    }

    /// The encrypted stream, unless the handshake fails, takes too long, or others need its place.
    async fn shake_hands(&self, stream: TcpStream, tls: &Tls, guest: &mut Guest) -> Option<TlsStream<TcpStream>> {
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
        let Ok((stream, certificate, served)) = shaken else {
            self.metrics.connection_ended("handshake");
            return None;
        };
        if let Connection::Tcp { port } = guest.connection {
            guest.connection = Connection::Tls { port, certificate: certificate.map(Arc::new), served };
        }
        Some(stream)
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S, guest: Guest) {
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
            let answer = self.answer(request, &guest, &visitor);
            async {
                let mut response = answer.await;
                if last.load(Ordering::Relaxed) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                // A stream of events goes on for as long as it likes.
                if response.size_hint().exact().is_some() {
                    phase.end();
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut served = pin!(builder.serve_connection(io, service));
        tokio::select! {
            // Its errors are the peer's: it went away, was too slow, or spoke no HTTP.
            _ = served.as_mut() => return,
            () = closing.cancelled() => last.store(true, Ordering::Relaxed),
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

    async fn answer(&self, request: Request<Incoming>, guest: &Guest, visitor: &Visitor) -> Response<Body> {
        // One and the same for all of this request, whatever is replaced meanwhile.
        let api = self.api.0.load();
        let audit = api.audit();
        let (trail, route, mut response) = match self.let_in(&request, guest, visitor) {
            Err(Refusal { problem, is_last }) => {
                self.metrics.refused(problem.code().as_str());
                let trail = Trail::of_stranger(request.headers(), &guest.connection, audit);
                let problem = trail.refuse_unrouted(audit, request.uri().path(), problem).await;
                let mut response = problem.into_response();
                if is_last {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (trail, "refused", response)
            }
            Ok(caller) => {
                let trail = Trail::new(request.headers(), caller.clone(), audit);
                let uri = request.uri().clone();
                // What a handler leaves half done when it panics is dropped with it.
                let handled = self.handle(request, &api, guest, caller, &trail);
                match AssertUnwindSafe(handled).catch_unwind().await {
                    Ok((route, response)) => (trail, route, response),
                    // What the panic said may hold anything: it goes nowhere. Where it was, the panic hook tells.
                    Err(_) => {
                        let problem = Problem::new(Code::Internal, "a fault of sidekey's own");
                        let problem = trail.refuse_unrouted(audit, uri.path(), problem).await;
                        (trail, "panicked", problem.into_response())
                    }
                }
            }
        };
        if response.status() == StatusCode::FORBIDDEN {
            self.metrics.refused(Code::Forbidden.as_str());
        }
        self.metrics.request(route, response.status().as_u16());
        if let Some(id) = trail.id() {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        harden(response.headers_mut());
        response
    }

    /// What is cheap to tell comes first: who is one too many is told so before a token is looked at. What no caller of ours
    /// would send is its connection's last: what follows it may be another's, or part of it.
    fn let_in(&self, request: &Request<Incoming>, guest: &Guest, visitor: &Visitor) -> Result<Caller, Refusal> {
        let knocked = self.guard.knock(request, &guest.connection);
        knocked.map_err(|problem| Refusal { problem, is_last: true })?;
        let is_probe = is_probe(request.uri());
        if guest.is_spare && !is_probe {
            return Err(overloaded().into());
        }
        self.capacity.load.check(Cost::of(request), guest.party)?;
        let caller = self.guard.identify(request, &guest.connection, visitor)?;
        if !is_probe {
            guest.phase.let_in();
        }
        Ok(caller)
    }

    /// The route's pattern, and its answer.
    async fn handle(
        &self,
        request: Request<Incoming>,
        api: &Routes,
        guest: &Guest,
        caller: Caller,
        trail: &Trail,
    ) -> (&'static str, Response<Body>) {
        let place = if request.method() == Method::GET { Place::of(request.uri().path()) } else { None };
        let load = &self.capacity.load;
        if let (Some(state), Some(place)) = (&api.values, place) {
            let answering = secrets::get(state, trail, &caller, &place, request.uri().query(), request.headers());
            let answered = load.run(Cost::Waiting, guest.party, answering).await.and_then(|answered| answered);
            return (place.pattern(), answered.unwrap_or_else(Problem::into_response));
        }
        let (route, cost) = (routes::pattern(request.uri().path()), Cost::of(&request));
        let over = caller.over().cloned();
        let answering = api.router.clone().call(bodied(request, &guest.connection, caller, trail));
        let answered = match cost {
            // On the heap, so that what idles or reads a value has no room for it.
            Cost::Computing => Box::pin(load.compute(guest.party, answering)).await,
            Cost::Little | Cost::Waiting => Box::pin(load.run(cost, guest.party, answering)).await,
        };
        match answered {
            Err(problem) => (route, problem.into_response()),
            Ok(Ok(response)) if response.body().size_hint().exact().is_some() => (route, response),
            Ok(Ok(stream)) => {
                let (replaced, closing) = (api.over.clone(), self.closing.child_token());
                (route, stream.map(|body| until(body, [Some(replaced), Some(closing), over])))
            }
            Ok(Err(never)) => match never {},
        }
    }
}

/// A request that is not let in.
struct Refusal {
    problem: Problem,
    /// Nothing is read after it.
    is_last: bool,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, is_last: false }
    }
}

/// One connection.
struct Guest {
    connection: Connection,
    party: Party,
    phase: Phase,
    /// No more requests on it.
    closing: CancellationToken,
    seat: Seat,
    /// It has a spare place: for a probe, or to be told to come back.
    is_spare: bool,
}

impl Guest {
    /// Resolves when others need its place.
    async fn displaced(&self) {
        self.closing.cancelled().await;
        if self.seat.leaves().is_none() {
            std::future::pending().await
        }
    }
}

/// The request as routes take it. Most have no body, and then there is none to be boxed.
fn bodied(request: Request<Incoming>, connection: &Connection, caller: Caller, trail: &Trail) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(connection.clone());
    head.extensions.insert(caller);
    head.extensions.insert(trail.clone());
    let body = if head.method == Method::POST { Body::new(body) } else { Body::empty() };
    Request::from_parts(head, body)
}

/// A stream that ends in order, and so leaves its reader to ask again, when any of these is cancelled: what it tells of is
/// replaced, the process is to stop, its reader's token is no longer good.
fn until(body: Body, ends: [Option<CancellationToken>; 3]) -> Body {
    let ends = ends.into_iter().flatten().map(|end| Box::pin(end.cancelled_owned()));
    Body::from_stream(body.into_data_stream().take_until(futures::future::select_all(ends)))
}

/// The headers that every answer carries: nobody keeps it, guesses at its type, or embeds it.
fn harden(headers: &mut HeaderMap) {
    const SAME_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(SAME_ORIGIN, HeaderValue::from_static("same-origin"));
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
