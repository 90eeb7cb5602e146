//! Refusals of Azure Resource Manager and Resource Graph. None of them is a statement about a vault.

use super::codes::{Cause, Codes};
use super::{aadsts_code, akv_code};
use crate::vaults::azure::transport::{Answer, retry_after};
use crate::vaults::{Denial, Outage, VaultError, VaultErrorKind as Kind};

pub(super) fn refusal(answer: &Answer) -> VaultError {
    let codes = Codes::of(answer);
    let (kind, detail) = match answer.status {
        401 => (
            Kind::Unauthenticated { code: aadsts_code(&answer.body).or_else(|| akv_code(answer)) },
            "the resource manager does not accept the token; check tenant_id and cloud",
        ),
        403 if codes.outer.is_some() => (
            Kind::Denied(Denial::Rbac),
            "this identity may not look for vaults there; grant it 'Reader' on the subscription, or name the vaults in the \
             configuration",
        ),
        404 if codes.outer.is_some() => (Kind::NotFound, "the resource manager knows no such subscription or service"),
        429 => (
            Kind::Throttled { retry_after: retry_after(&answer.headers) },
            "the resource manager throttles this identity",
        ),
        300..=399 => (Kind::Malformed, "the resource manager answered with a redirect, which is not followed"),
        status => (Kind::Unavailable(Outage::Server(status)), "the resource manager failed"),
    };
    VaultError::new(kind, detail).with_source(Cause::of(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        let of = |status, body: &str| {
            let answer = Answer { status, headers: Default::default(), body: body.as_bytes().to_vec().into() };
            refusal(&answer).kind().clone()
        };
        let body = r#"{"error":{"code":"AuthorizationFailed","message":"The client 'x'\r\n does not have"}}"#;
        assert_eq!(of(403, body), Kind::Denied(Denial::Rbac));
        assert_eq!(of(403, "blocked"), Kind::Unavailable(Outage::Server(403)));
        assert_eq!(of(404, r#"{"error":{"code":"SubscriptionNotFound","message":""}}"#), Kind::NotFound);
        assert_eq!(of(404, ""), Kind::Unavailable(Outage::Server(404)));
        assert_eq!(of(503, ""), Kind::Unavailable(Outage::Server(503)));
        assert_eq!(of(401, ""), Kind::Unauthenticated { code: None });
        assert_eq!(of(302, ""), Kind::Malformed);
    }
}
