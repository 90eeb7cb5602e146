//! One vault's values: from the cache if what it holds may be served, else by one flight per key.
//!
//! What must never happen: a reader that waits for a value that is held, unless it asked to; an answer from a flight
//! that began before a reader insisted on a new one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, TryStreamExt};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::watch::Hub;
use super::{Ask, Error, Forward, Origin, Reading};
use crate::cache::{Cache, Freshness, Held, Kept, Key, KeyOf, Sight, Verdict};
use crate::catalog::{Catalog, Entry};
use crate::clock::Moment;
use crate::flight::{Board, Flights, Full};
use crate::secret::{Metadata, Reference, SecretName, VaultName};
use crate::sparing::Sparing;
use crate::vaults::asked::timed;
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// Bounds on the calls to vaults.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) read_limit: Duration,
    pub(super) reads_in_all: usize,
}

/// Between two reads of one secret that readers insist on, at least.
const FORCED_FLOOR: Duration = Duration::from_secs(1);
/// Renewals under way at once: few enough that a reader who must wait for a vault does not wait behind them.
const RENEWALS: usize = 128;

/// Who waits for a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Reader,
    Nobody,
}

/// Reads of values from vaults, with the cache before them. A cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    catalog: Catalog,
    cache: Cache,
    flights: Flights<Key, Result<Arc<Held>, VaultError>>,
    limits: Limits,
    hub: Hub,
    /// By vault and reason.
    told: Sparing<(VaultName, &'static str)>,
}

impl Upstream {
    pub(super) fn new(catalog: Catalog, cache: Cache, limits: Limits, hub: Hub) -> Self {
        let flights = Flights::new(limits.reads_in_all);
        Self { catalog, cache, flights, limits, hub, told: Sparing::default() }
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) async fn landed(&self) {
        self.flights.landed().await;
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What that vault holds under the name and version asked for. Never waits for what is held and may be served.
    pub(super) async fn read(&self, entry: &Entry, ask: &Ask) -> Result<Reading, Error> {
        let why = match self.held(entry, ask) {
            Ok(told) => return told,
            Err(why) => why,
        };
        if ask.steer.only_if_cached {
            return Err(Error::NotCached);
        }
        // For a reader that wants something younger, a read that is under way is young enough; `max-age=0` insists.
        let insists = ask.steer.no_cache || ask.steer.max_age == Some(Duration::ZERO);
        let board = if insists { Board::New { floor: FORCED_FLOOR } } else { Board::Any };
        let key = Key::from(key(entry, ask));
        let flight = self.flights.fly(key.clone(), board, || self.clone().fetch(entry.clone(), key, Asker::Reader));
        let landed = flight.await.map_err(|Full| Error::Overloaded)?;
        let origin = if landed.joined { Origin::Collapsed(why) } else { Origin::Read(why) };
        match landed.result {
            Some(Ok(held)) => {
                let now = Moment::now();
                // The process stood still while it was on its way: what it tells is too old to be served.
                if held.answer().is_ok() && self.cache.freshness(&held, now) == Freshness::Gone {
                    return Err(self.refused(entry, ask, &too_long()));
                }
                held.touch(now);
                let stale = self.stale(&held, now);
                self.reading(entry, ask, &held, origin, stale, now)
            }
            Some(Err(error)) => Err(self.refused(entry, ask, &error)),
            None => Err(self.refused(entry, ask, &VaultError::new(INTERNAL, OUR_FAULT))),
        }
    }

    /// What is held of that, if this reader takes it; it is renewed in the background where that is due. Else why it must be
    /// asked for upstream, and nothing was done.
    pub(super) fn held(&self, entry: &Entry, ask: &Ask) -> Result<Result<Reading, Error>, Forward> {
        let now = Moment::now();
        let (held, stale) = self.acceptable(key(entry, ask), ask, now)?;
        Ok(self.take(entry, ask, &held, stale, now))
    }

    /// The same of a value alone. `None` for what was refused, too: nothing was done then either.
    pub(super) fn held_value(&self, entry: &Entry, ask: &Ask, now: Moment) -> Option<Reading> {
        let (held, stale) = self.acceptable(key(entry, ask), ask, now).ok()?;
        held.answer().ok()?;
        self.take(entry, ask, &held, stale, now).ok()
    }

    /// It is used, and renewed in the background where that is due.
    fn take(
        &self,
        entry: &Entry,
        ask: &Ask,
        held: &Held,
        stale: Option<&'static str>,
        now: Moment,
    ) -> Result<Reading, Error> {
        held.touch(now);
        if stale.is_some() && held.claim(now) {
            self.renew(entry, key(entry, ask).into());
        }
        self.reading(entry, ask, held, Origin::Held, stale, now)
    }

    /// Reads it again, with nobody waiting, unless that is under way.
    pub(super) fn renew(&self, entry: &Entry, key: Key) {
        self.flights.launch(key.clone(), RENEWALS, || self.clone().fetch(entry.clone(), key, Asker::Nobody));
    }

    /// The metadata of every version of a secret; never cached.
    pub(super) async fn versions(&self, entry: &Entry, name: &SecretName) -> Result<Vec<Metadata>, Error> {
        let ask = Ask { vault: None, name: name.clone(), version: None, steer: super::Steer::default() };
        let call = entry.vault.versions(name).try_collect();
        let outcome = timeout(self.limits.read_limit, call).await.unwrap_or_else(|_| Err(too_long()));
        outcome.map_err(|error| self.refused(entry, &ask, &error))
    }

    /// What is held, if this reader takes it, with the reason if it is stale; else why it is asked for upstream.
    fn acceptable(&self, key: KeyOf<'_>, ask: &Ask, now: Moment) -> Result<(Arc<Held>, Option<&'static str>), Forward> {
        if ask.steer.no_cache {
            return Err(Forward::Request);
        }
        let held = self.cache.peek(&key).ok_or(Forward::Miss)?;
        let stale = match self.cache.freshness(&held, now) {
            Freshness::Fresh => None,
            Freshness::Stale(stale) => Some(stale.reason()),
            Freshness::Gone => return Err(Forward::Stale),
        };
        let young = ask.steer.max_age.is_none_or(|most| held.age(now) <= most);
        if young { Ok((held, stale)) } else { Err(Forward::Request) }
    }

    /// The flight itself: asks the vault once, and keeps what it learned.
    async fn fetch(self, entry: Entry, key: Key, asker: Asker) -> Result<Arc<Held>, VaultError> {
        // For all who wait for it, and those who watch: not as it is shown to one of them.
        let entry = entry.as_given();
        // A fault of our own is a failure like any other: it is not to be met again at once.
        let get = AssertUnwindSafe(entry.vault.get(&key.name, key.version.as_ref())).catch_unwind();
        // The age counts from when the question goes out: what changes while the vault answers must not look seen.
        let call = timed(async { get.await.unwrap_or_else(|_| Err(VaultError::new(INTERNAL, OUR_FAULT))) });
        let began = Moment::now();
        let (asked, outcome) = timeout(self.limits.read_limit, call).await.unwrap_or_else(|_| (began, Err(too_long())));
        self.catalog.note_read(&key.vault, outcome.as_ref().map(drop));
        let sight = self.catalog.sight(&key.vault, &key.name).filter(|_| key.version.is_none());
        let sight = sight.map(|(metadata, at, ended)| Sight { metadata, at, ended });
        match outcome {
            Ok(secret) => {
                debug!(vault = %entry.address, secret = %key.name, "read upstream");
                let before = self.cache.peek(&key);
                match self.cache.learn(&key, &Arc::new(secret), asked, sight.as_ref()) {
                    Kept::New(held) => {
                        // Not before it is held: whoever reads upon the news gets it.
                        let echo = self.catalog.spoken_for_by(&key.vault);
                        self.hub.read(&self.cache, &entry, echo.as_ref(), &key, before.as_deref(), &held);
                        Ok(held)
                    }
                    Kept::Old(held) => Ok(held),
                }
            }
            Err(error) => {
                self.tell(asker, &entry, &key, &error);
                // The vault's own word ends what is held, once it is confirmed; an outage never does.
                if error.kind().is_authoritative() {
                    let verdict = self.cache.deny(&key, asked, &error, sight.as_ref());
                    if verdict == Verdict::Evicted {
                        info!(vault = %entry.address, secret = %key.name, reason = error.reason(), "a value is no longer served");
                        let echo = self.catalog.spoken_for_by(&key.vault);
                        self.hub.ended(&entry, echo.as_ref(), &key, &error);
                    }
                } else if let Some(after) = error.worth_trying_after() {
                    self.cache.held_back(&key, outage_word(error.kind()), after);
                } else {
                    self.cache.failed(&key, outage_word(error.kind()));
                }
                Err(error)
            }
        }
    }

    /// Tells the operator, and does not fill the log while an outage or a denial lasts: renewals fail quietly, the catalog
    /// tells of the vault, and of what readers meet there the first are enough.
    fn tell(&self, asker: Asker, entry: &Entry, key: &Key, error: &VaultError) {
        let (vault, secret, reason) = (&entry.address, &key.name, error.reason());
        match asker {
            _ if *error.kind() == VaultErrorKind::NotFound => {}
            // Told already, by the call that met it.
            _ if error.worth_trying_after().is_some() => debug!(%vault, %secret, reason, "not asked: {error}"),
            Asker::Reader if self.told.tell((key.vault.clone(), reason)).is_some() => {
                warn!(%vault, %secret, reason, cause = error_chain(error), "a vault did not give a secret: {error}");
            }
            Asker::Reader => {
                debug!(%vault, %secret, reason, cause = error_chain(error), "a vault did not give a secret: {error}");
            }
            Asker::Nobody => debug!(%vault, %secret, reason, cause = error_chain(error), "a renewal failed: {error}"),
        }
    }

    fn stale(&self, held: &Held, now: Moment) -> Option<&'static str> {
        match self.cache.freshness(held, now) {
            Freshness::Fresh | Freshness::Gone => None,
            Freshness::Stale(stale) => Some(stale.reason()),
        }
    }

    fn reading(
        &self,
        entry: &Entry,
        ask: &Ask,
        held: &Held,
        origin: Origin,
        stale: Option<&'static str>,
        now: Moment,
    ) -> Result<Reading, Error> {
        let secret = held.answer().map_err(|word| self.refused(entry, ask, word))?;
        // The reader's own, where it says the same: the entry's is counted up and down by all threads.
        let vault = ask.vault.as_ref().filter(|asked| **asked == entry.address).unwrap_or(&entry.address);
        Ok(Reading {
            vault: vault.clone(),
            secret: Arc::clone(secret),
            age: held.age(now),
            ttl: held.ttl(now),
            origin,
            stale,
            incomplete: Vec::new(),
            told: now,
        })
    }

    /// What a vault's refusal or failure means to a reader.
    fn refused(&self, entry: &Entry, ask: &Ask, error: &VaultError) -> Error {
        match error.kind() {
            VaultErrorKind::NotFound => self.absent(entry, ask),
            VaultErrorKind::Disabled => {
                let reference = Reference::new(entry.address.clone(), ask.name.clone());
                Error::Disabled { reference: Reference { version: ask.version.clone(), ..reference } }
            }
            VaultErrorKind::Denied(_)
            | VaultErrorKind::Unauthenticated { .. }
            | VaultErrorKind::Throttled { .. }
            | VaultErrorKind::TimedOut
            | VaultErrorKind::Unavailable(_)
            | VaultErrorKind::Malformed => Error::Vault { vault: entry.address.clone(), error: error.clone() },
        }
    }

    /// Key Vault has one word for a missing secret and a missing version; the catalog can tell them apart. Where it knows
    /// too little of the vault, only the version is said to be missing, which is true either way.
    fn absent(&self, entry: &Entry, ask: &Ask) -> Error {
        let name = ask.name.clone();
        let known = || self.catalog.status(entry.id()).and_then(|status| status.known);
        let listed = || self.catalog.metadata(entry.id(), &ask.name).is_some();
        let vault = Some(entry.address.clone());
        if ask.version.is_some() && (listed() || known().is_none_or(|known| !known.whole)) {
            Error::VersionNotFound { vault, name }
        } else {
            Error::SecretNotFound { vault, name }
        }
    }
}

/// Under which what is asked for is held.
fn key<'k>(entry: &'k Entry, ask: &'k Ask) -> KeyOf<'k> {
    KeyOf { vault: entry.id(), name: &ask.name, version: ask.version.as_ref() }
}

const INTERNAL: VaultErrorKind = VaultErrorKind::Unavailable(Outage::Internal);
const OUR_FAULT: &str = "reading it failed; see the log";

fn too_long() -> VaultError {
    VaultError::new(VaultErrorKind::TimedOut, "the vault did not answer within the time that one read may take")
}

/// Why a renewal failed, in the words of the API's problem codes.
fn outage_word(kind: &VaultErrorKind) -> &'static str {
    match kind {
        VaultErrorKind::Throttled { .. } => "vault-throttled",
        VaultErrorKind::TimedOut => "vault-timeout",
        VaultErrorKind::Unauthenticated { .. } => "sign-in-failed",
        VaultErrorKind::Unavailable(_) | VaultErrorKind::Malformed => "vault-unavailable",
        VaultErrorKind::NotFound | VaultErrorKind::Disabled | VaultErrorKind::Denied(_) => "vault-denied",
    }
}

/// The causes beneath an error, outermost first. Only `Display` is used: `Debug` of an SDK error carries whole answers.
fn error_chain(error: &VaultError) -> String {
    let first = std::error::Error::source(error);
    let causes: Vec<_> = std::iter::successors(first, |cause| cause.source()).map(ToString::to_string).collect();
    causes.join(": ")
}
