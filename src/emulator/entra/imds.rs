//! The machine's identity, as the Instance Metadata Service gives it: plain HTTP, numbers as strings.

use hyper::StatusCode;
use serde_json::json;
use time::OffsetDateTime;

use crate::emulator::answer::Answer;
use crate::emulator::estate::{App, Managed};
use crate::emulator::request::Request;
use crate::emulator::world::World;

/// Without this header a browser or a forwarded request could fetch a token.
const GUARD: &str = "metadata";

pub(in crate::emulator) fn answer(world: &World, request: &Request) -> Answer {
    if request.segments()[..] != ["metadata", "identity", "oauth2", "token"] {
        return refused(StatusCode::NOT_FOUND, "not_found", "The metadata service has no such path here.");
    }
    if !request.header(GUARD).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return bad_request("Required metadata header not specified");
    }
    if request.query("api-version").is_none() {
        return bad_request("api-version was not specified in the request");
    }
    let Some(resource) = request.query("resource") else {
        return bad_request("Required query variable 'resource' is missing");
    };
    let Some(app) = identity(world, request) else { return bad_request("Identity not found") };
    let Some(audience) = super::known_resource(resource) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "invalid_resource",
            &format!("AADSTS500011: The resource principal named {resource} was not found in the tenant."),
        );
    };
    let lifetime = world.token_lifetime;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let expires_on = now.saturating_add_unsigned(lifetime.as_secs());
    Answer::ok(json!({
        "access_token": world.tokens.issue(&app.name, &app.tenant, &audience, lifetime),
        "client_id": app.id,
        "expires_in": lifetime.as_secs().to_string(),
        "expires_on": expires_on.to_string(),
        "ext_expires_in": lifetime.as_secs().to_string(),
        "not_before": now.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}

/// The identity that the query names, or the system-assigned one; where there is none, the only user-assigned one.
fn identity<'w>(world: &'w World, request: &Request) -> Option<&'w App> {
    let mut managed = world.apps.iter().filter(|app| app.managed.is_some());
    if let Some(client) = request.query("client_id") {
        return managed.find(|app| app.id.eq_ignore_ascii_case(client));
    }
    if let Some(object) = request.query("object_id").or_else(|| request.query("principal_id")) {
        return managed.find(|app| app.object_id.eq_ignore_ascii_case(object));
    }
    if let Some(resource) = request.query("mi_res_id").or_else(|| request.query("msi_res_id")) {
        return managed.find(|app| resource.rsplit('/').next() == Some(&app.name));
    }
    let all: Vec<_> = managed.collect();
    let system = all.iter().find(|app| app.managed == Some(Managed::System)).copied();
    match all[..] {
        [only] => Some(only),
        _ => system,
    }
}

fn bad_request(description: &str) -> Answer {
    refused(StatusCode::BAD_REQUEST, "invalid_request", description)
}

fn refused(status: StatusCode, error: &str, description: &str) -> Answer {
    Answer::json(status, json!({"error": error, "error_description": description}))
}
