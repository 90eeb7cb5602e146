//! Many references read for one answer: each has its line in the audit, and either all of them are given, or none.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::future::try_join_all;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::access::Caller;
use crate::access::audit::{Line, Operation};
use crate::api::State;
use crate::api::model::{Value, Withheld};
use crate::api::problem::{Code, Problem};
use crate::api::trail::{self, Trail};
use crate::broker::{Ask, Resolved};
use crate::secret::{Reference, SecretValue};

/// All of these for that caller, by their keys. `failures` are those that failed before anything was asked.
///
/// # Errors
/// A problem that tells every failure by its key; or `audit-failed`.
pub(super) async fn together(
    state: &State,
    trail: &Trail,
    caller: &Caller,
    operation: Operation,
    references: BTreeMap<String, Reference>,
    mut failures: BTreeMap<String, Problem>,
) -> Result<BTreeMap<String, (Resolved, Value)>, Problem> {
    let audit = state.audit();
    let of = references.len() + failures.len();
    let asked: BTreeMap<_, _> = references.iter().map(|(key, reference)| (key.clone(), Ask::from(reference))).collect();
    let mut found = BTreeMap::new();
    // Even if some are malformed already: a caller mends all faults at once, or one at a time for ever.
    match state.within(caller).resolve(&references).await {
        Err(errors) => failures.extend(errors.into_iter().map(|(key, error)| (key, Problem::from(error)))),
        Ok(resolved) => {
            for (key, one) in resolved {
                let value = Withheld::from(SecretValue::new(one.value().expose()));
                if !value.is_text() {
                    let detail = "the value is no text, which JSON cannot carry; get it by itself";
                    failures.insert(key, Problem::new(Code::NotAcceptable, detail));
                    continue;
                }
                found.insert(key, (one, value));
            }
        }
    }
    // All of them at once, so that they are written together. One that failed keeps the others from being given.
    let whole = failures.is_empty();
    let lines = asked.iter().filter(|(key, _)| !failures.contains_key(*key)).map(|(key, ask)| {
        let line = trail.line_of(operation, ask);
        match found.get(key) {
            Some((one, _)) if whole => {
                Line { vault: Some(&one.reading.vault), served: Some(trail::served(&one.reading)), ..line }
            }
            Some(_) | None => Line { outcome: "withheld", ..line },
        }
    });
    let failed = failures.iter().map(|(key, problem)| {
        let outcome = problem.code().as_str();
        match asked.get(key) {
            Some(ask) => Line { outcome, ..trail.line_of(operation, ask) },
            None => Line { outcome, ..trail.line(operation) },
        }
    });
    let lines: Vec<_> = lines.chain(failed).collect();
    let recorded = try_join_all(lines.iter().map(|line| trail.record(audit, line))).await?;
    drop(lines);
    if !whole {
        return Err(Problem::unresolved(failures, of).under(trail.id()));
    }
    let given = found.into_iter().zip(recorded);
    Ok(given.map(|((key, (one, value)), recorded)| (key, (one, value.release(recorded)))).collect())
}

/// Values as a body of JSON that is wiped when it was sent; `bytes` are its length at most, so that it is never moved.
pub(super) fn json<T: Serialize>(answer: &T, bytes: usize) -> Response {
    let mut body = Zeroizing::new(Vec::with_capacity(bytes));
    serde_json::to_writer(&mut *body, answer).expect("values are text, and all else is plain data");
    let mut response = Response::new(Body::from(Bytes::from_owner(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
