//! Failures without an answer: which of DNS, connection, TLS and time it was, found by walking the causes.

use std::error::Error;
use std::io;

use crate::vaults::azure::transport::Unresolved;
use crate::vaults::{Outage, VaultError, VaultErrorKind as Kind};

/// What a failure of the HTTP client means.
pub(in crate::vaults::azure) fn transport(error: reqwest::Error) -> VaultError {
    // A URL's query can hold a continuation that is nobody's business.
    let error = error.without_url();
    let (kind, detail) = kind(&error);
    VaultError::new(kind, detail).with_source(error)
}

/// The time limit of an attempt or a call has passed.
pub(in crate::vaults::azure) fn timed_out() -> VaultError {
    VaultError::new(Kind::TimedOut, "there was no answer within the time limit")
}

fn kind(error: &reqwest::Error) -> (Kind, &'static str) {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<Unresolved>() {
            return (Kind::Unavailable(Outage::Dns), "the host's name does not resolve; check the name and the DNS");
        }
        if is_tls(cause) {
            return (
                Kind::Unavailable(Outage::Tls),
                "its certificate is not trusted, or TLS failed; a proxy that breaks TLS needs its CA in ca_file",
            );
        }
        next = cause.source();
    }
    if error.is_timeout() {
        return (Kind::TimedOut, "there was no answer within the time limit");
    }
    if error.is_decode() {
        return (Kind::Malformed, "the answer's compression or framing is broken");
    }
    (Kind::Unavailable(Outage::Connection), "the connection failed or was cut")
}

/// rustls hands its errors out inside `io::Error`s, whose `source` skips the error itself.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    cause.is::<rustls::Error>()
        || cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref).is_some_and(|inner| {
            inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(|inner| is_tls(inner))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reqwest::dns::{Name, Resolve, Resolving};

    use super::*;

    struct Nowhere;

    impl Resolve for Nowhere {
        fn resolve(&self, _name: Name) -> Resolving {
            Box::pin(async { Err(Unresolved(io::Error::other("no such host")).into()) })
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_found_beneath_what_the_client_says() {
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(Nowhere));
        let client = client.tls_backend_preconfigured(tls()).build().unwrap();
        let error = client.get("https://pay.vault.azure.net/secrets?x=canary").send().await.unwrap_err();
        let error = transport(error);
        assert_eq!(error.kind(), &Kind::Unavailable(Outage::Dns));
        let cause = error.source().unwrap().to_string();
        assert!(!cause.contains("canary"), "{cause}");
    }

    fn tls() -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    }
}
