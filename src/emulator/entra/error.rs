//! Entra's refusals: `AADSTS` codes, and descriptions with line breaks, which have broken parsers.

use hyper::StatusCode;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::emulator::answer::Answer;
use crate::emulator::estate::{App, Tenant};
use crate::emulator::random_uuid;
use crate::emulator::request::Request;

/// Why there is no token.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refusal {
    fn client(code: u32, text: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client", code, text: text.into() }
    }

    fn request(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, code, text: text.into() }
    }

    pub(super) fn wrong_secret(app: &App) -> Self {
        Self::client(
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                 value, not the client secret ID, for a secret added to app '{}'.",
                app.id
            ),
        )
    }

    pub(super) fn expired_secret(app: &App) -> Self {
        Self::client(
            7_000_222,
            format!(
                "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys \
                 for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added \
                 security: https://aka.ms/certCreds.",
                app.id
            ),
        )
    }

    pub(super) fn no_credential() -> Self {
        Self::client(
            7_000_216,
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
        )
    }

    pub(super) fn unknown_app(client: &str, tenant: &Tenant) -> Self {
        let directory = tenant.domain.as_ref().unwrap_or(&tenant.id);
        Self::request(
            "unauthorized_client",
            700_016,
            format!(
                "Application with identifier '{client}' was not found in the directory '{directory}'. This can happen \
                 if the application has not been installed by the administrator of the tenant or consented to by any \
                 user in the tenant. You may have sent your authentication request to the wrong tenant."
            ),
        )
    }

    pub(super) fn unknown_tenant(name: &str) -> Self {
        Self::request(
            "invalid_request",
            90_002,
            format!(
                "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into \
                 the correct cloud. Check with your subscription administrator, this may happen if there are no \
                 active subscriptions for the tenant."
            ),
        )
    }

    pub(super) fn missing(field: &str) -> Self {
        let text = format!(
            "The required field '{field}' is missing from the credential. Ensure that you have all the necessary \
             parameters for the login request."
        );
        Self::request("invalid_request", 90_014, text)
    }

    pub(super) fn grant_type(given: &str) -> Self {
        let text = format!("The app requested an unsupported grant type '{given}'.");
        Self::request("unsupported_grant_type", 70_003, text)
    }

    pub(super) fn bad_scope(scope: &str) -> Self {
        Self::request(
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value \
                 with /.default suffixed to the resource identifier (application ID URI)."
            ),
        )
    }

    pub(super) fn unknown_resource(resource: &str, tenant: &Tenant) -> Self {
        let directory = tenant.domain.as_ref().unwrap_or(&tenant.id);
        Self::request(
            "invalid_resource",
            500_011,
            format!(
                "The resource principal named {resource} was not found in the tenant named {directory}. This can \
                 happen if the application has not been installed by the administrator of the tenant or consented to \
                 by any user in the tenant. You might have sent your authentication request to the wrong tenant."
            ),
        )
    }

    pub(super) fn malformed_assertion() -> Self {
        Self::request("invalid_request", 50_027, "JWT token is invalid or malformed.")
    }

    pub(super) fn unknown_certificate(reason: &str, thumbprint: &str) -> Self {
        Self::client(
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. \
                 [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}']"
            ),
        )
    }

    pub(super) fn assertion_time() -> Self {
        Self::client(700_024, "Client assertion is not within its valid time range.")
    }

    pub(super) fn assertion_audience() -> Self {
        Self::client(700_023, "Client assertion audience claim does not match Realm issuer.")
    }

    pub(super) fn assertion_subject() -> Self {
        Self::client(700_021, "Client assertion application identifier doesn't match 'client_id' parameter.")
    }

    pub(super) fn federated_issuer(issuer: &str) -> Self {
        Self::client(
            700_211,
            format!("No matching federated identity record found for presented assertion issuer '{issuer}'."),
        )
    }

    pub(super) fn federated_audience(audience: &str) -> Self {
        Self::client(
            700_212,
            format!("No matching federated identity record found for presented assertion audience '{audience}'."),
        )
    }

    pub(super) fn federated_subject(subject: &str) -> Self {
        Self::client(
            700_213,
            format!(
                "No matching federated identity record found for presented assertion subject '{subject}'. Check your \
                 federated identity credential Subject, Audience and Issuer against the presented assertion. \
                 https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
            ),
        )
    }

    /// As Entra writes it.
    pub(super) fn answer(self, request: &Request) -> Answer {
        let (trace, correlation) = (random_uuid(), random_uuid());
        let correlation = request.header("client-request-id").unwrap_or(&correlation);
        let layout = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        let at = OffsetDateTime::now_utc().format(layout).expect("UTC has every part of the layout");
        let Self { status, error, code, text } = self;
        let body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {at}"
            ),
            "error_codes": [code],
            "timestamp": at,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://{}/error?code={code}", request.host),
        });
        Answer::json(status, body).with("cache-control", "no-store, no-cache")
    }
}
