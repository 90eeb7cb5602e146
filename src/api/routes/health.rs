//! Whether the process works, whether it can serve, and what it counts.

use axum::Json;
use axum::body::Body;
use axum::extract;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use crate::access::Caller;
#[cfg(test)]
use crate::api::model::{ProblemDocument, Readiness};
#[cfg(test)]
use crate::api::openapi;
use crate::api::path::{bad_parameter, parameters};
use crate::api::problem::{Code, Problem};
use crate::api::{DOCUMENT, State};

/// Whether the process works. Needs no token.
#[cfg_attr(test, utoipa::path(get, path = "/livez", tag = "health", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain", example = "ok\n"), openapi::CommonResponses
)))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the declared secrets are held, the first discovery and the first listings are done, and some vault has answered. Needs no token unless `verbose` is asked for.
#[cfg_attr(test, utoipa::path(get, path = "/readyz", tag = "health", security((), ("token" = [])), params(
    ("verbose" = Option<bool>, Query, description = "Explain, as JSON, with counts by source and the vaults that could not be asked")
), responses(
    (status = 200, description = "They are", content((String = "text/plain", example = "ready\n"), (Readiness = "application/json"))),
    (status = 503, description = "Not yet: not-ready; with `verbose`, the explanation", content(
        (ProblemDocument = "application/problem+json"), (Readiness = "application/json")
    ), headers(("Retry-After" = u64, description = "Seconds"))), openapi::CommonResponses
)))]
pub(super) async fn readyz(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut verbose = false;
    for (name, value) in parameters(uri.query())? {
        match (&*name, &*value) {
            ("verbose", "" | "true" | "1") => verbose = true,
            ("verbose", "false" | "0") => {}
            ("verbose", _) => return Err(bad_parameter("verbose", "is true or false")),
            _ => return Err(bad_parameter(&name, "is not known here")),
        }
    }
    if verbose {
        let readiness = state.readiness(&caller);
        let mut response = Json(&readiness).into_response();
        if !readiness.ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        return Ok(response);
    }
    match state.waiting_for() {
        None => Ok("ready\n".into_response()),
        Some(detail) => Err(Problem::new(Code::NotReady, detail)),
    }
}

/// Counters and levels, as OpenMetrics. No secret's name is in any of them.
#[cfg_attr(test, utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"), openapi::CommonResponses
)))]
pub(super) async fn metrics(extract::State(state): extract::State<State>) -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], state.metrics_text()).into_response()
}

/// This API, as OpenAPI 3.1.
#[cfg_attr(test, utoipa::path(get, path = "/openapi.json", tag = "health", responses(
    (status = 200, description = "The document", body = Object, content_type = "application/json"), openapi::CommonResponses
)))]
pub(super) async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], Body::from(DOCUMENT)).into_response()
}
