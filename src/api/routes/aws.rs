//! Credentials of AWS for its own clients, which ask an address in their environment for them
//! (`AWS_CONTAINER_CREDENTIALS_FULL_URI`): two or three secrets, in one answer.
//!
//! Must never happen: a key with the secret of another; one told to who may not read each of the secrets that it is made
//! of; an answer to who may not that tells whether there is such a profile.

use axum::extract;
use axum::http::Uri;
use axum::response::Response;
use time::OffsetDateTime;

use super::together::{json, together};
use crate::access::audit::{Line, Operation};
use crate::access::{Caller, Verb};
use crate::api::State;
use crate::api::aws::AwsProfile;
use crate::api::model::{AwsCredentials, Value, expiration};
#[cfg(test)]
use crate::api::openapi;
use crate::api::path::{Names, bad_parameter, parameters};
use crate::api::problem::{Code, Problem};
use crate::api::trail::Trail;
use crate::broker::{self, Ask};
use crate::secret::Reference;

/// Credentials of AWS, as its SDKs ask for them: the `[[aws]]` of that name. Here the token may stand in `Authorization` alone.
#[cfg_attr(test, utoipa::path(
    get, path = "/v1/aws/credentials/{profile}", tag = "secrets", params(openapi::ProfilePart),
    responses((status = 200, description = "The credentials", body = AwsCredentials), openapi::AwsResponses)
))]
pub(super) async fn credentials(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    names: Names,
    uri: Uri,
) -> Result<Response, Problem> {
    let audit = state.audit();
    let profile = match profile(&state, &caller, &names, &uri) {
        Ok(profile) => profile,
        Err(problem) => return Err(trail.refuse(audit, trail.line(Operation::Aws), problem).await),
    };
    let references = profile.references();
    let may = |reference: &Reference| match &reference.vault {
        Some(vault) => caller.may(Verb::Read, vault, &reference.name),
        None => caller.may_anywhere(Verb::Read, &reference.name),
    };
    // In the same words as of a profile that is not there.
    if !references.values().all(may) {
        let forbidden = Problem::from(broker::Error::Forbidden);
        for reference in references.values() {
            let outcome = if may(reference) { "withheld" } else { forbidden.code().as_str() };
            let ask = Ask::from(reference);
            trail.record(audit, &Line { outcome, ..trail.line_of(Operation::Aws, &ask) }).await?;
        }
        return Err(forbidden.under(trail.id()));
    }
    let mut found = together(&state, &trail, &caller, Operation::Aws, references, Default::default()).await?;
    let mut take = |key: &str| found.remove(key).map(|(_, value)| value);
    let (id, key) = (take(AwsProfile::ACCESS_KEY_ID), take(AwsProfile::SECRET_ACCESS_KEY));
    let (Some(access_key_id), Some(secret_access_key)) = (id, key) else {
        return Err(Problem::new(Code::Internal, "a fault of sidekey's own"));
    };
    // Some of the clients want the key to be there.
    let token = take(AwsProfile::SESSION_TOKEN).unwrap_or_else(Value::empty);
    let bytes: usize = [&access_key_id, &secret_access_key, &token].iter().map(|value| 6 * value.len()).sum();
    let expiration = expiration(OffsetDateTime::now_utc(), profile.lifetime);
    let answer = AwsCredentials { access_key_id, secret_access_key, token, expiration };
    Ok(json(&answer, bytes + 256))
}

/// The one that is meant. Who may not do everything is not told which there are.
fn profile<'s>(state: &'s State, caller: &Caller, names: &Names, uri: &Uri) -> Result<&'s AwsProfile, Problem> {
    if let Some((name, _)) = parameters(uri.query())?.first() {
        return Err(bad_parameter(name, "is not known here"));
    }
    let name: String = names.parse("profile")?;
    state.aws(&name).ok_or_else(|| {
        if caller.rights().is_all() {
            Problem::new(Code::NotFound, "no [[aws]] of that name is configured")
        } else {
            Problem::from(broker::Error::Forbidden)
        }
    })
}
