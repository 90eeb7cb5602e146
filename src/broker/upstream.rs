//! One vault's values: from the cache if what it holds is fresh enough, else by one flight per key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{Ask, Error, Forward, Origin, Reading};
use crate::cache::{Cache, Held, Key};
use crate::catalog::{Catalog, Entry};
use crate::flight::{Board, Flights, Full};
use crate::metrics::Metrics;
use crate::secret::{Metadata, Reference, SecretName, VaultName};
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// Bounds on the calls to vaults.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) reads_at_once: usize,
    pub(super) read_limit: Duration,
    pub(super) reads_in_all: usize,
}

/// Reads of values from vaults, with the cache before them. A cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    catalog: Catalog,
    cache: Cache,
    flights: Flights<Key, Result<Held, VaultError>>,
    turns: Arc<Mutex<HashMap<VaultName, Arc<Semaphore>>>>,
    limits: Limits,
    metrics: Metrics,
}

impl Upstream {
    pub(super) fn new(catalog: Catalog, cache: Cache, limits: Limits, metrics: Metrics) -> Self {
        let flights = Flights::new(limits.reads_in_all);
        Self { catalog, cache, flights, turns: Arc::default(), limits, metrics }
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What that vault holds under the name and version asked for.
    pub(super) async fn read(&self, entry: &Entry, ask: &Ask) -> Result<Reading, Error> {
        let key = Key { vault: entry.id().clone(), name: ask.name.clone(), version: ask.version.clone() };
        let why = match self.held(&key, ask) {
            Ok(held) => return self.reading(entry, ask, held, Origin::Held),
            Err(why) => why,
        };
        if ask.steer.only_if_cached {
            return Err(Error::NotCached);
        }
        let board = if ask.steer.no_cache { Board::New } else { Board::Any };
        let flight = self.flights.fly(key.clone(), board, || self.clone().fetch(entry.clone(), key));
        let landed = flight.await.map_err(|Full| Error::Overloaded)?;
        let origin = if landed.joined { Origin::Collapsed(why) } else { Origin::Read(why) };
        match landed.result {
            Some(Ok(held)) => self.reading(entry, ask, held, origin),
            Some(Err(error)) => Err(failed(entry, ask, error)),
            None => Err(failed(entry, ask, VaultError::new(INTERNAL, "reading it failed; see the log"))),
        }
    }

    /// The metadata of every version of a secret; never cached.
    pub(super) async fn versions(&self, entry: &Entry, name: &SecretName) -> Result<Vec<Metadata>, Error> {
        let ask = Ask { vault: None, name: name.clone(), version: None, steer: super::Steer::default() };
        let call = async {
            let _turn = self.turn(entry.id()).await;
            entry.vault.versions(name).try_collect().await
        };
        let outcome = timeout(self.limits.read_limit, call).await.unwrap_or_else(|_| Err(too_long()));
        self.metrics.upstream("versions", outcome.as_ref().map_or_else(VaultError::reason, |_| "ok"));
        outcome.map_err(|error| failed(entry, &ask, error))
    }

    /// What is held, if this reader takes it; else why it is asked for upstream.
    fn held(&self, key: &Key, ask: &Ask) -> Result<Held, Forward> {
        if ask.steer.no_cache {
            return Err(Forward::Request);
        }
        let held = self.cache.peek(key).ok_or(Forward::Miss)?;
        if !self.cache.is_fresh(&held) {
            return Err(Forward::Stale);
        }
        let young = ask.steer.max_age.is_none_or(|most| held.asked.elapsed() <= most);
        if young { Ok(held) } else { Err(Forward::Request) }
    }

    /// The flight itself: asks the vault once, and stores what it learned.
    async fn fetch(self, entry: Entry, key: Key) -> Result<Held, VaultError> {
        let call = async {
            let _turn = self.turn(&key.vault).await;
            // The age counts from here: what changes while the vault answers must not look seen.
            let asked = Instant::now();
            (asked, entry.vault.get(&key.name, key.version.as_ref()).await)
        };
        let began = Instant::now();
        let (asked, outcome) = timeout(self.limits.read_limit, call).await.unwrap_or_else(|_| (began, Err(too_long())));
        self.metrics.upstream("get", outcome.as_ref().map_or_else(VaultError::reason, |_| "ok"));
        self.catalog.note_read(&key.vault, outcome.as_ref().map(drop));
        let secret = match outcome {
            Ok(secret) => {
                debug!(vault = %entry.address, secret = %key.name, "read upstream");
                Some(Arc::new(secret))
            }
            Err(error) if *error.kind() == VaultErrorKind::NotFound => None,
            Err(error) => {
                warn!(
                    vault = %entry.address, secret = %key.name, reason = error.reason(),
                    cause = error_chain(&error), "a vault did not give a secret: {error}"
                );
                // The vault's own word ends what is held; an outage never does.
                if error.kind().is_authoritative() {
                    self.cache.evict(key, asked);
                }
                return Err(error);
            }
        };
        self.cache.store(key, secret.clone(), asked);
        Ok(Held { secret, asked })
    }

    async fn turn(&self, vault: &VaultName) -> tokio::sync::OwnedSemaphorePermit {
        let turns = {
            let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(Semaphore::new(self.limits.reads_at_once));
            Arc::clone(all.entry(vault.clone()).or_insert_with(fresh))
        };
        turns.acquire_owned().await.expect("the semaphore is never closed")
    }

    fn reading(&self, entry: &Entry, ask: &Ask, held: Held, origin: Origin) -> Result<Reading, Error> {
        let ttl = self.cache.ttl_left(&held);
        let age = held.asked.elapsed();
        let secret = held.secret.ok_or_else(|| self.absent(entry, ask))?;
        Ok(Reading { vault: entry.address.clone(), secret, age, ttl, origin, incomplete: Vec::new() })
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

const INTERNAL: VaultErrorKind = VaultErrorKind::Unavailable(Outage::Internal);

fn too_long() -> VaultError {
    VaultError::new(VaultErrorKind::TimedOut, "the vault did not answer within the time that one read may take")
}

fn failed(entry: &Entry, ask: &Ask, error: VaultError) -> Error {
    if *error.kind() == VaultErrorKind::NotFound {
        return Error::SecretNotFound { vault: Some(entry.address.clone()), name: ask.name.clone() };
    }
    if *error.kind() == VaultErrorKind::Disabled {
        let reference =
            Reference { version: ask.version.clone(), ..Reference::new(entry.address.clone(), ask.name.clone()) };
        return Error::Disabled { reference };
    }
    Error::Vault { vault: entry.address.clone(), error }
}

/// The causes beneath an error, outermost first. Only `Display` is used: `Debug` of an SDK error carries whole answers.
fn error_chain(error: &VaultError) -> String {
    let first = std::error::Error::source(error);
    let causes: Vec<_> = std::iter::successors(first, |cause| cause.source()).map(ToString::to_string).collect();
    causes.join(": ")
}
