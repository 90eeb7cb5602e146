//! One request: who may come in, the route, and the headers that every answer carries.
//!
//! Must never happen: an answer before the guard has passed the request; one that no line of the audit tells of, where one
//! is due; a fault of a handler that is more than its request's 500.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use futures::{FutureExt as _, StreamExt as _};
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::Serving;
use super::connection::Guest;
use crate::access::{Caller, Visitor};
use crate::api::guard::{Connection, is_probe};
use crate::api::load::{Cost, overloaded};
use crate::api::problem::{Code, Problem, REQUEST_ID};
use crate::api::routes::secrets::{self, Place};
use crate::api::trail::Trail;
use crate::api::{Routes, routes};

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

impl Serving {
    pub(super) async fn answer(&self, request: Request<Incoming>, guest: &Guest, visitor: &Visitor) -> Response<Body> {
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
