//! Accepting connections, serving them, and letting go of them.
//!
//! Every request passes here in the same order: guard, route, the headers that every answer carries. What a handler
//! does wrong is that request's 500 and nothing else. A machine that runs out of file descriptors slows accepting down
//! and never ends it. Shutting down accepts nothing new, ends what idles, finishes what is under way, and tells what
//! did not finish in time.

use std::convert::Infallible;
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
use futures::{FutureExt as _, StreamExt as _};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::guard::{Connection, Guard};
use super::listener::{Listener, Stream};
use super::patience::{Patient, Phase};
use super::problem::{Code, Problem, REQUEST_ID};
use super::routes::secrets::{self, Place};
use super::trail::Trail;
use super::{Api, Routes, routes};
use crate::access::{Caller, Visitor};
use crate::metrics::Metrics;
use crate::tasks::keep;

/// Bounds on what callers may hold, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// Connections at once to one listener, so that none can be kept busy through another; more wait in the system's
    /// queue. 4,096.
    pub connections: usize,
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
            connections: 4_096,
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
    /// To each listener.
    places: usize,
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
    for listener in listeners {
        let serving = serving.clone();
        accepting.spawn(async move {
            let places = Arc::new(Semaphore::new(serving.places));
            keep("accepting", &serving.metrics, || serving.clone().accept(&listener, &places)).await;
            for (stream, connection) in listener.close() {
                serving.begin(stream, connection, None);
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
    Serving::new(api, guard, metrics, &options, CancellationToken::new()).connection(stream, connection).await;
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
            places: options.connections,
            connections: TaskTracker::new(),
            closing,
            cut: CancellationToken::new(),
        }
    }

    async fn accept(self, listener: &Listener, places: &Arc<Semaphore>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, connection) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_the_peers(&error) => continue,
                Err(error) => {
                    tracing::warn!(listener = listener.address(), %error, "accepting a connection failed; trying again");
                    tokio::select! {
                        () = self.closing.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LAST_PAUSE);
                    continue;
                }
            };
            pause = FIRST_PAUSE;
            // Not before accepting: a listener that nobody connects to would keep a place from the others.
            let place = tokio::select! {
                () = self.closing.cancelled() => None,
                place = Arc::clone(places).acquire_owned() => Some(place.expect("the semaphore is never closed")),
            };
            self.begin(stream, connection, place);
        }
    }

    /// Serves it on a task of its own. Its place is free again when it has ended.
    fn begin(&self, stream: Stream, connection: Connection, place: Option<OwnedSemaphorePermit>) {
        let serving = self.clone();
        self.connections.spawn(async move {
            match stream {
                Stream::Unix(stream) => serving.connection(stream, connection).await,
                Stream::Tcp(stream) => serving.connection(stream, connection).await,
            }
            drop(place);
        });
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S, connection: Connection) {
        let phase = Phase::default();
        let io = TokioIo::new(Patient::new(stream, phase.clone(), self.keep_alive));
        // Children, not clones: a token's waiters share one lock, which every connection would take at every turn.
        let (closing, cut) = (self.closing.child_token(), self.cut.child_token());
        let builder = self.builder.clone();
        let last = AtomicBool::new(false);
        let visitor = self.guard.visitor(&connection);
        // Before a byte of a request is parsed.
        if self.guard.turns_away(&connection, &visitor) {
            self.metrics.refused("unknown-peer");
            return;
        }
        let service = service_fn(|request| {
            phase.begin();
            let answer = self.answer(request, &connection, &visitor);
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

    async fn answer(&self, request: Request<Incoming>, connection: &Connection, visitor: &Visitor) -> Response<Body> {
        // One and the same for all of this request, whatever is replaced meanwhile.
        let api = self.api.0.load();
        let audit = api.audit();
        let (trail, route, mut response) = match self.guard.check(&request, connection, visitor) {
            Err(problem) => {
                self.metrics.refused(problem.code().as_str());
                let trail = Trail::of_stranger(request.headers(), connection, audit);
                let problem = trail.refuse_unrouted(audit, request.uri().path(), problem).await;
                (trail, "refused", problem.into_response())
            }
            Ok(caller) => {
                let trail = Trail::new(request.headers(), caller.clone(), audit);
                let uri = request.uri().clone();
                // What a handler leaves half done when it panics is dropped with it.
                let handled = self.handle(request, &api, connection, caller, &trail);
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

    /// The route's pattern, and its answer.
    async fn handle(
        &self,
        request: Request<Incoming>,
        api: &Routes,
        connection: &Connection,
        caller: Caller,
        trail: &Trail,
    ) -> (&'static str, Response<Body>) {
        let place = if request.method() == Method::GET { Place::of(request.uri().path()) } else { None };
        if let (Some(state), Some(place)) = (&api.values, place) {
            let answered = secrets::get(state, trail, &caller, &place, request.uri().query(), request.headers()).await;
            return (place.pattern(), answered.unwrap_or_else(Problem::into_response));
        }
        let route = routes::pattern(request.uri().path());
        let over = caller.over().cloned();
        match api.router.clone().call(bodied(request, connection, caller, trail)).await {
            Ok(response) if response.body().size_hint().exact().is_some() => (route, response),
            Ok(stream) => {
                let (replaced, closing) = (api.over.clone(), self.closing.child_token());
                (route, stream.map(|body| until(body, [Some(replaced), Some(closing), over])))
            }
            Err(never) => match never {},
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
