//! What a request leaves in the audit: who asks, under which id, and one line for each secret that was asked for.
//!
//! A value can be put on the wire only by whoever shows that it was recorded (`Withheld::release`), and every route that
//! tells anything answers through [`Trail::settle`] or [`Trail::record`]. What is refused is recorded as well. A request to
//! no route at all, or with a method that is not served, reads nothing and leaves no line.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::request::Parts;

use super::head::{Field, Head};
use super::path::part;
use super::problem::{Code, Problem, request_id_header};
use super::room::Party;
use super::routes::secrets::Place;
use super::{Connection, State, routes};
use crate::access::audit::{Audit, Line, Operation, Recorded, Served};
use crate::access::{Caller, Peer};
use crate::broker::{Ask, Reading};

/// A longer id of a caller's is not taken.
const LONGEST_ID: usize = 128;

/// What all lines of one request have in common.
#[derive(Debug, Clone)]
pub(super) struct Trail {
    caller: Option<Caller>,
    peer: Option<Peer>,
    /// Of somebody who was not let in.
    from: Option<IpAddr>,
    /// The caller's, or ours; `None` where neither the caller nor an audit wants one.
    id: Option<HeaderValue>,
}

impl Trail {
    /// Of a caller who was let in.
    pub(super) fn new(head: Head<'_>, caller: Caller, audit: &Audit) -> Self {
        Self { caller: Some(caller), peer: None, from: None, id: id(head, audit) }
    }

    /// Of somebody who was not.
    pub(super) fn of_stranger(head: Head<'_>, connection: &Connection, party: Party, audit: &Audit) -> Self {
        let peer = match connection {
            Connection::Unix(peer) => peer.clone(),
            Connection::Tcp { .. } | Connection::Tls { .. } | Connection::Metrics => None,
        };
        Self { caller: None, peer, from: party.told().1, id: id(head, audit) }
    }

    /// The request's id.
    pub(super) fn id(&self) -> Option<&HeaderValue> {
        self.id.as_ref()
    }

    /// Its id, for the answer.
    pub(super) fn into_id(self) -> Option<HeaderValue> {
        self.id
    }

    /// A line about nothing yet.
    pub(super) fn line(&self, operation: Operation) -> Line<'_> {
        let id = self.id.as_ref().and_then(|id| id.to_str().ok());
        Line {
            request: id.unwrap_or_default(),
            caller: self.caller.as_ref(),
            peer: self.peer.as_ref(),
            from: self.from,
            operation,
            vault: None,
            name: None,
            version: None,
            outcome: OK,
            served: None,
            searched: None,
        }
    }

    /// A line about what was asked for.
    pub(super) fn line_of<'a>(&'a self, operation: Operation, ask: &'a Ask) -> Line<'a> {
        let Ask { vault, name, version, .. } = ask;
        Line { vault: vault.as_ref(), name: Some(name), version: version.as_ref(), ..self.line(operation) }
    }

    /// Records that line; the answer may leave then.
    ///
    /// # Errors
    /// `audit-failed`, where the record is required.
    pub(super) async fn record(&self, audit: &Audit, line: &Line<'_>) -> Result<Recorded, Problem> {
        audit.record(line).await.map_err(|unrecorded| {
            let problem = Problem::new(Code::AuditFailed, unrecorded.to_string());
            problem.under(self.id.as_ref())
        })
    }

    /// Records the failure that this request is answered with, and gives what it is to be answered with then.
    pub(super) async fn refuse(&self, audit: &Audit, line: Line<'_>, problem: Problem) -> Problem {
        let line = Line { outcome: problem.code().as_str(), ..line };
        match self.record(audit, &line).await {
            Ok(_) => problem.under(self.id.as_ref()),
            Err(unrecorded) => unrecorded,
        }
    }

    /// Records what became of a request that gives no value, as that line has it or, if it failed, with its code.
    ///
    /// # Errors
    /// The request's own, or `audit-failed`.
    pub(super) async fn settle<T>(
        &self,
        audit: &Audit,
        line: Line<'_>,
        answer: Result<T, Problem>,
    ) -> Result<T, Problem> {
        match answer {
            Ok(answer) => self.record(audit, &line).await.map(|_| answer),
            Err(problem) => Err(self.refuse(audit, line, problem).await),
        }
    }

    /// The same for a request that no route has seen: it was refused before, or a route failed by a fault of our own. It
    /// leaves a line if `tells`, which is asked only where one is due.
    pub(super) async fn refuse_unrouted(
        &self,
        audit: &Audit,
        path: &str,
        problem: Problem,
        tells: impl FnOnce() -> bool,
    ) -> Problem {
        let operation = operation(routes::pattern(path)).filter(|_| audit.is_on() && tells());
        let Some(operation) = operation else { return problem.under(self.id.as_ref()) };
        // Only what is a name is told: anything else may be what somebody has put in the wrong place.
        let place = Place::of(path);
        let vault = place.as_ref().and_then(|place| part(place.vault?).ok());
        let name = place.as_ref().and_then(|place| part(place.name).ok());
        let version = place.as_ref().and_then(|place| part(place.version?).ok());
        let line = self.line(operation);
        let line = Line { vault: vault.as_ref(), name: name.as_ref(), version: version.as_ref(), ..line };
        self.refuse(audit, line, problem).await
    }
}

/// The outcome of what was given.
pub(super) const OK: &str = "ok";

/// How a reading is told.
pub(super) fn served(reading: &Reading) -> Served<'_> {
    reading.into()
}

/// What a route's pattern asks for; `None` if it tells nothing of vaults and secrets to those who may not know.
fn operation(pattern: &str) -> Option<Operation> {
    Some(match pattern {
        "/v1/secrets/{name}"
        | "/v1/vaults/{vault}/secrets/{name}"
        | "/v1/vaults/{vault}/secrets/{name}/versions/{version}" => Operation::Read,
        "/v1/vaults/{vault}/secrets/{name}/versions" => Operation::Versions,
        "/v1/vaults/{vault}/secrets" => Operation::List,
        "/v1/vaults" => Operation::Vaults,
        "/v1/search" => Operation::Search,
        "/v1/resolve" => Operation::Resolve,
        "/v1/watch" => Operation::Watch,
        routes::AWS => Operation::Aws,
        _ => return None,
    })
}

fn id(head: Head<'_>, audit: &Audit) -> Option<HeaderValue> {
    asked_id(head).or_else(|| audit.is_on().then(request_id_header))
}

/// The one that the caller sent, so that its own log and the audit can be laid side by side, if it is short and visible. A
/// copy: the header's own is a part of the buffer that the request was read into, and would keep it from being read into again.
fn asked_id(head: Head<'_>) -> Option<HeaderValue> {
    let bytes = head.only(Field::RequestId).ok()??.as_bytes();
    let is_good = (1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    is_good.then(|| HeaderValue::from_bytes(bytes).ok())?
}

impl FromRequestParts<State> for Trail {
    type Rejection = Infallible;

    /// The one that the server has put there; a request from within the process has none.
    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Infallible> {
        if let Some(trail) = parts.extensions.get::<Self>() {
            return Ok(trail.clone());
        }
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_else(Caller::nobody);
        Ok(Self::new(Head::of(&parts.headers), caller, state.audit()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::*;

    const ASKED_ID: HeaderName = HeaderName::from_static("x-request-id");

    #[test]
    fn an_id_is_taken_from_the_caller_if_it_is_short_visible_and_alone() {
        let taken = |values: &[&str]| {
            let headers: HeaderMap = values.iter().map(|value| (ASKED_ID, value.parse().unwrap())).collect();
            asked_id(Head::of(&headers)).map(|id| id.to_str().unwrap().to_owned())
        };
        let (longest, longer) = ("x".repeat(LONGEST_ID), "x".repeat(LONGEST_ID + 1));
        for good in ["1", "5f0c1a2b-7", "a/b+c=\"{}", &longest] {
            assert_eq!(taken(&[good]).as_deref(), Some(good));
        }
        for bad in [&[][..], &[""], &["a b"], &["a\tb"], &[&longer], &["1", "2"]] {
            assert_eq!(taken(bad), None, "{bad:?}");
        }
        let not_ascii: HeaderMap = [(ASKED_ID, HeaderValue::from_bytes(b"a\xffb").unwrap())].into_iter().collect();
        assert_eq!(asked_id(Head::of(&not_ascii)), None);
    }

    #[test]
    fn every_route_that_tells_something_has_an_operation() {
        for path in crate::api::openapi::document().paths.paths.keys() {
            assert_eq!(operation(path).is_some(), path.starts_with("/v1/"), "{path}");
        }
    }
}
