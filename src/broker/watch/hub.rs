//! What is told, and when.
//!
//! A secret that is not held is told of as soon as a listing shows the change: whoever reads it then asks the vault. One
//! that is held is told of when its renewed value is held, or when it was let go of; until then the change is awaited,
//! and where a watcher wants it, the value is read again although nobody else uses it. So is one whose refusal is held,
//! until that has expired. A read that meets what no listing has shown yet tells it, and the listing that shows it later
//! does not.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};

use super::ring::{Last, Ring};
use super::{Event, EventId, Filter, Kind, Scope, Told, Watch};
use crate::cache::{Cache, Freshness, Held, Key};
use crate::catalog::{Change, Entry, Listing, Speaker};
use crate::clock::Moment;
use crate::metrics::Metrics;
use crate::rights::Rights;
use crate::secret::{Metadata, SecretName, VaultName, Version};
use crate::vaults::{VaultError, VaultErrorKind};

/// Where all that is told comes together. A cheap handle.
#[derive(Debug, Clone)]
pub(in crate::broker) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Of this run of the process.
    run: u64,
    state: Mutex<State>,
    head: watch::Sender<u64>,
    places: Arc<Semaphore>,
    most: usize,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    /// Changes that listings have shown of values that are held.
    awaited: BTreeMap<Key, Awaited>,
    scopes: Vec<Weak<Scope>>,
}

/// A change that is told when readers get it.
#[derive(Debug)]
struct Awaited {
    kind: Kind,
    address: VaultName,
    echo: Option<Speaker>,
    stamp: Option<u64>,
    /// A watcher wants it: it is not left to readers to renew the value.
    wanted: bool,
}

/// Whose change.
#[derive(Clone, Copy)]
struct Whose<'a> {
    address: &'a VaultName,
    id: &'a VaultName,
    echo: Option<&'a Speaker>,
}

impl Hub {
    pub(in crate::broker) fn new(most: usize, metrics: Metrics) -> Self {
        let mut run = [0; 8];
        // Without randomness ids of two runs may look alike; an id of the former is then most likely too new.
        let _ = SystemRandom::new().fill(&mut run);
        Self(Arc::new(Inner {
            run: u64::from_ne_bytes(run),
            state: Mutex::default(),
            head: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(most)),
            most,
            metrics,
        }))
    }

    /// A watcher, from that event on or from now on. `None`: there are too many.
    pub(in crate::broker) fn watch(
        &self,
        filter: Filter,
        rights: Rights,
        after: Option<Result<EventId, super::BadEventId>>,
    ) -> Option<Watch> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        let scope = Arc::new(Scope { filter, rights });
        let mut state = self.lock();
        state.scopes.retain(|scope| scope.strong_count() > 0);
        state.scopes.push(Arc::downgrade(&scope));
        for (key, awaited) in &mut state.awaited {
            awaited.wanted |= scope.wants(&awaited.address, &key.vault, &key.name);
        }
        let head = state.ring.head();
        let (passed, lost) = match after {
            None => (head, false),
            Some(Ok(EventId { run, number })) if run == self.0.run && state.ring.after(number).is_some() => {
                (number, false)
            }
            Some(_) => (head, true),
        };
        drop(state);
        Some(Watch { hub: self.clone(), scope, head: self.0.head.subscribe(), passed, lost, _place: place })
    }

    /// Watchers now.
    pub(in crate::broker) fn watchers(&self) -> usize {
        self.0.most - self.0.places.available_permits()
    }

    pub(super) fn run(&self) -> u64 {
        self.0.run
    }

    /// What that watcher is to be told next, if there is anything.
    pub(super) fn next(&self, watch: &mut Watch) -> Option<Told> {
        let state = self.lock();
        let (run, head) = (self.0.run, state.ring.head());
        let later = if watch.lost { None } else { state.ring.after(watch.passed) };
        let Some(later) = later else {
            (watch.passed, watch.lost) = (head, false);
            self.0.metrics.watch("resync");
            return Some(Told::Resync(EventId { run, number: head }));
        };
        for (number, event) in later {
            watch.passed = number;
            match watch.scope.shows(event) {
                Some(shown) if *shown == event.vault => {
                    return Some(Told::Event(EventId { run, number }, Arc::clone(event)));
                }
                Some(shown) => return Some(Told::Event(EventId { run, number }, Arc::new(event.shown_as(shown)))),
                None => {}
            }
        }
        None
    }

    /// Takes in a listing, after the cache has. `echo`: another source's view of the same vault tells of it.
    pub(in crate::broker) fn take_in(&self, cache: &Cache, entry: &Entry, echo: Option<&Speaker>, listing: &Listing) {
        let whose = Whose { address: &entry.address, id: entry.id(), echo };
        let mut state = self.lock();
        let reason = listing.failure.as_ref().map(VaultError::reason);
        if reason != listing.failed_before.as_ref().map(VaultError::reason) || listing.is_first() {
            self.tell(&mut state, whose, Kind::Vault, None, None, reason, None);
        }
        for change in listing.changes() {
            self.weigh(&mut state, cache, whose, change);
        }
    }

    /// Takes in a value that was read and is held now, in the place of `before`.
    pub(in crate::broker) fn read(
        &self,
        cache: &Cache,
        entry: &Entry,
        echo: Option<&Speaker>,
        key: &Key,
        before: Option<&Held>,
        held: &Held,
    ) {
        let Ok(secret) = held.answer() else { return };
        if key.version.is_some() {
            return;
        }
        let (new, now) = (&secret.metadata, Moment::now());
        let before = before.filter(|before| cache.freshness(before, now) != Freshness::Gone);
        let old = before.and_then(|before| before.answer().ok()).map(|secret| &secret.metadata);
        if old.is_some_and(|old| old.version == new.version && stamp(old) == stamp(new)) {
            return;
        }
        let mut state = self.lock();
        let last = state.ring.last(entry.id(), &key.name);
        let awaited = state.awaited.get(key).map(|awaited| awaited.kind).filter(|kind| !ends(*kind));
        let kind = match (awaited, old, last.map(|last| last.kind)) {
            (Some(kind), ..) => kind,
            (None, _, Some(Kind::Removed)) => Kind::Added,
            (None, _, Some(Kind::Disabled)) | (None, Some(_), _) => Kind::Changed,
            // The first read of it: nobody was told of another.
            (None, None, _) => return,
        };
        // Reads that end together, or with a listing, have all seen what was before.
        let told = last.is_some_and(|last| {
            !ends(last.kind) && last.version == new.version.as_ref() && last.stamp == Some(stamp(new))
        });
        if awaited.is_some() {
            state.awaited.remove(key);
        }
        if !told {
            let whose = Whose { address: &entry.address, id: entry.id(), echo };
            self.tell(&mut state, whose, kind, Some(&key.name), new.version.as_ref(), None, Some(stamp(new)));
        }
    }

    /// Takes in that a value was let go of, on the vault's own word.
    pub(in crate::broker) fn ended(&self, entry: &Entry, echo: Option<&Speaker>, key: &Key, word: &VaultError) {
        if key.version.is_some() {
            return;
        }
        let mut state = self.lock();
        state.awaited.remove(key);
        let kind = if *word.kind() == VaultErrorKind::Disabled { Kind::Disabled } else { Kind::Removed };
        let whose = Whose { address: &entry.address, id: entry.id(), echo };
        self.end(&mut state, whose, kind, &key.name, word.reason());
    }

    /// Tells what is awaited of values that are no longer held, and gives those that watchers want to be renewed.
    pub(in crate::broker) fn overdue(&self, cache: &Cache, now: Moment) -> Vec<Key> {
        let mut state = self.lock();
        let mut renew = Vec::new();
        let mut over = Vec::new();
        for (key, awaited) in &state.awaited {
            match current(cache, key, now).as_deref().map(Held::answer) {
                // A refusal is what readers are given until it has expired.
                Some(Err(_)) if !ends(awaited.kind) => {}
                Some(Err(_)) | None => over.push(key.clone()),
                Some(Ok(_)) if awaited.wanted && !ends(awaited.kind) => renew.push(key.clone()),
                Some(Ok(_)) => {}
            }
        }
        for key in over {
            let Some(Awaited { kind, address, echo, stamp, .. }) = state.awaited.remove(&key) else { continue };
            let whose = Whose { address: &address, id: &key.vault, echo: echo.as_ref() };
            if ends(kind) {
                self.end(&mut state, whose, kind, &key.name, word(kind));
            } else {
                self.show(&mut state, whose, kind, &key.name, None, stamp);
            }
        }
        renew.retain(|key| cache.peek(key).is_some_and(|held| held.claim(now)));
        renew
    }

    /// One difference between two listings.
    fn weigh(&self, state: &mut State, cache: &Cache, whose: Whose<'_>, change: Change) {
        let (mut kind, name, shown) = match change {
            Change::Added(shown) => (Kind::Added, shown.name.clone(), Some(shown)),
            Change::Removed(name) => (Kind::Removed, name, None),
            // Nothing that could be read has changed.
            Change::Changed { before, after } if !before.enabled && !after.enabled => return,
            Change::Changed { after, .. } => (Kind::Changed, after.name.clone(), Some(after)),
        };
        if shown.as_ref().is_some_and(|shown| !shown.enabled) {
            kind = Kind::Disabled;
        }
        let key = Key { vault: whose.id.clone(), name, version: None };
        let current = current(cache, &key, Moment::now());
        let refused = current.as_ref().is_some_and(|held| held.answer().is_err());
        let held = current.as_ref().and_then(|held| held.answer().ok()).map(|secret| &secret.metadata);
        let mark = shown.as_ref().map(stamp);
        let former = state.awaited.remove(&key);
        match (former.map(|former| former.kind), kind, held) {
            // It was missing from a listing, and reads went on: it never was away.
            (Some(Kind::Removed), Kind::Added, Some(held)) if Some(stamp(held)) == mark => return,
            (Some(Kind::Removed), Kind::Added, Some(_)) => kind = Kind::Changed,
            // Nobody was told of it yet.
            (Some(Kind::Added), Kind::Changed, _) => kind = Kind::Added,
            _ => {}
        }
        let behind = match held {
            Some(held) => ends(kind) || Some(stamp(held)) != mark,
            None => refused && !ends(kind),
        };
        if behind {
            let wanted = state.wants(whose, &key.name);
            let Whose { address, echo, .. } = whose;
            let (address, echo) = (address.clone(), echo.cloned());
            state.awaited.insert(key, Awaited { kind, address, echo, stamp: mark, wanted });
        } else if ends(kind) {
            self.end(state, whose, kind, &key.name, word(kind));
        } else {
            let version = held.and_then(|held| held.version.clone());
            self.show(state, whose, kind, &key.name, version.as_ref(), mark);
        }
    }

    /// Tells what a listing has shown, unless a read has.
    fn show(
        &self,
        state: &mut State,
        whose: Whose<'_>,
        kind: Kind,
        name: &SecretName,
        version: Option<&Version>,
        mark: Option<u64>,
    ) {
        let last = state.ring.last(whose.id, name);
        if last.is_some_and(|Last { kind, stamp, .. }| !ends(kind) && stamp == mark) {
            return;
        }
        // Where reads have told that it is gone, it is there again.
        let again = last.is_some_and(|last| last.kind == Kind::Removed);
        let kind = if again { Kind::Added } else { kind };
        self.tell(state, whose, kind, Some(name), version, None, mark);
    }

    fn end(&self, state: &mut State, whose: Whose<'_>, kind: Kind, name: &SecretName, reason: &'static str) {
        if state.ring.last(whose.id, name).is_none_or(|last| last.kind != kind) {
            self.tell(state, whose, kind, Some(name), None, Some(reason), None);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an event")]
    fn tell(
        &self,
        state: &mut State,
        whose: Whose<'_>,
        kind: Kind,
        name: Option<&SecretName>,
        version: Option<&Version>,
        reason: Option<&'static str>,
        stamp: Option<u64>,
    ) {
        let event = Event {
            kind,
            vault: whose.address.clone(),
            name: name.cloned(),
            version: version.cloned(),
            reason,
            at: OffsetDateTime::now_utc(),
            id: whose.id.clone(),
            echo: whose.echo.cloned(),
        };
        self.0.metrics.watch(kind.as_str());
        state.ring.push(event, stamp);
        self.0.head.send_replace(state.ring.head());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wants(&self, whose: Whose<'_>, name: &SecretName) -> bool {
        let scopes = self.scopes.iter().filter_map(Weak::upgrade);
        scopes.into_iter().any(|scope| scope.wants(whose.address, whose.id, name))
    }
}

/// Whether nothing is served of the secret after it.
fn ends(kind: Kind) -> bool {
    match kind {
        Kind::Removed | Kind::Disabled => true,
        Kind::Changed | Kind::Added | Kind::Vault => false,
    }
}

/// What the vault would say of it.
fn word(kind: Kind) -> &'static str {
    if kind == Kind::Disabled { VaultErrorKind::Disabled.reason() } else { VaultErrorKind::NotFound.reason() }
}

/// What readers are given without asking the vault: a value, or its refusal.
fn current(cache: &Cache, key: &Key, now: Moment) -> Option<Arc<Held>> {
    cache.peek(key).filter(|held| cache.freshness(held, now) != Freshness::Gone)
}

/// What a listing and a read show alike of a secret: all but the version, which a listing does not tell.
fn stamp(metadata: &Metadata) -> u64 {
    let Metadata { name: _, version: _, enabled, not_before, expires, created, updated, content_type, tags, managed } =
        metadata;
    let mut hasher = DefaultHasher::new();
    for time in [not_before, expires, created, updated] {
        time.map(OffsetDateTime::unix_timestamp).hash(&mut hasher);
    }
    (enabled, content_type, tags, managed).hash(&mut hasher);
    hasher.finish()
}
