//! One answer that is held, and its life: fresh, stale, gone.
//!
//! What must never happen: an age that restarts on anything but an upstream read or a listing that proves that nothing
//! changed; a value served past `max_stale`, or as fresh because a clock stood still.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stamp;
use crate::clock::Moment;
use crate::secret::{Metadata, Secret};
use crate::vaults::VaultError;

/// An answer of a vault, kept. Shared by the cache and its readers.
#[derive(Debug)]
pub struct Held {
    answer: Result<Arc<Secret>, VaultError>,
    asked: Moment,
    life: Duration,
    /// When what the secret shows of itself (its stamp) was first seen.
    first_seen: Moment,
    restored: bool,
    confirmed: AtomicU64,
    used: AtomicU64,
    /// A listing showed that the vault holds something newer.
    outdated: AtomicBool,
    trouble: Mutex<Trouble>,
}

/// What goes wrong with renewing an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble {
    /// Why the last renewal failed.
    pub(super) reason: Option<&'static str>,
    /// Renewals that failed in a row.
    pub(super) failures: u32,
    /// No renewal before then.
    pub(super) not_before: Moment,
    /// The first authoritative denial, not yet confirmed by a second.
    pub(super) denied: Option<Moment>,
    /// Since when the vault answers with something older than this.
    pub(super) behind: Option<Moment>,
}

/// How an answer may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// As good as asking.
    Fresh,
    /// To be served at once, marked with the reason, while it is renewed.
    Stale(Stale),
    /// Not to be served any more.
    Gone,
}

/// Why an answer is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Its time to live is over; a renewal is under way or due.
    Expired,
    /// A listing showed a newer one.
    Changed,
    /// The vault denied it once; that is being confirmed.
    Denied,
    /// It came from the snapshot and was not confirmed since.
    Snapshot,
    /// The last renewal failed, for this reason.
    Failing(&'static str),
}

/// What an answer is made of when it is put into the cache.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) answer: Result<Arc<Secret>, VaultError>,
    pub(super) asked: Moment,
    pub(super) confirmed: Moment,
    pub(super) life: Duration,
    pub(super) first_seen: Moment,
    pub(super) restored: bool,
    pub(super) used: Moment,
    pub(super) outdated: bool,
}

impl Held {
    pub(super) fn new(birth: Birth) -> Self {
        let Birth { answer, asked, confirmed, life, first_seen, restored, used, outdated } = birth;
        Self {
            answer,
            asked,
            life,
            first_seen,
            restored,
            confirmed: AtomicU64::new(confirmed.to_number()),
            used: AtomicU64::new(used.to_number()),
            outdated: AtomicBool::new(outdated),
            trouble: Mutex::default(),
        }
    }

    /// The same with another life, to be held elsewhere.
    pub(super) fn with_life(&self, life: Duration) -> Self {
        Self {
            answer: self.answer.clone(),
            asked: self.asked,
            life,
            first_seen: self.first_seen,
            restored: self.restored,
            confirmed: AtomicU64::new(self.confirmed.load(Ordering::Relaxed)),
            used: AtomicU64::new(self.used.load(Ordering::Relaxed)),
            outdated: AtomicBool::new(self.is_outdated()),
            trouble: Mutex::new(self.trouble().clone()),
        }
    }

    /// The secret, or the vault's own word that it does not give it: not found, disabled, denied.
    ///
    /// # Errors
    /// That word.
    pub fn answer(&self) -> Result<&Arc<Secret>, &VaultError> {
        self.answer.as_ref()
    }

    /// When the upstream read that brought it began.
    #[must_use]
    pub fn asked(&self) -> Moment {
        self.asked
    }

    /// Since when nothing is known: the upstream read that brought it, or the last listing that proved it unchanged.
    #[must_use]
    pub fn confirmed(&self) -> Moment {
        Moment::of_number(self.confirmed.load(Ordering::Relaxed))
    }

    /// Time since it was last known to be true.
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        now - self.confirmed()
    }

    /// What is left of its time to live, in whole seconds towards the older; negative once it is over.
    #[must_use]
    pub fn ttl(&self, now: Moment) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        (millis(self.life) - millis(self.age(now))).div_euclid(1000)
    }

    /// Whether it came with the snapshot rather than from a vault.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// How it may be used now. A refusal is never stale: it is fresh, or gone.
    #[must_use]
    pub fn freshness(&self, now: Moment, max_stale: Duration) -> Freshness {
        let age = self.age(now);
        if age < self.life && !self.is_outdated() {
            return Freshness::Fresh;
        }
        if self.answer.is_err() || age > self.life.max(max_stale) {
            return Freshness::Gone;
        }
        let trouble = self.trouble();
        Freshness::Stale(match (trouble.denied, trouble.reason) {
            (Some(_), _) => Stale::Denied,
            (None, Some(reason)) => Stale::Failing(reason),
            (None, None) if self.restored && self.confirmed() <= self.asked => Stale::Snapshot,
            (None, None) if age < self.life => Stale::Changed,
            (None, None) => Stale::Expired,
        })
    }

    /// A reader was given it.
    pub fn touch(&self, now: Moment) {
        self.used.store(now.to_number(), Ordering::Relaxed);
    }

    /// When a reader was last given it.
    #[must_use]
    pub fn used(&self) -> Moment {
        Moment::of_number(self.used.load(Ordering::Relaxed))
    }

    /// Whether asking the vault again is due, ahead of any reader: a denial waits to be confirmed; or it is in use and a
    /// listing showed something newer, or its time is nearly over, or its value was read longer ago than `lives` lives.
    #[must_use]
    pub fn is_due(&self, now: Moment, lives: f64) -> bool {
        // In lives, as those are jittered: what was read together is not read again together.
        let reread = self.life.mul_f64(lives);
        let trouble = self.trouble();
        if now < trouble.not_before || self.answer.is_err() {
            return false;
        }
        let used = self.used();
        let changed = self.is_outdated() && now - used < reread;
        let nearly_over = used >= self.confirmed() && self.age(now) >= self.life.mul_f64(NEARLY);
        let read_long_ago = used >= self.asked && now - self.asked >= reread;
        trouble.denied.is_some() || changed || nearly_over || read_long_ago
    }

    /// Takes the right to renew it: true for one of those who ask at once. A renewal that never reports leaves it to
    /// the next one after a moment.
    pub fn claim(&self, now: Moment) -> bool {
        let mut trouble = self.trouble();
        let free = now >= trouble.not_before;
        if free {
            trouble.not_before = now + CLAIM;
        }
        free
    }

    /// A listing that began at `at` proved that nothing changed since the value was read. The age counts from there.
    pub(super) fn confirm(&self, at: Moment) {
        self.confirmed.fetch_max(at.to_number(), Ordering::Relaxed);
        let mut trouble = self.trouble();
        // A denied read is not undone by a listing: one may be allowed without the other.
        if trouble.denied.is_none() {
            // The wait stays: what failed together would else be read again together, the moment its vault is back.
            *trouble = Trouble { not_before: trouble.not_before, ..Trouble::default() };
        }
        self.outdated.store(false, Ordering::Relaxed);
    }

    /// Takes over what is known of the same answer elsewhere.
    pub(super) fn learn_from(&self, other: &Self) {
        self.used.fetch_max(other.used.load(Ordering::Relaxed), Ordering::Relaxed);
        let version = |held: &Self| held.metadata().and_then(|metadata| metadata.version.clone());
        let same = self.asked == other.asked && self.answer.is_ok() == other.answer.is_ok();
        if !same && (version(self).is_none() || version(self) != version(other)) {
            return;
        }
        let theirs = other.confirmed();
        let own = Moment::of_number(self.confirmed.fetch_max(theirs.to_number(), Ordering::Relaxed));
        if !same {
            return;
        }
        let told = other.trouble().clone();
        let mut trouble = self.trouble();
        // A doubt is over when it is answered by a read, and by nothing else.
        let denied = trouble.denied.into_iter().chain(told.denied).min();
        if theirs > own || theirs == own && told.failures > trouble.failures {
            *trouble = told;
        }
        trouble.denied = denied;
        if theirs > own {
            self.outdated.store(other.is_outdated(), Ordering::Relaxed);
        } else if theirs == own && other.is_outdated() {
            self.outdate();
        }
    }

    /// Whether a listing that shows the same stamp proves that the value is still the one.
    pub(super) fn is_settled(&self) -> bool {
        stamp::settled(self.first_seen, self.asked)
    }

    pub(super) fn first_seen(&self) -> Moment {
        self.first_seen
    }

    pub(super) fn metadata(&self) -> Option<&Metadata> {
        self.answer.as_ref().ok().map(|secret| &secret.metadata)
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    pub(super) fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stale {
    /// A stable word for machines, as it stands in `Cache-Status`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Changed => "changed",
            Self::Denied => "denied-once",
            Self::Snapshot => "snapshot",
            Self::Failing(reason) => reason,
        }
    }
}

/// The part of its life after which an answer in use is renewed, so that its readers never meet a stale one.
const NEARLY: f64 = 0.8;
/// No second renewal is begun within that time of the first.
const CLAIM: Duration = Duration::from_secs(1);
