//! Many references at once: all of their values, or every failure by its key.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract;
use axum::http::{Request, header};
use axum::response::Response;
use http_body_util::LengthLimitError;
use hyper::body::Body as _;
use tokio::time::timeout;

use super::together::{json, together};
use crate::access::Caller;
use crate::access::audit::Operation;
use crate::api::State;
use crate::api::model::{ResolveAnswer, ResolveRequest, ResolvedFrom};
#[cfg(test)]
use crate::api::openapi;
use crate::api::problem::{Code, Problem};
use crate::api::trail::Trail;
use crate::broker::Resolved;
use crate::secret::Reference;

/// A body may hold so many bytes.
const MOST_BYTES: usize = 1024 * 1024;
/// And so many references.
const MOST: usize = 1_000;
/// From the head's end to the body's.
const BODY: Duration = Duration::from_secs(10);

/// The values of all these references, or, if any fails, a problem that tells every failure by its key.
#[cfg_attr(test, utoipa::path(
    post, path = "/v1/resolve", tag = "secrets", request_body = ResolveRequest,
    responses((status = 200, description = "Every value", body = ResolveAnswer), openapi::ResolveResponses)
))]
pub(super) async fn resolve(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let audit = state.audit();
    let refs = match read(request).await {
        Ok(refs) if !refs.is_empty() => refs,
        // There is nothing of which each line could be.
        other => trail.settle(audit, trail.line(Operation::Resolve), other).await?,
    };
    let (mut references, mut failures) = (BTreeMap::new(), BTreeMap::new());
    for (key, text) in refs {
        match text.parse::<Reference>() {
            Ok(reference) => drop(references.insert(key, reference)),
            Err(error) => {
                let problem = Problem::new(Code::BadReference, format!("the reference {error}"));
                failures.insert(key, problem);
            }
        }
    }
    let found = together(&state, &trail, &caller, Operation::Resolve, references, failures).await?;
    let mut answer = ResolveAnswer { values: BTreeMap::new(), resolved: BTreeMap::new() };
    for (key, (one, value)) in found {
        answer.resolved.insert(key.clone(), origin(&one));
        answer.values.insert(key, value);
    }
    let bytes: usize = answer.values.values().map(|value| 2 * value.len() + 512).sum();
    Ok(json(&answer, bytes + 64))
}

fn origin(one: &Resolved) -> ResolvedFrom {
    let reading = &one.reading;
    ResolvedFrom {
        vault: reading.vault.clone(),
        name: reading.secret.metadata.name.clone(),
        version: reading.secret.metadata.version.clone(),
        reference: reading.reference(),
        age: reading.age.as_secs(),
    }
}

/// The body, if it says that it is JSON: what a page's form can send says something else.
async fn read(request: Request<Body>) -> Result<BTreeMap<String, String>, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "send the header Content-Type: application/json"));
    }
    let too_large = || Problem::new(Code::TooLarge, format!("the body has more than {MOST_BYTES} bytes"));
    let body = request.into_body();
    // What Content-Length says is believed at once.
    if body.size_hint().lower() > MOST_BYTES as u64 {
        return Err(too_large());
    }
    let arrived = timeout(BODY, to_bytes(body, MOST_BYTES)).await.map_err(|_| {
        Problem::new(Code::TooSlow, format!("the body did not arrive within {} seconds", BODY.as_secs()))
    })?;
    let body = arrived.map_err(|error| match error.into_inner().downcast::<LengthLimitError>() {
        Ok(_) => too_large(),
        // What it says of its chunks is wrong, or it ends before it should.
        Err(_) => Problem::new(Code::BadQuery, "the body is not what its head and its chunks say"),
    })?;
    let ResolveRequest { refs } = serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let detail = format!(
            "the body is wrong at line {line}, column {column}: expected {{\"refs\": {{\"KEY\": \"secret://VAULT/NAME\"}}}}, \
             each key once"
        );
        Problem::new(Code::BadQuery, detail)
    })?;
    if refs.len() > MOST {
        return Err(Problem::new(Code::BadQuery, format!("refs has {} references; {MOST} is the most", refs.len())));
    }
    Ok(refs)
}
