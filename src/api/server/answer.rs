//! One request: who may come in, the route, and the headers that every answer carries.
//!
//! Must never happen: an answer before the guard has passed the request; one that no line of the audit tells of, where one
//! is due; a fault of a handler that is more than its request's 500.

use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use futures::future::{BoxFuture, Either};
use futures::{FutureExt as _, StreamExt as _};
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::Serving;
use super::connection::Guest;
use crate::access::{Caller, Visitor};
use crate::api::guard::{Connection, is_probe};
use crate::api::head::Head;
use crate::api::load::{Cost, overloaded};
use crate::api::outgoing::Outgoing;
use crate::api::problem::{Code, Problem, REQUEST_ID};
use crate::api::routes::secrets::{self, Place, Wanted};
use crate::api::trail::Trail;
use crate::api::{Routes, State, routes};

/// What is in force while a request is answered.
type Serves = arc_swap::Guard<Arc<Routes>>;

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

/// An answer that is there, or comes. What is waited for is on the heap: a connection that reads what is held, or idles,
/// has no room for it.
pub(super) type Answering<'c> = Either<Ready<Response<Outgoing>>, BoxFuture<'c, Response<Outgoing>>>;

impl Serving {
    /// What is asked most, a value that is held, is answered before this returns. The request is gone by then, and with it
    /// what it holds of the connection's buffer, which is read into again.
    pub(super) fn answer<'c>(
        &'c self,
        request: Request<Incoming>,
        guest: &'c Guest,
        visitor: &'c Visitor,
    ) -> Answering<'c> {
        // One and the same for all of this request, whatever is replaced meanwhile.
        let api = self.api.0.load();
        let (mut parts, body) = request.into_parts();
        let head = Head::of(&parts.headers);
        let value = value_asked(&api, &parts.method, &parts.uri);
        let cost = if value.is_some() { Cost::Waiting } else { Cost::of(&parts.uri) };
        let caller = match self.let_in(&parts, head, cost, guest, visitor) {
            Ok(caller) => caller,
            Err(refusal) => {
                let request = Request::from_parts(parts, body);
                return self.turn_away(api, request, guest, refusal).boxed().right_future();
            }
        };
        let trail = Trail::new(head, caller.clone(), api.audit());
        let met = head.met();
        let at_once = || {
            let (state, place) = value?;
            let wanted = Wanted { place, query: parts.uri.query(), met, at: guest.phase.since() };
            at_once(state, guest, &trail, &caller, wanted, &mut parts.headers)
        };
        match catch_unwind(AssertUnwindSafe(at_once)) {
            Ok(Some((route, response))) => ready(self.told(route, trail, response)).left_future(),
            Ok(None) => {
                let request = Request::from_parts(parts, body);
                self.let_wait(api, request, guest, caller, trail).boxed().right_future()
            }
            Err(_) => async move { self.fallen(&api, &parts.uri, trail).await }.boxed().right_future(),
        }
    }

    async fn turn_away(
        &self,
        api: Serves,
        request: Request<Incoming>,
        guest: &Guest,
        refusal: Refusal,
    ) -> Response<Outgoing> {
        let Refusal { problem, is_last } = refusal;
        let audit = api.audit();
        self.metrics.refused(problem.code().as_str());
        let trail = Trail::of_stranger(Head::of(request.headers()), &guest.connection, guest.party, audit);
        let tells = || self.strangers.tells(guest.party);
        let problem = trail.refuse_unrouted(audit, request.uri().path(), problem, tells).await;
        let mut response = problem.into_response();
        if is_last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.told("refused", trail, response.map(Outgoing::Routed))
    }

    async fn let_wait(
        &self,
        api: Serves,
        request: Request<Incoming>,
        guest: &Guest,
        caller: Caller,
        trail: Trail,
    ) -> Response<Outgoing> {
        let uri = request.uri().clone();
        // What a handler leaves half done when it panics is dropped with it.
        let handled = self.handle(request, &api, guest, caller, &trail);
        match AssertUnwindSafe(handled).catch_unwind().await {
            Ok((route, response)) => self.told(route, trail, response),
            Err(_) => self.fallen(&api, &uri, trail).await,
        }
    }

    /// What the panic said may hold anything: it goes nowhere. Where it was, the panic hook tells.
    async fn fallen(&self, api: &Routes, uri: &Uri, trail: Trail) -> Response<Outgoing> {
        let problem = Problem::new(Code::Internal, "a fault of sidekey's own");
        let problem = trail.refuse_unrouted(api.audit(), uri.path(), problem, || true).await;
        self.told("panicked", trail, problem.into_response().map(Outgoing::Routed))
    }

    /// Counted, and with what every answer carries.
    fn told(&self, route: &'static str, trail: Trail, mut response: Response<Outgoing>) -> Response<Outgoing> {
        if response.status() == StatusCode::FORBIDDEN {
            self.metrics.refused(Code::Forbidden.as_str());
        }
        self.metrics.request(route, response.status().as_u16());
        if let Some(id) = trail.into_id() {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        harden(response.headers_mut());
        response
    }

    /// What is cheap to tell comes first: who is one too many is told so before a token is looked at. What no caller of ours
    /// would send is its connection's last: what follows it may be another's, or part of it.
    fn let_in(
        &self,
        request: &Parts,
        head: Head<'_>,
        cost: Cost,
        guest: &Guest,
        visitor: &Visitor,
    ) -> Result<Caller, Refusal> {
        let knocked = self.guard.knock(request, head, &guest.connection);
        knocked.map_err(|problem| Refusal { problem, is_last: true })?;
        let is_probe = is_probe(&request.uri);
        if guest.is_spare && !is_probe {
            return Err(overloaded().into());
        }
        self.capacity.load.check(cost, guest.party)?;
        let caller = self.guard.identify(&request.uri, head, &guest.connection, visitor)?;
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
    ) -> (&'static str, Response<Outgoing>) {
        let load = &self.capacity.load;
        if let Some((state, place)) = value_asked(api, request.method(), request.uri()) {
            let head = Head::of(request.headers());
            let answering = secrets::get(state, trail, &caller, &place, request.uri().query(), head);
            let answered = load.run(Cost::Waiting, guest.party, answering).await.and_then(|answered| answered);
            return (place.pattern(), answered.unwrap_or_else(|problem| problem.into_response().map(Outgoing::Routed)));
        }
        let (route, cost) = (routes::pattern(request.uri().path()), Cost::of(request.uri()));
        let over = caller.over().cloned();
        let answering = api.router.clone().call(bodied(request, &guest.connection, caller, trail));
        let answered = match cost {
            // On the heap, so that what idles or reads a value has no room for it.
            Cost::Computing => Box::pin(load.compute(guest.party, answering)).await,
            Cost::Little | Cost::Waiting => Box::pin(load.run(cost, guest.party, answering)).await,
        };
        let response = match answered {
            Err(problem) => problem.into_response(),
            Ok(Ok(response)) if response.body().size_hint().exact().is_some() => response,
            Ok(Ok(stream)) => {
                let (replaced, closing) = (api.over.clone(), self.closing.child_token());
                stream.map(|body| until(body, [Some(replaced), Some(closing), over, guest.over.clone()]))
            }
            Ok(Err(never)) => match never {},
        };
        (route, response.map(Outgoing::Routed))
    }
}

/// The value that is asked for, and where from: answered past the router.
fn value_asked<'r>(api: &'r Routes, method: &Method, uri: &'r Uri) -> Option<(&'r State, Place<'r>)> {
    let place = (method == Method::GET).then(|| Place::of(uri.path()))?;
    Some((api.values.as_ref()?, place?))
}

/// The route's pattern, and its answer, if nothing is to be waited for. `None`: nothing was done.
///
/// It is made, counted and recorded before the connection is looked at again: of a peer that has half-closed right behind
/// its request, and is sent nothing, it is counted all the same.
fn at_once(
    state: &State,
    guest: &Guest,
    trail: &Trail,
    caller: &Caller,
    wanted: Wanted<'_>,
    headers: &mut HeaderMap,
) -> Option<(&'static str, Response<Outgoing>)> {
    if !guest.phase.forgets_its_head() {
        // Its request must outlive the next look at the connection.
        return None;
    }
    let route = wanted.place.pattern();
    Some((route, secrets::get_at_once(state, trail, caller, wanted, headers)?))
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
/// replaced, the process is to stop, its reader's token or certificate is no longer good.
fn until(body: Body, ends: [Option<CancellationToken>; 4]) -> Body {
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
