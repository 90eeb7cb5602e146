//! The HTTP API, version 1: the same on every listener, and in-process for commands that run without a sidecar.
//!
//! - [`serve`] accepts connections from listeners; `guard` decides who may knock, from a request's head alone; the
//!   routes parse, ask the broker and answer; `problem` is what every failure becomes.
//! - [`model`] is what goes over the wire, shared with the clients. `openapi` describes it.
//!
//! Only this module knows HTTP. What must never happen: an answer before the guard has passed the request; a value in a
//! log, a metric or a problem; one byte added to a value; two failures that look alike.

mod aside;
mod aws;
mod caller;
mod document;
mod freshness;
#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
pub(crate) mod fuzzing;
mod guard;
mod head;
mod leftover;
mod listener;
mod load;
pub mod model;
mod negotiate;
#[cfg(test)]
mod openapi;
mod outgoing;
mod path;
mod patience;
pub(crate) mod problem;
mod room;
mod roused;
mod routes;
mod server;
mod state;
mod strangers;
mod token;
mod trail;

use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;

pub use crate::access::{Token, TokenDigest, TokenError};
pub use aws::AwsProfile;
pub use document::DOCUMENT;
pub use guard::{Connection, Guard, Peer};
pub use listener::{
    CertificateNames, Group, ListenError, Listener, Passed, PassedSocket, ServedAs, TakeOver, Tls, TlsError, TlsFiles,
    UnixOptions, bind_metrics, bind_tcp, bind_tls, bind_unix, bind_unix_beside,
};
pub use problem::Code;
pub use server::{Capacity, Drained, ServeOptions, serve};
pub use state::State;

use crate::access::Caller;
use crate::access::audit::Audit;

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
    /// Where reads are recorded; other routes than ours record none.
    fn audit(&self) -> &Audit {
        static OFF: LazyLock<Audit> = LazyLock::new(Audit::default);
        self.values.as_ref().map_or(&*OFF, State::audit)
    }

    fn of(state: State) -> Self {
        Self { router: guarded(state.clone()), values: Some(state), over: CancellationToken::new() }
    }
}

impl From<Router> for Api {
    /// Other routes behind the same door.
    fn from(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Routes { router, values: None, over: CancellationToken::new() })))
    }
}

/// The routes, without a guard: for callers in the same process, who may do everything. A caller that somebody has put
/// into the request stays the one who asks.
pub fn router(state: State) -> Router {
    guarded(state).layer(MapRequestLayer::new(|mut request: Request| {
        if request.extensions().get::<Caller>().is_none() {
            request.extensions_mut().insert(Caller::in_process());
        }
        request
    }))
}

/// The routes, for requests that carry their caller; others are answered with an error.
fn guarded(state: State) -> Router {
    routes::all().method_not_allowed_fallback(routes::not_allowed).with_state(state)
}
