//! What an answer, or its absence, means for whoever asked.
//!
//! Decided from the raw body's `innererror.code`, because the SDK's own `error_code` is lost whenever the message holds
//! an escape, as every real RBAC and firewall refusal does. What is told to people is in our own words and says what
//! mends it: upstream texts carry object ids and addresses, so they are neither shown nor kept. The cause kept for the
//! log is the status, the codes and the request id.

mod arm;
mod codes;
mod entra;
mod key_vault;
mod wire;

use std::error::Error;

use azure_core::error::ErrorKind;

pub(super) use codes::{aadsts_code, akv_code};
pub(super) use entra::{identity_service_verdict, verdict as entra_verdict};
pub(super) use wire::{timed_out, transport};

use super::transport::Answer;
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// Which service's answers are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// A vault's own endpoint.
    KeyVault,
    /// Azure Resource Manager, Resource Graph included.
    ResourceManager,
}

/// The meaning of an error of the SDK.
pub(super) fn classify(service: Service, error: &azure_core::Error) -> VaultError {
    if let Some(own) = find_own(error) {
        return own;
    }
    match error.kind() {
        ErrorKind::HttpResponse { raw_response: Some(raw), .. } => {
            let (status, headers, body) = raw.as_ref().clone().deconstruct();
            refusal(service, &Answer { status: status.into(), headers, body: body.into() })
        }
        ErrorKind::HttpResponse { status, raw_response: None, .. } => refusal(
            service,
            &Answer { status: (*status).into(), headers: Default::default(), body: Default::default() },
        ),
        ErrorKind::DataConversion => malformed("the answer is not the JSON that was expected"),
        // A credential of the SDK wraps whatever it met.
        ErrorKind::Credential if wraps_conversion(error) => malformed("the identity service's answer is not a token"),
        ErrorKind::Credential => VaultError::new(
            VaultErrorKind::Unauthenticated { code: aadsts_code(error.to_string().as_bytes()) },
            "signing in gave no token",
        ),
        ErrorKind::Connection | ErrorKind::Io => {
            VaultError::new(VaultErrorKind::Unavailable(Outage::Connection), "the connection failed")
        }
        // Our transport's failures are found above; what is left are the SDK's own objections to an answer: a
        // challenge for another resource, or a link that is no URL.
        ErrorKind::Other => malformed("the answer's sign-in challenge or link is not one for this host"),
    }
}

/// The meaning of an answer that is not a success.
fn refusal(service: Service, answer: &Answer) -> VaultError {
    match service {
        Service::KeyVault => key_vault::refusal(answer),
        Service::ResourceManager => arm::refusal(answer),
    }
}

pub(super) fn malformed(detail: &'static str) -> VaultError {
    VaultError::new(VaultErrorKind::Malformed, detail)
}

fn wraps_conversion(error: &azure_core::Error) -> bool {
    error
        .downcast_ref::<azure_core::Error>()
        .is_some_and(|inner| matches!(inner.kind(), ErrorKind::DataConversion) || wraps_conversion(inner))
}

/// An error of ours that travelled through the SDK.
fn find_own(error: &(dyn Error + 'static)) -> Option<VaultError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<VaultError>() {
            return Some(own.clone());
        }
        next = error.source();
    }
    None
}
