//! Key Vault's refusals.
//!
//! Only a refusal that is understood is authoritative. A 403 of a shape that is not known here, or a 404 that does not
//! say `SecretNotFound`, may come from a proxy, a private link or a future Key Vault: it is an outage, and loud, so that
//! values held stay good.

use super::akv_code;
use super::codes::{Cause, Codes};
use crate::vaults::azure::transport::{Answer, retry_after};
use crate::vaults::{Denial, Outage, VaultError, VaultErrorKind as Kind};

pub(super) fn refusal(answer: &Answer) -> VaultError {
    let codes = Codes::of(answer);
    let inner = codes.inner.as_deref();
    let (kind, detail) = match answer.status {
        401 => unauthenticated(akv_code(answer)),
        403 => forbidden(inner),
        404 if codes.outer.as_deref() == Some("SecretNotFound") || inner == Some("SecretNotFound") => {
            (Kind::NotFound, "the vault holds no such secret or version")
        }
        429 => (
            Kind::Throttled { retry_after: retry_after(&answer.headers) },
            "the vault throttles: too many calls from this client or its subscription",
        ),
        400 => (
            Kind::Unavailable(Outage::Internal),
            "the vault did not understand the request; this cloud may lag behind the API version that is used",
        ),
        300..=399 => (Kind::Malformed, "the vault answered with a redirect, which is not followed"),
        status => (Kind::Unavailable(Outage::Server(status)), server(status)),
    };
    let loud = matches!(kind, Kind::Unavailable(Outage::Server(status)) if status < 500);
    let cause = Cause::of(answer);
    if loud {
        tracing::warn!(%cause, "a vault refused in a way that is not known; treated as an outage");
    }
    VaultError::new(kind, detail).with_source(cause)
}

fn unauthenticated(code: Option<String>) -> (Kind, &'static str) {
    let detail = match code.as_deref() {
        Some("AKV10032") => {
            "the vault trusts another tenant than the one signed in to; configure a [[source]] for the vault's tenant"
        }
        Some("AKV10022") => {
            "the token is for another audience than this cloud's vaults; check cloud and vault_suffixes"
        }
        Some("AKV10046") => "the vault could not check the token's signature, which tends to pass; try again",
        Some(_) | None => "the vault does not accept the token",
    };
    (Kind::Unauthenticated { code }, detail)
}

fn forbidden(inner: Option<&str>) -> (Kind, &'static str) {
    match inner {
        Some("SecretDisabled") => (Kind::Disabled, "the secret, or the version asked for, is disabled"),
        Some("ForbiddenByRbac") => (
            Kind::Denied(Denial::Rbac),
            "no role assignment lets this identity do it; grant it 'Key Vault Secrets User' on the vault",
        ),
        Some("AccessDenied" | "ForbiddenByPolicy") => (
            Kind::Denied(Denial::AccessPolicy),
            "the vault's access policy does not allow this identity; give it the secret permissions get and list",
        ),
        Some("ForbiddenByFirewall") => (
            Kind::Unavailable(Outage::Firewall),
            "the vault's firewall does not let this address in; allow it, or use a private endpoint",
        ),
        Some("ForbiddenByConnection") => (
            Kind::Unavailable(Outage::PrivateLink),
            "the vault's public access is off and this is not its private link; run inside its network",
        ),
        Some(_) | None => {
            (Kind::Unavailable(Outage::Server(403)), "the vault refused for a reason that is not known here")
        }
    }
}

fn server(status: u16) -> &'static str {
    match status {
        404 => "something answered in the vault's place: 'not found', but not in Key Vault's words",
        500..=599 => "the vault answered with a server error",
        _ => "the vault answered with an unexpected status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Kind {
        let answer = Answer { status, headers: Default::default(), body: body.as_bytes().to_vec().into() };
        refusal(&answer).kind().clone()
    }

    fn inner(code: &str) -> String {
        format!(
            r#"{{"error":{{"code":"Forbidden","message":"Caller: appid=1\r\noid=2","innererror":{{"code":"{code}"}}}}}}"#
        )
    }

    #[test]
    fn every_403_is_told_apart_by_its_inner_code() {
        assert_eq!(of(403, &inner("ForbiddenByRbac")), Kind::Denied(Denial::Rbac));
        assert_eq!(of(403, &inner("AccessDenied")), Kind::Denied(Denial::AccessPolicy));
        assert_eq!(of(403, &inner("ForbiddenByFirewall")), Kind::Unavailable(Outage::Firewall));
        assert_eq!(of(403, &inner("ForbiddenByConnection")), Kind::Unavailable(Outage::PrivateLink));
        assert_eq!(of(403, &inner("SecretDisabled")), Kind::Disabled);
    }

    #[test]
    fn a_403_that_is_not_known_is_an_outage_and_not_a_denial() {
        for body in ["", "<html>blocked by proxy</html>", "{}", &inner("SomethingNew"), r#"{"error":"denied"}"#] {
            assert!(!refusal_kind_is_authoritative(403, body), "{body}");
        }
    }

    #[test]
    fn a_404_counts_only_in_key_vaults_own_words() {
        assert_eq!(
            of(404, r#"{"error":{"code":"SecretNotFound","message":"A secret with (name/id) x"}}"#),
            Kind::NotFound
        );
        assert_eq!(of(404, "404 page not found"), Kind::Unavailable(Outage::Server(404)));
    }

    #[test]
    fn no_upstream_text_reaches_the_error_or_its_cause() {
        let answer = Answer { status: 403, headers: Default::default(), body: inner("ForbiddenByRbac").into() };
        let error = refusal(&answer);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "HTTP 403 Forbidden ForbiddenByRbac");
        assert!(!error.to_string().contains("appid"), "{error}");
    }

    fn refusal_kind_is_authoritative(status: u16, body: &str) -> bool {
        of(status, body).is_authoritative()
    }
}
