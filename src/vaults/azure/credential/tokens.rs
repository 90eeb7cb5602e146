use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared as SharedFuture};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use super::issuer::{Issued, Issuer};
use crate::clock::Moment;
use crate::metrics::{Metrics, TokenTimes};
use crate::vaults::azure::bearer::Bearer;
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
/// A vault that refuses a token names the scope in its challenge. The SDK checks that it fits the vault's host; this list is
/// the second lock, and bounds what one source can hold.
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
/// not, there is one sign-in per scope at a time, and scopes do not wait for one another. Where the identity's files have
/// changed, tokens are made anew of what they hold now, and those held are used meanwhile.
///
/// Lives are counted on [`Moment`]: they go on while the machine is suspended, and no wall clock moves them.
pub(in crate::vaults::azure) struct Tokens {
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// How long, and how often.
#[derive(Debug, Clone)]
pub(in crate::vaults::azure) struct Limits {
    /// One sign-in.
    pub(in crate::vaults::azure) call: Duration,
    /// Between two looks at the files.
    pub(in crate::vaults::azure) look_every: Duration,
}

struct Shared {
    issuer: Arc<dyn Issuer>,
    allowed: Scopes,
    held: Mutex<HashMap<String, Arc<Mutex<State>>>>,
    looking: Mutex<Looking>,
    limits: Limits,
    /// Where to count, under which source's name.
    tally: (Metrics, String),
    tasks: TaskTracker,
    ended: CancellationToken,
}

#[derive(Default)]
struct Looking {
    last: Option<Moment>,
    under_way: bool,
}

/// What is held for one scope. Its lock is never held across an await.
#[derive(Default)]
struct State {
    token: Option<Held>,
    flight: Option<Flight>,
    failure: Option<Failure>,
    /// When a service's refusal last made a renewal.
    forced: Option<Moment>,
}

struct Held {
    token: Bearer,
    /// What it was made of.
    edition: u64,
    came_at: Moment,
    renew_at: Moment,
    expires_at: Moment,
    /// A service refused it: to be replaced before it is used again, if that can be done.
    refused: bool,
}

struct Failure {
    error: VaultError,
    at: Moment,
    in_a_row: u32,
}

type Flight = SharedFuture<BoxFuture<'static, Result<Bearer, VaultError>>>;

impl Tokens {
    /// Tokens made by an issuer, each sign-in within a time limit.
    pub(in crate::vaults::azure) fn new(
        issuer: Arc<dyn Issuer>,
        allowed: Scopes,
        limits: Limits,
        tally: (Metrics, String),
    ) -> Arc<Self> {
        let ended = CancellationToken::new();
        let end = ended.clone().drop_guard();
        let (held, looking, tasks) = (Mutex::default(), Mutex::default(), TaskTracker::new());
        let shared = Shared { issuer, allowed, held, looking, limits, tally, tasks, ended };
        Arc::new(Self { shared: Arc::new(shared), _end: end })
    }

    /// A token that is good now. Waits for a sign-in only if none is held.
    pub(in crate::vaults::azure) async fn get(&self, scope: &str) -> Result<Bearer, VaultError> {
        let shared = &self.shared;
        let Some(scope) = shared.allowed.canonical(scope) else {
            return Err(errors::malformed("a service asked for a token of a resource that is not this cloud's"));
        };
        let now = Moment::now();
        shared.look_if_due(now);
        let state = shared.state(scope);
        let (flight, spare) = {
            let mut held = lock(&state);
            let good = held.token.as_ref().filter(|token| now < token.expires_at);
            let wanted = good.is_none_or(|token| token.refused || now >= token.renew_at);
            let (token, refused) = (good.map(|token| token.token.clone()), good.is_some_and(|token| token.refused));
            let paused = held.pause(now, token.is_some());
            if wanted && held.flight.is_none() && paused.is_none() {
                held.flight = Some(shared.launch(scope, &state));
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
        let now = Moment::now();
        for state in lock(&self.shared.held).values() {
            let mut state = lock(state);
            let recently = state.forced.is_some_and(|forced| now < forced + FORCED_RENEWAL_GAP);
            let Some(held) = state.token.as_mut().filter(|held| held.token.is(bearer)) else { continue };
            if recently {
                tracing::debug!(code, "a token is refused again shortly after its renewal; it is not the token");
            } else if !held.refused {
                held.refused = true;
                state.forced = Some(now);
            }
        }
    }
}

impl Shared {
    fn state(&self, scope: &str) -> Arc<Mutex<State>> {
        let mut held = lock(&self.held);
        if let Some(state) = held.get(scope) {
            return Arc::clone(state);
        }
        let state = Arc::<Mutex<State>>::default();
        held.insert(scope.to_owned(), Arc::clone(&state));
        let watched = Arc::downgrade(&state);
        let (metrics, source) = &self.tally;
        metrics.token(source, audience(scope), move || watched.upgrade().and_then(|state| lock(&state).times()));
        state
    }

    /// Signs in, in a task of its own, so that a caller that goes away does not take the others' sign-in with it.
    fn launch(self: &Arc<Self>, scope: &str, state: &Arc<Mutex<State>>) -> Flight {
        let (source, audience) = (self.tally.1.clone(), audience(scope).to_owned());
        let landing = Landing { state: Arc::clone(state), source, audience };
        let (shared, scope) = (Arc::clone(self), scope.to_owned());
        let task = self.tasks.spawn(async move {
            let outcome = shared.within_limits(shared.issuer.issue(&scope)).await;
            match &outcome {
                Ok(issued) => landing.arrived(issued),
                Err(error) => landing.failed(error),
            }
            outcome.map(|issued| issued.token)
        });
        task.map(|joined| joined.unwrap_or_else(|_panicked| Err(internal()))).boxed().shared()
    }

    async fn within_limits(
        &self,
        sign_in: impl Future<Output = Result<Issued, VaultError>>,
    ) -> Result<Issued, VaultError> {
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(self.limits.call, sign_in) => {
                outcome.unwrap_or_else(|_elapsed| Err(errors::timed_out()))
            }
            () = self.ended.cancelled() => Err(internal()),
        };
        let (metrics, source) = &self.tally;
        metrics.sign_in(source, outcome.as_ref().map_or_else(VaultError::reason, |_| "ok"));
        outcome
    }

    /// Looks at the identity's files, behind the callers, and not too often.
    fn look_if_due(self: &Arc<Self>, now: Moment) {
        if !self.issuer.rotates() {
            return;
        }
        let mut looking = lock(&self.looking);
        let due = looking.last.is_none_or(|last| now - last >= self.limits.look_every);
        if due && !looking.under_way {
            *looking = Looking { last: Some(now), under_way: true };
            let over = LookOver(Arc::clone(self));
            self.tasks.spawn(async move {
                tokio::select! {
                    () = over.0.rotate() => {}
                    () = over.0.ended.cancelled() => {}
                }
            });
        }
    }

    /// Makes the tokens anew that were made of what the files no longer hold. One after the other: what one scope is
    /// refused with, the next would be too.
    async fn rotate(&self) {
        self.issuer.look().await;
        let all: Vec<_> = lock(&self.held).iter().map(|(scope, state)| (scope.clone(), Arc::clone(state))).collect();
        for (scope, state) in all {
            let Some(edition) = self.issuer.untried() else { return };
            let outdated = {
                let state = lock(&state);
                // A sign-in under way reads the files itself; without a token, the next caller starts one.
                state.flight.is_none() && state.token.as_ref().is_some_and(|held| held.edition != edition)
            };
            if outdated {
                match self.within_limits(self.issuer.issue_newest(&scope)).await {
                    Ok(issued) => lock(&state).keep(&issued),
                    Err(error) => return tracing::debug!(%error, "the token held is used on"),
                }
            }
        }
    }
}

impl State {
    /// The last failure, while nobody is to sign in again because of it.
    fn pause(&self, now: Moment, has_token: bool) -> Option<VaultError> {
        let failure = self.failure.as_ref()?;
        let most = if has_token { LONGEST_PAUSE } else { LONGEST_PAUSE_WITHOUT_TOKEN };
        (now < failure.at + pace::growing(failure.in_a_row, FIRST_PAUSE, most)).then(|| failure.error.clone())
    }

    fn keep(&mut self, issued: &Issued) {
        let (now, life) = (Moment::now(), issued.life);
        // A token that expires on its way to the vault would be refused.
        let margin = (life / 10).min(Duration::from_secs(5));
        self.token = Some(Held {
            token: issued.token.clone(),
            edition: issued.edition,
            came_at: now,
            renew_at: now + pace::between(life.mul_f64(0.5), life.mul_f64(0.75)),
            expires_at: now + (life - margin),
            refused: false,
        });
        self.failure = None;
    }

    fn times(&self) -> Option<TokenTimes> {
        let (held, now) = (self.token.as_ref()?, Moment::now());
        Some(TokenTimes { age: now - held.came_at, left: held.expires_at - now })
    }
}

/// Whom a scope's tokens are for: `vault.azure.net`.
fn audience(scope: &str) -> &str {
    scope.trim_start_matches("https://").trim_end_matches("/.default")
}

/// Ends a flight, even one that panicked.
struct Landing {
    state: Arc<Mutex<State>>,
    source: String,
    audience: String,
}

impl Landing {
    fn arrived(&self, issued: &Issued) {
        let mut state = lock(&self.state);
        if state.failure.is_some() {
            tracing::info!(source = self.source, audience = self.audience, "signed in again");
        }
        state.keep(issued);
    }

    /// Tells the operator of what is new, and does not fill the log while an outage lasts.
    fn failed(&self, error: &VaultError) {
        let mut state = lock(&self.state);
        let (source, audience, reason) = (&self.source, &self.audience, error.reason());
        let in_a_row = state.failure.as_ref().map_or(0, |failure| failure.in_a_row).saturating_add(1);
        if state.failure.as_ref().is_some_and(|failure| failure.error.reason() == reason) {
            tracing::debug!(source, audience, reason, in_a_row, "signing in failed again: {error}");
        } else {
            tracing::warn!(source, audience, reason, "signing in failed: {error}");
        }
        state.failure = Some(Failure { error: error.clone(), at: Moment::now(), in_a_row });
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.state).flight = None;
    }
}

/// Ends a look, even one that panicked.
struct LookOver(Arc<Shared>);

impl Drop for LookOver {
    fn drop(&mut self) {
        lock(&self.0.looking).under_way = false;
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
        // The SDK's pipelines keep a token until five minutes before its end, by the wall clock: each would go on with its
        // own after it was renewed here, and after the clock was set back. One that has always expired they ask for anew
        // each time, which costs no more than a lock, and use all the same.
        outcome
            .map(|token| token.ticket())
            .map_err(|error| azure_core::Error::new(ErrorKind::Credential, error.while_signing_in()))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (issuer, allowed) = (&self.shared.issuer, &self.shared.allowed);
        f.debug_struct("Tokens").field("issuer", issuer).field("allowed", allowed).finish_non_exhaustive()
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

#[cfg(test)]
#[path = "rotated_tests.rs"]
mod rotated_tests;
