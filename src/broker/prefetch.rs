//! The declared secrets: read before anybody asks, so that being ready means that they are held.
//!
//! A name without globs is declared whether it exists or not. A glob declares what the vault's listing shows enabled,
//! now and later. The first reads are spread over a moment, as a fleet that restarts together declares the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::upstream::Upstream;
use crate::cache::{Freshness, Key};
use crate::catalog::{Entry, Listing, Lookup, Pattern};
use crate::clock::Moment;
use crate::secret::{Reference, SecretName, VaultName};

/// The first reads start within that time.
const SPREAD: Duration = Duration::from_secs(2);
/// After a read that failed without a word on the secret.
const AGAIN: Duration = Duration::from_secs(5);

/// What is declared, and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    patterns: Vec<Pattern>,
    /// By `source:vault`: its declared names, each with the moment before which it is not asked for again.
    wanted: Mutex<BTreeMap<VaultName, BTreeMap<SecretName, Moment>>>,
}

/// A declared secret that is not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The secret, or the pattern that may mean some.
    pub what: String,
    /// Why it is not held; a stable word for machines.
    pub reason: &'static str,
}

impl Prefetch {
    pub(super) fn new(patterns: Vec<Pattern>) -> Self {
        Self { patterns, wanted: Mutex::default() }
    }

    /// What of a listed vault is declared.
    pub(super) fn take_in(&self, upstream: &Upstream, entry: &Entry, listing: &Listing) {
        if listing.failure.is_some() || !self.covers(entry) {
            return;
        }
        let listed = listing.all().filter(|metadata| metadata.enabled).map(|metadata| metadata.name);
        let names: Vec<_> = listed.filter(|name| self.declares(entry, name)).chain(self.named(entry)).collect();
        let now = Moment::now();
        let mut wanted = self.wanted();
        let known = wanted.entry(entry.id().clone()).or_default();
        known.retain(|name, _| names.contains(name));
        for name in names {
            known.entry(name).or_insert_with_key(|name| now + spread(upstream, entry, name));
        }
    }

    /// Reads what is declared and not held, and due.
    pub(super) fn renew(&self, upstream: &Upstream) {
        if self.patterns.is_empty() {
            return;
        }
        self.take_in_named(upstream);
        let now = Moment::now();
        let mut due = Vec::new();
        for (vault, names) in &mut *self.wanted() {
            for (name, not_before) in names {
                if *not_before <= now && !is_held(upstream, vault, name, now) {
                    *not_before = now + AGAIN;
                    due.push(Key { vault: vault.clone(), name: name.clone(), version: None });
                }
            }
        }
        for key in due {
            if let Lookup::Found(entry) = upstream.catalog().vault(&key.vault) {
                upstream.renew(&entry, key);
            }
        }
    }

    /// Everything declared that is not held. Empty: what was declared is there.
    pub(super) fn missing(&self, upstream: &Upstream) -> Vec<Missing> {
        let now = Moment::now();
        let mut missing = Vec::new();
        for pattern in &self.patterns {
            let Some(vault) = pattern.vault() else { continue };
            let reason = match upstream.catalog().vault(&vault) {
                Lookup::Found(entry) if pattern.name().is_none() => {
                    let listed = upstream.catalog().status(entry.id()).and_then(|status| status.known);
                    if listed.is_some_and(|known| known.whole) { continue } else { "vault-not-listed" }
                }
                // What the sweep has not taken in yet, a moment after the vault was found, is missing all the same.
                Lookup::Found(entry) => {
                    let Some(name) = pattern.name() else { continue };
                    let taken_in = self.wanted().get(entry.id()).is_some_and(|names| names.contains_key(&name));
                    if taken_in || is_served(upstream, entry.id(), &name, now) { continue } else { "not-read-yet" }
                }
                Lookup::NotYet => "not-discovered-yet",
                Lookup::Skipped(_) | Lookup::NotFound { .. } => "vault-not-found",
            };
            missing.push(Missing { what: pattern.to_string(), reason });
        }
        for (vault, names) in &*self.wanted() {
            let Lookup::Found(entry) = upstream.catalog().vault(vault) else { continue };
            for name in names.keys().filter(|name| !is_served(upstream, vault, name, now)) {
                let key = Key { vault: vault.clone(), name: name.clone(), version: None };
                let word = upstream.cache().peek(&key).and_then(|held| held.answer().err().map(|word| word.reason()));
                let what = Reference::new(entry.address.clone(), name.clone()).to_string();
                missing.push(Missing { what, reason: word.unwrap_or("not-read-yet") });
            }
        }
        missing
    }

    /// The names without globs are wanted of a vault that was never listed too: it may be one that cannot be.
    fn take_in_named(&self, upstream: &Upstream) {
        for (vault, name) in self.patterns.iter().filter_map(|pattern| Some((pattern.vault()?, pattern.name()?))) {
            if let Lookup::Found(entry) = upstream.catalog().vault(&vault) {
                let first = Moment::now() + spread(upstream, &entry, &name);
                self.wanted().entry(entry.id().clone()).or_default().entry(name).or_insert(first);
            }
        }
    }

    fn covers(&self, entry: &Entry) -> bool {
        self.patterns.iter().any(|pattern| pattern.covers(&entry.address, entry.id()))
    }

    fn declares(&self, entry: &Entry, name: &SecretName) -> bool {
        self.patterns.iter().any(|pattern| pattern.means(&entry.address, entry.id(), name))
    }

    fn named<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = SecretName> + 'a {
        let exactly =
            |pattern: &&Pattern| pattern.vault().is_some_and(|vault| vault == entry.address || vault == *entry.id());
        self.patterns.iter().filter(exactly).filter_map(Pattern::name)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<VaultName, BTreeMap<SecretName, Moment>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether asking again would bring nothing: a value, or the vault's own word, is held.
fn is_held(upstream: &Upstream, vault: &VaultName, name: &SecretName, now: Moment) -> bool {
    let key = Key { vault: vault.clone(), name: name.clone(), version: None };
    let held = upstream.cache().peek(&key);
    held.is_some_and(|held| upstream.cache().freshness(&held, now) != Freshness::Gone)
}

fn is_served(upstream: &Upstream, vault: &VaultName, name: &SecretName, now: Moment) -> bool {
    let key = Key { vault: vault.clone(), name: name.clone(), version: None };
    let held = upstream.cache().peek(&key);
    held.is_some_and(|held| held.answer().is_ok() && upstream.cache().freshness(&held, now) != Freshness::Gone)
}

/// Different in every sidecar of a fleet, whose seeds differ.
fn spread(upstream: &Upstream, entry: &Entry, name: &SecretName) -> Duration {
    SPREAD.mul_f64(upstream.cache().draw(&(entry.id(), name)))
}
