use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use super::issuer::Issuer;
use crate::vaults::azure::{errors, pace};
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// A token that a service refused is renewed before its time at most this often, so that a refusal that persists (a
/// signing key that a region does not know) does not become a loop of sign-ins.
const FORCED_RENEWAL_GAP: Duration = Duration::from_secs(60);
/// After a failure nobody signs in again for this long, doubling with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause while a token is still good.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest such pause while callers have no token at all; they are given the last failure meanwhile.
const LONGEST_PAUSE_WITHOUT_TOKEN: Duration = Duration::from_secs(2);

/// Which scopes a source may ask tokens for: its resource manager's and its vaults'.
///
/// Vaults name the scope in their challenge. The SDK checks that it fits the vault's host; this list is the second lock,
/// and bounds what one source can hold.
#[derive(Debug, Clone)]
pub(in crate::vaults::azure) struct Scopes(Vec<String>);

impl Scopes {
    /// The scopes of these resources, such as `https://vault.azure.net`.
    pub(in crate::vaults::azure) fn of(resources: impl IntoIterator<Item = Url>) -> Self {
        Self(resources.into_iter().map(|url| scope(&url)).collect())
    }

    /// The canonical form of a scope, if it is one of these. A resource with a trailing slash is the same resource, but
    /// its token would have another audience, which vaults refuse (AKV10022).
    fn canonical(&self, asked: &str) -> Option<&str> {
        let asked = asked.strip_suffix("/.default").and_then(|resource| Url::parse(resource).ok())?;
        let plain = asked.path() == "/" && asked.query().is_none() && asked.username().is_empty();
        let asked = scope(&asked);
        self.0.iter().find(|known| plain && **known == asked).map(String::as_str)
    }
}

/// The scope of a resource.
pub(in crate::vaults::azure) fn scope(resource: &Url) -> String {
    format!("{}/.default", resource.origin().ascii_serialization())
}

/// The tokens of one identity, one per scope.
///
/// A token is renewed in the background when between half and three quarters of its life have passed; a renewal that
/// fails keeps the old token until it expires. However many callers ask at once, and whether they wait to the end or
/// not, there is one sign-in per scope at a time, and scopes do not wait for one another.
pub(in crate::vaults::azure) struct Tokens {
    issuer: Arc<dyn Issuer>,
    allowed: Scopes,
    held: Mutex<HashMap<String, Arc<Mutex<State>>>>,
    limit: Duration,
    tasks: TaskTracker,
    ended: CancellationToken,
    _end: DropGuard,
}

/// What is held for one scope. Its lock is never held across an await.
#[derive(Default)]
struct State {
    token: Option<Held>,
    flight: Option<Flight>,
    failure: Option<Failure>,
    /// When a service's refusal last made a renewal.
    forced: Option<Instant>,
}

struct Held {
    token: AccessToken,
    renew_at: Instant,
    expires_at: Instant,
    /// A service refused it: to be replaced before it is used again, if that can be done.
    refused: bool,
}

struct Failure {
    error: VaultError,
    at: Instant,
    in_a_row: u32,
}

type Flight = Shared<BoxFuture<'static, Result<AccessToken, VaultError>>>;

impl Tokens {
    /// Tokens made by an issuer, each sign-in within a time limit.
    pub(in crate::vaults::azure) fn new(issuer: Arc<dyn Issuer>, allowed: Scopes, limit: Duration) -> Arc<Self> {
        let ended = CancellationToken::new();
        Arc::new(Self {
            issuer,
            allowed,
            held: Mutex::default(),
            limit,
            tasks: TaskTracker::new(),
            _end: ended.clone().drop_guard(),
            ended,
        })
    }

    /// A token that is good now. Waits for a sign-in only if none is held.
    pub(in crate::vaults::azure) async fn get(&self, scope: &str) -> Result<AccessToken, VaultError> {
        let Some(scope) = self.allowed.canonical(scope) else {
            return Err(errors::malformed("a service asked for a token of a resource that is not this cloud's"));
        };
        let state = Arc::clone(lock(&self.held).entry(scope.to_owned()).or_default());
        let now = Instant::now();
        let (flight, spare) = {
            let mut held = lock(&state);
            let good = held.token.as_ref().filter(|token| now < token.expires_at);
            let wanted = good.is_none_or(|token| token.refused || now >= token.renew_at);
            let (token, refused) = (good.map(|token| token.token.clone()), good.is_some_and(|token| token.refused));
            let paused = held.pause(now, token.is_some());
            if wanted && held.flight.is_none() && paused.is_none() {
                held.flight = Some(self.launch(scope, &state));
            }
            match (token, &held.flight) {
                (Some(token), _) if !refused => return Ok(token),
                (spare, Some(flight)) => (flight.clone(), spare),
                (Some(token), None) => return Ok(token),
                (None, None) => return Err(paused.unwrap_or_else(internal)),
            }
        };
        match (flight.await, spare) {
            (Err(error), Some(token)) => {
                tracing::warn!(%error, "a refused token could not be replaced; it is used until it expires");
                Ok(token)
            }
            (outcome, _) => outcome,
        }
    }

    /// A service refused a token: if it is the one held, it is replaced before the next use. `code` is what the service
    /// gave as its reason.
    pub(in crate::vaults::azure) fn refused(&self, bearer: &str, code: Option<&str>) {
        // The vault is in another tenant: no token of this identity is ever good there, and this one is good elsewhere.
        if code == Some("AKV10032") {
            return;
        }
        let now = Instant::now();
        for state in lock(&self.held).values() {
            let mut state = lock(state);
            let recently = state.forced.is_some_and(|forced| now < forced + FORCED_RENEWAL_GAP);
            let Some(held) = state.token.as_mut().filter(|held| held.token.token.secret() == bearer) else { continue };
            if recently {
                tracing::debug!(code, "a token is refused again shortly after its renewal; it is not the token");
            } else if !held.refused {
                held.refused = true;
                state.forced = Some(now);
            }
        }
    }

    /// Signs in, in a task of its own, so that a caller that goes away does not take the others' sign-in with it.
    fn launch(&self, scope: &str, state: &Arc<Mutex<State>>) -> Flight {
        let (issuer, scope, limit) = (Arc::clone(&self.issuer), scope.to_owned(), self.limit);
        let (landing, ended) = (Landing(Arc::clone(state)), self.ended.clone());
        let task = self.tasks.spawn(async move {
            let outcome = tokio::select! {
                outcome = tokio::time::timeout(limit, issuer.issue(&scope)) => {
                    outcome.unwrap_or_else(|_elapsed| Err(errors::timed_out()))
                }
                () = ended.cancelled() => Err(internal()),
            };
            landing.settle(&outcome);
            outcome
        });
        task.map(|joined| joined.unwrap_or_else(|_panicked| Err(internal()))).boxed().shared()
    }
}

impl State {
    /// The last failure, while nobody is to sign in again because of it.
    fn pause(&self, now: Instant, has_token: bool) -> Option<VaultError> {
        let failure = self.failure.as_ref()?;
        let most = if has_token { LONGEST_PAUSE } else { LONGEST_PAUSE_WITHOUT_TOKEN };
        (now < failure.at + pace::growing(failure.in_a_row, FIRST_PAUSE, most)).then(|| failure.error.clone())
    }
}

/// Ends a flight, even one that panicked.
struct Landing(Arc<Mutex<State>>);

impl Landing {
    fn settle(&self, outcome: &Result<AccessToken, VaultError>) {
        let now = Instant::now();
        let mut state = lock(&self.0);
        match outcome {
            Ok(token) => {
                let life = Duration::try_from(token.expires_on - OffsetDateTime::now_utc()).unwrap_or_default();
                // A token that expires on its way to the vault would be refused.
                let margin = (life / 10).min(Duration::from_secs(5));
                state.token = Some(Held {
                    token: token.clone(),
                    renew_at: now + pace::between(life.mul_f64(0.5), life.mul_f64(0.75)),
                    expires_at: now + life - margin,
                    refused: false,
                });
                state.failure = None;
            }
            Err(error) => {
                let in_a_row = state.failure.as_ref().map_or(0, |failure| failure.in_a_row).saturating_add(1);
                tracing::warn!(%error, reason = error.reason(), in_a_row, "signing in failed");
                state.failure = Some(Failure { error: error.clone(), at: now, in_a_row });
            }
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.0).flight = None;
    }
}

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let outcome = match scopes {
            [scope] => self.get(scope).await,
            _ => Err(errors::malformed("a token is for exactly one resource")),
        };
        outcome.map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

fn internal() -> VaultError {
    VaultError::new(VaultErrorKind::Unavailable(Outage::Internal), "signing in was broken off")
}

/// A lock that a panicking holder left is as good as any: no state is half-written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
