//! Refusals of Entra and of the metadata service that stands in for it on Azure's machines.
//!
//! That Entra is down or slow says nothing about the credential: only an answer in Entra's own words is a sign-in that
//! failed.

use serde::Deserialize;

use super::codes::Cause;
use super::{aadsts_code, malformed};
use crate::vaults::azure::transport::{Answer, retry_after};
use crate::vaults::{Outage, VaultError, VaultErrorKind as Kind};

#[derive(Deserialize)]
struct Envelope {
    error: Option<String>,
}

#[derive(Deserialize)]
struct Life {
    expires_in: i64,
}

/// Seconds in a year. No token lasts for longer.
const LONGEST_LIFE: i64 = 366 * 24 * 3600;

/// Whether it is an answer of Entra's token endpoint that the SDK may see: one with a life that cannot be counted makes
/// it panic.
pub(in crate::vaults::azure) fn verdict(answer: &Answer) -> Result<(), VaultError> {
    if !(200..300).contains(&answer.status) {
        return Err(refusal(answer));
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Life { expires_in }) if !(0..=LONGEST_LIFE).contains(&expires_in) => {
            Err(malformed("Entra's answer tells of a token that lasts for no time, or for longer than any does"))
        }
        // What is no such answer at all, the SDK refuses.
        Ok(Life { .. }) | Err(_) => Ok(()),
    }
}

/// The same for the metadata service, whose times the SDK checks.
pub(in crate::vaults::azure) fn identity_service_verdict(answer: &Answer) -> Result<(), VaultError> {
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(identity_service_refusal(answer)) }
}

/// What an answer of Entra's token endpoint means that is not a success.
fn refusal(answer: &Answer) -> VaultError {
    let code = aadsts_code(&answer.body);
    let word = serde_json::from_slice::<Envelope>(&answer.body).ok().and_then(|envelope| envelope.error);
    let transient = word.as_deref() == Some("temporarily_unavailable") || code.as_deref() == Some("AADSTS90033");
    let (kind, detail) = match answer.status {
        429 => throttled(answer),
        status @ 500..=599 => unavailable(status),
        status if transient => unavailable(status),
        300..=399 => (Kind::Malformed, "Entra answered with a redirect, which is not followed"),
        status if word.is_none() && code.is_none() => {
            (Kind::Unavailable(Outage::Server(status)), "something answered in Entra's place, not in its words")
        }
        _ => {
            let detail = advice(code.as_deref());
            (Kind::Unauthenticated { code }, detail)
        }
    };
    VaultError::new(kind, detail).with_source(Cause::of(answer))
}

/// What an answer of the metadata service (IMDS, or App Service's endpoint) means that is not a success.
fn identity_service_refusal(answer: &Answer) -> VaultError {
    let (kind, detail) = match answer.status {
        400 => (
            Kind::Unauthenticated { code: aadsts_code(&answer.body) },
            "this machine has no such managed identity; assign one to it, or correct the client id",
        ),
        401 | 403 => (
            Kind::Unauthenticated { code: aadsts_code(&answer.body) },
            "the machine's metadata service refuses to give a token",
        ),
        429 => throttled(answer),
        status => (Kind::Unavailable(Outage::Server(status)), "the machine's metadata service failed; is this Azure?"),
    };
    VaultError::new(kind, detail).with_source(Cause::of(answer))
}

fn throttled(answer: &Answer) -> (Kind, &'static str) {
    (Kind::Throttled { retry_after: retry_after(&answer.headers) }, "signing in is throttled")
}

fn unavailable(status: u16) -> (Kind, &'static str) {
    (Kind::Unavailable(Outage::Server(status)), "Entra failed; the credential may well be good")
}

/// What to do about a refusal
/// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes>).
fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("AADSTS7000215") => "the client secret is wrong; give its value, not its id",
        Some("AADSTS7000222") => "the client secret has expired; make a new one for the application",
        Some("AADSTS7000216") => "the application asks for a client secret or certificate, and none was sent",
        Some("AADSTS700016") => "the tenant has no such application; check client_id and tenant_id",
        Some("AADSTS7000112") => "the application is disabled in its tenant",
        Some("AADSTS90002" | "AADSTS900023" | "AADSTS900021") => "there is no such tenant; check tenant_id and cloud",
        Some("AADSTS700027") => {
            "the certificate is not registered with the application, or does not fit the private key"
        }
        Some("AADSTS70021" | "AADSTS700211" | "AADSTS700212" | "AADSTS700213") => {
            "no federated identity of the application fits the token file; check issuer, subject and audience"
        }
        Some("AADSTS700024") => "the token file has expired, or the clock of this machine is wrong",
        Some("AADSTS500011") => "the tenant does not know this service; check cloud and vault_suffixes",
        Some("AADSTS53003") => "a conditional access policy forbids it",
        Some(_) | None => "signing in was refused; look the code up for what to do",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> VaultError {
        refusal(&Answer { status, headers: Default::default(), body: body.as_bytes().to_vec().into() })
    }

    #[test]
    fn the_code_survives_the_line_breaks_that_real_bodies_have() {
        let error = of(
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid \"client\" secret.\r\nTrace ID: 1","error_codes":[7000215]}"#,
        );
        assert_eq!(error.kind(), &Kind::Unauthenticated { code: Some("AADSTS7000215".into()) });
        assert!(error.to_string().contains("client secret is wrong"), "{error}");
        assert!(!error.to_string().contains("Trace"));
    }

    #[test]
    fn an_outage_of_entra_is_not_a_wrong_credential() {
        assert_eq!(of(503, "<html>").kind(), &Kind::Unavailable(Outage::Server(503)));
        assert_eq!(of(500, r#"{"error":"server_error"}"#).kind(), &Kind::Unavailable(Outage::Server(500)));
        assert_eq!(of(407, "proxy says no").kind(), &Kind::Unavailable(Outage::Server(407)));
        let transient = r#"{"error":"temporarily_unavailable","error_description":"AADSTS90033: transient"}"#;
        assert_eq!(of(400, transient).kind(), &Kind::Unavailable(Outage::Server(400)));
        assert_eq!(of(429, "").kind(), &Kind::Throttled { retry_after: None });
    }

    #[test]
    fn a_life_that_cannot_be_counted_is_never_shown_to_the_sdk() {
        let of = |life: &str| {
            let body = format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"t"}}"#);
            verdict(&Answer { status: 200, headers: Default::default(), body: body.into() })
        };
        assert!(of("3599").is_ok() && of("0").is_ok());
        for life in ["9223372036854775807", "-1", "-9223372036854775808", "99999999999"] {
            assert_eq!(of(life).unwrap_err().kind(), &Kind::Malformed, "{life}");
        }
    }
}
