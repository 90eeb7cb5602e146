//! The HTTP API, version 1: the same on every listener, and in-process for commands that run without a sidecar.
//!
//! - [`serve`] accepts connections from listeners; `guard` decides who may knock, from a request's head alone; the
//!   routes parse, ask the broker and answer; `problem` is what every failure becomes.
//! - [`model`] is what goes over the wire, shared with the clients. `openapi` describes it.
//!
//! Only this module knows HTTP. What must never happen: an answer before the guard has passed the request; a value in a
//! log, a metric or a problem; one byte added to a value; two failures that look alike.

mod freshness;
mod guard;
mod listener;
mod load;
pub mod model;
mod negotiate;
mod openapi;
mod path;
mod patience;
pub(crate) mod problem;
mod room;
mod routes;
mod server;
mod token;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

pub use guard::{Connection, Guard, Peer};
pub use listener::{
    CertificateNames, Group, ListenError, Listener, Passed, PassedSocket, ServedAs, TakeOver, Tls, TlsError, TlsFiles,
    UnixOptions, bind_metrics, bind_tcp, bind_tls, bind_unix, bind_unix_beside,
};
pub use problem::Code;
pub use server::{Capacity, Drained, ServeOptions, serve};
pub use token::{Token, TokenDigest, TokenError};

use crate::broker::Broker;
use crate::catalog::{Query, Unanswered};
use crate::metrics::{Level, Metrics};

/// What the routes answer from. A cheap handle.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    broker: Broker,
    metrics: Metrics,
    openapi: Bytes,
}

impl State {
    /// The routes answer from that broker, and tell these metrics.
    #[must_use]
    pub fn new(broker: Broker, metrics: Metrics) -> Self {
        let openapi = serde_json::to_vec(&document()).expect("the document is plain data").into();
        Self(Arc::new(Inner { broker, metrics, openapi }))
    }

    /// Whether `/readyz` says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waiting_for().is_none()
    }

    /// What keeps it from being ready, in words for whoever may ask.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        let broker = self.broker();
        let progress = *broker.catalog().progress().borrow();
        // What could not be asked matters only where nothing was ever listed.
        let unanswered = if progress.listed == 0 { self.unanswered() } else { Vec::new() };
        let unanswered: Vec<_> = unanswered.iter().map(model::Unanswered::from).collect();
        model::waiting_for(progress, &broker.missing(), &unanswered)
    }

    /// Whether it is ready without a snapshot in the place of what its sources tell: they were asked, well or not.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.broker().catalog().progress().borrow().discovery_done && self.is_ready()
    }

    fn broker(&self) -> &Broker {
        &self.0.broker
    }

    fn openapi(&self) -> Bytes {
        self.0.openapi.clone()
    }

    /// Whatever an answer about everything does without.
    fn unanswered(&self) -> Vec<Unanswered> {
        let everything = Query { limit: Some(1), ..Query::default() };
        self.0.broker.catalog().search(&everything).map(|page| page.unanswered).unwrap_or_default()
    }

    /// The metrics, with the levels as they are now.
    fn metrics_text(&self) -> String {
        let Inner { broker, metrics, .. } = &*self.0;
        let vaults = broker.catalog().vaults();
        let level = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        metrics.set(Level::Vaults, level(vaults.len()));
        let unreachable = vaults.iter().filter(|vault| !matches!(vault.reach, crate::catalog::Reach::Listed)).count();
        metrics.set(Level::VaultsUnreachable, level(unreachable));
        metrics.set(Level::Secrets, level(broker.catalog().progress().borrow().secrets));
        let oldest = vaults.iter().filter_map(|vault| vault.known).filter(|known| known.whole).map(|known| known.age);
        metrics.set(Level::ListingOldest, oldest.max().unwrap_or_default().as_secs());
        metrics.set(Level::DeclaredMissing, level(broker.missing().len()));
        let census = broker.cache().census();
        metrics.set(Level::CacheValues, census.values);
        metrics.set(Level::CacheStale, census.stale);
        metrics.set(Level::CacheOldest, census.oldest.as_secs());
        metrics.set(Level::CacheRefusals, census.refusals);
        metrics.set(Level::WatchStreams, level(broker.watchers()));
        metrics.encode()
    }
}

/// The API as [`serve`] serves it. A cheap handle: what one of them replaces, all serve.
#[derive(Debug, Clone)]
pub struct Api(Arc<ArcSwap<Routes>>);

/// What is asked most, a value, is answered past the router: matching, boxing and copying of headers would cost a hit
/// more than the rest of it.
#[derive(Debug)]
struct Routes {
    router: Router,
    values: Option<State>,
    /// Others stand in their place.
    over: CancellationToken,
}

impl Api {
    /// Every route, over that state.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Routes::of(state))))
    }

    /// From the next request on, answers from that state. What is under way ends on the one before; a stream ends now, so
    /// that its reader asks again.
    pub fn replace(&self, state: State) {
        self.0.swap(Arc::new(Routes::of(state))).over.cancel();
    }

    /// As [`State::is_settled`], of the state that it answers from now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.load().values.as_ref().is_some_and(State::is_settled)
    }
}

impl Routes {
    fn of(state: State) -> Self {
        Self { router: router(state.clone()), values: Some(state), over: CancellationToken::new() }
    }
}

impl From<Router> for Api {
    /// Other routes behind the same door.
    fn from(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Routes { router, values: None, over: CancellationToken::new() })))
    }
}

/// The routes, without a guard: for callers in the same process.
pub fn router(state: State) -> Router {
    let (router, _) = routes::all().split_for_parts();
    router.method_not_allowed_fallback(routes::not_allowed).with_state(state)
}

/// The API as OpenAPI 3.1.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    OpenApiRouter::with_openapi(openapi::Base::openapi()).merge(routes::all()).into_openapi()
}
