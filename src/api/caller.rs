//! The caller as routes take it: whom the guard has found, or nobody at all.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::{Code, Problem};
use crate::access::Caller;

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// A request without one has come past the guard: it is answered with nothing.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(Code::Internal, "a fault of sidekey's own"))
    }
}
