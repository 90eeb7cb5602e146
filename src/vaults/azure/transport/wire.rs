use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, Headers, WWW_AUTHENTICATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Request};
use tokio::time::Instant;
use url::Url;

use super::retries::Retries;
use super::{Transport, retry_after};
use crate::clock::Moment;
use crate::vaults::azure::bearer;
use crate::vaults::azure::errors::{self, akv_code};
use crate::vaults::azure::pace;
use crate::vaults::{Outage, VaultError, VaultErrorKind};

pub(super) const BEARER: &str = "Bearer ";
/// The first wait before another attempt; it doubles.
const FIRST_WAIT: std::time::Duration = std::time::Duration::from_millis(100);
/// The longest wait of our own choosing, and the longest that a failing vault may ask for and be waited for: whoever
/// asked it (a reader, or the catalog with its own loop) knows better than this layer what to do in the meantime.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
/// The longest that Entra or Resource Manager may ask for and be waited for: there is nobody else to ask.
const LONGEST_COMMON_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Whom a pipeline may talk to.
#[derive(Debug, Clone)]
pub(in crate::vaults::azure) enum Peer {
    /// Exactly this origin: scheme, host and port (443 if it names none).
    Origin(Url),
    /// The machine's own metadata service: no bearer goes there and its address comes from the platform. `reroute`
    /// replaces the well-known address.
    Platform {
        /// Where the metadata service is instead.
        reroute: Option<Url>,
    },
}

/// The address at which every cloud's virtual machines find their metadata service.
const METADATA_HOST: &str = "169.254.169.254";

impl Peer {
    /// The URL to ask, or a refusal before a byte is sent.
    fn admit(&self, url: &Url) -> Result<Url, VaultError> {
        match self {
            Self::Origin(origin) if url.scheme() == "https" && url.origin() == origin.origin() => Ok(url.clone()),
            Self::Origin(_) => Err(VaultError::new(
                VaultErrorKind::Malformed,
                format!(
                    "the answer points to the foreign host {:?}, which is not followed",
                    url.host_str().unwrap_or("")
                ),
            )),
            Self::Platform { reroute: Some(base) } if url.host_str() == Some(METADATA_HOST) => {
                let mut moved = base.clone();
                moved.set_path(url.path());
                moved.set_query(url.query());
                Ok(moved)
            }
            Self::Platform { .. } => Ok(url.clone()),
        }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Platform { .. })
    }
}

/// Told what the tokens met that went over a pipeline.
pub(in crate::vaults::azure) trait BearerWatch: fmt::Debug + Send + Sync {
    /// A request with a token was answered, whatever the answer was but a 401.
    fn accepted(&self);
    /// The token was refused with a 401; `code` is the `AKV…` that came with it.
    fn refused(&self, bearer: &str, code: Option<&str>);
}

/// The instant by which a call must be over, put into the SDK's context: no attempt and no wait goes past it.
#[derive(Debug, Clone, Copy)]
pub(in crate::vaults::azure) struct Deadline(pub(in crate::vaults::azure) Instant);

/// A whole answer, at most as large as allowed.
pub(in crate::vaults::azure) struct Answer {
    pub(in crate::vaults::azure) status: u16,
    pub(in crate::vaults::azure) headers: Headers,
    pub(in crate::vaults::azure) body: Bytes,
}

/// Makes an error of an answer that is not a success, where the SDK would lose what it says, and of one that the SDK must
/// not see.
pub(in crate::vaults::azure) type Judge = fn(&Answer) -> Result<(), VaultError>;

/// What one vault's calls have met.
#[derive(Debug, Default)]
struct Budgeted {
    retries: Retries,
    /// How often it said 429.
    throttled: AtomicU64,
}

/// The last policy of a pipeline: checks the peer, sends, retries, caps the body and watches the tokens.
///
/// Failures leave it as `ErrorKind::Other` with a [`VaultError`] inside: the SDK never retries those, so that retries
/// are in one layer, and the cause survives to be found by [`errors::classify`].
#[derive(Debug)]
pub(in crate::vaults::azure) struct Wire {
    transport: Arc<Transport>,
    peer: Peer,
    max_body: usize,
    /// An upstream that asks to be left alone for longer is not waited for.
    longest_wait: std::time::Duration,
    /// Of a vault, whose budget is kept above: what may be repeated, and never after a 429.
    budgeted: Option<Budgeted>,
    /// What a request without a token is told that tokens are wanted for, instead of being sent.
    wants_tokens_for: Option<Url>,
    watch: Option<Arc<dyn BearerWatch>>,
    judge: Option<Judge>,
}

impl Wire {
    pub(in crate::vaults::azure) fn new(transport: Arc<Transport>, peer: Peer) -> Self {
        let max_body = transport.limits.max_body;
        Self {
            transport,
            peer,
            max_body,
            longest_wait: LONGEST_COMMON_WAIT,
            budgeted: None,
            wants_tokens_for: None,
            watch: None,
            judge: None,
        }
    }

    /// The peer is a vault: a 429 is told at once, for all of its calls, and failures are repeated within a budget.
    pub(in crate::vaults::azure) fn budgeted(self) -> Self {
        Self { longest_wait: LONGEST_WAIT, budgeted: Some(Budgeted::default()), ..self }
    }

    /// The SDK sends a client's first request without a token, to learn what tokens the vault wants; where that is known
    /// beforehand, the challenge is made here and costs no exchange. What the vault itself says of a token still counts.
    pub(in crate::vaults::azure) fn wants_tokens_for(self, resource: Option<Url>) -> Self {
        Self { wants_tokens_for: resource, ..self }
    }

    pub(in crate::vaults::azure) fn watched(self, watch: Arc<dyn BearerWatch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    pub(in crate::vaults::azure) fn judged(self, judge: Judge) -> Self {
        Self { judge: Some(judge), ..self }
    }

    pub(in crate::vaults::azure) fn max_body(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    /// As the SDK takes it.
    pub(in crate::vaults::azure) fn into_sdk(self) -> azure_core::http::Transport {
        azure_core::http::Transport::with_policy(Arc::new(self))
    }

    async fn call(&self, context: &Context<'_>, request: &Request) -> Result<Answer, VaultError> {
        let url = self.peer.admit(request.url())?;
        if let Some(resource) = &self.wants_tokens_for
            && request.headers().get_optional_str(&AUTHORIZATION).is_none()
        {
            return Ok(challenge(resource));
        }
        let limits = &self.transport.limits;
        let deadline = context.value::<Deadline>().map_or_else(|| Instant::now() + limits.call, |deadline| deadline.0);
        let mut failures = 0;
        let throttled = self.throttled();
        if let Some(budgeted) = &self.budgeted {
            budgeted.retries.first(Moment::now());
        }
        loop {
            let outcome = self.attempt(&url, request, deadline).await;
            if let (Some(budgeted), Ok(Answer { status: 429, .. })) = (&self.budgeted, &outcome) {
                budgeted.throttled.fetch_add(1, Ordering::AcqRel);
                return outcome;
            }
            let asked = match &outcome {
                Ok(answer) if !is_transient(answer.status) => return outcome,
                Ok(answer) => retry_after(&answer.headers),
                Err(error) if !may_pass(error.kind()) => return outcome,
                Err(_) => None,
            };
            failures += 1;
            let own = pace::growing(failures, FIRST_WAIT, LONGEST_WAIT);
            let wait = asked.unwrap_or_default().max(pace::between(own / 2, own));
            // A wait that is too long, or would not leave room for another attempt, is not begun: the caller learns of the
            // throttling or the outage now, not of a time-out later. Nor is it cut short: the upstream would refuse again.
            let bearable = asked.is_none_or(|asked| asked <= self.longest_wait);
            let fits = Instant::now().checked_add(wait).is_some_and(|then| then < deadline);
            if failures > limits.retries || !bearable || !fits {
                return outcome;
            }
            if self.budgeted.as_ref().is_some_and(|budgeted| !budgeted.retries.another(Moment::now())) {
                return outcome;
            }
            tokio::time::sleep(wait).await;
            // Another call was told to leave the vault alone, meanwhile.
            if self.throttled() != throttled {
                return outcome;
            }
        }
    }

    fn throttled(&self) -> u64 {
        self.budgeted.as_ref().map_or(0, |budgeted| budgeted.throttled.load(Ordering::Acquire))
    }

    async fn attempt(&self, url: &Url, request: &Request, deadline: Instant) -> Result<Answer, VaultError> {
        let until = deadline.min(Instant::now() + self.transport.limits.attempt);
        let exchange = self.transport.carrier.exchange(url, &self.peer, request, self.max_body);
        match tokio::time::timeout_at(until, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(errors::timed_out()),
        }
    }

    fn tell_watch(&self, request: &Request, answer: &Answer) {
        let (Some(watch), Some(header)) = (&self.watch, request.headers().get_optional_str(&AUTHORIZATION)) else {
            return;
        };
        // The ticket is opened for a token that was refused, and for no other.
        let refused = (answer.status == 401).then(|| header.strip_prefix(BEARER).and_then(bearer::redeem)).flatten();
        match refused {
            Some(bearer) => watch.refused(&bearer, akv_code(answer).as_deref()),
            None => watch.accepted(),
        }
    }
}

#[async_trait]
impl Policy for Wire {
    async fn send(&self, context: &Context, request: &mut Request, _next: &[Arc<dyn Policy>]) -> PolicyResult {
        let outcome = self.call(context, request).await;
        let outcome = match (outcome, self.judge) {
            (Ok(answer), Some(judge)) => judge(&answer).map(|()| answer),
            (outcome, _) => outcome,
        };
        let answer = outcome.map_err(|error| azure_core::Error::new(ErrorKind::Other, error))?;
        self.tell_watch(request, &answer);
        Ok(AsyncRawResponse::from_bytes(answer.status.into(), answer.headers, answer.body))
    }
}

/// What a vault answers to a request without a token, as far as the SDK reads it.
fn challenge(resource: &Url) -> Answer {
    let mut headers = Headers::new();
    headers.insert(WWW_AUTHENTICATE, format!("Bearer resource=\"{}\"", resource.origin().ascii_serialization()));
    Answer { status: 401, headers, body: Bytes::new() }
}

/// Statuses that another attempt may not meet again.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Failures without a status that another attempt may not meet again.
fn may_pass(kind: &VaultErrorKind) -> bool {
    match kind {
        VaultErrorKind::TimedOut
        | VaultErrorKind::Unavailable(Outage::Dns | Outage::Connection)
        | VaultErrorKind::Throttled { .. } => true,
        VaultErrorKind::Unavailable(
            Outage::Tls | Outage::Server(_) | Outage::Firewall | Outage::PrivateLink | Outage::Internal,
        )
        | VaultErrorKind::NotFound
        | VaultErrorKind::Disabled
        | VaultErrorKind::Denied(_)
        | VaultErrorKind::Unauthenticated { .. }
        | VaultErrorKind::Malformed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origin: &str, url: &str) -> bool {
        Peer::Origin(Url::parse(origin).unwrap()).admit(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn only_the_same_origin_is_admitted_and_the_default_port_is_the_same() {
        let vault = "https://pay.vault.azure.net";
        assert!(admits(vault, "https://pay.vault.azure.net/secrets?x=1"));
        assert!(admits(vault, "https://pay.vault.azure.net:443/secrets?$skiptoken=a%2Fb"));
        assert!(admits(vault, "https://PAY.vault.azure.net/"));
        for foreign in [
            "http://pay.vault.azure.net/secrets",
            "https://pay.vault.azure.net:8443/secrets",
            "https://other.vault.azure.net/secrets",
            "https://pay.vault.azure.net.evil.example/secrets",
            "https://pay.vault.azure.net@evil.example/secrets",
            "https://pay.vault.azure.net./secrets",
        ] {
            assert!(!admits(vault, foreign), "{foreign}");
        }
    }

    #[test]
    fn the_metadata_service_can_be_moved_and_keeps_path_and_query() {
        let peer = Peer::Platform { reroute: Some(Url::parse("http://127.0.0.1:4000").unwrap()) };
        let asked = Url::parse("http://169.254.169.254/metadata/identity/oauth2/token?resource=x").unwrap();
        let moved = peer.admit(&asked).unwrap();
        assert_eq!(moved.as_str(), "http://127.0.0.1:4000/metadata/identity/oauth2/token?resource=x");
    }
}
