//! What upstream tells, taken in: a read's answer, a vault's own word, a failure, a listing. Here it is decided what
//! replaces what, and what is doubted before it is believed.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;

use super::held::Birth;
use super::{Cache, Freshness, Held, Key, stamp};
use crate::clock::Moment;
use crate::secret::{Metadata, Secret, SecretName, VaultName};
use crate::vaults::{VaultError, VaultErrorKind};

/// What a listing showed of a secret, and when.
#[derive(Debug, Clone)]
pub struct Sight {
    /// As it was listed.
    pub metadata: Metadata,
    /// When the listing began.
    pub at: Moment,
    /// When it ended.
    pub ended: Moment,
}

/// What became of an answer that was to be kept.
#[derive(Debug, Clone)]
pub enum Kept {
    /// It is held now.
    New(Arc<Held>),
    /// What was held stays: it was asked for later, or it is newer than the answer, whose replica lags.
    Old(Arc<Held>),
}

/// What a denial led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was held.
    Nothing,
    /// What is held is served until the denial is confirmed.
    Doubted,
    /// Confirmed: it is gone.
    Evicted,
}

/// A vault must stick to an older version for that long before it replaces a newer one.
const LAG: Duration = Duration::from_secs(90);
/// The first wait after a renewal failed; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a renewal failed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait while a denial is to be confirmed, so that it is over within a minute.
const LONGEST_DOUBT: Duration = Duration::from_secs(10);
/// Over that time those come back whose vault may be asked again.
const SPREAD: Duration = Duration::from_secs(30);

impl Cache {
    /// Keeps what an upstream read told that began at `asked`. `sight` is what the last listing showed of it.
    pub fn learn(&self, key: &Key, secret: &Arc<Secret>, asked: Moment, sight: Option<&Sight>) -> Kept {
        let now = Moment::now();
        let life = self.life(key, self.options.ttl);
        let mut kept = None;
        self.held.entry(key.clone()).and_compute_with(|entry| {
            let old = entry.map(moka::Entry::into_value);
            if let Some(old) = old.as_ref().filter(|old| self.stays(old, &secret.metadata, asked, now)) {
                kept = Some(Kept::Old(Arc::clone(old)));
                return Op::Nop;
            }
            let stamp = &secret.metadata;
            let (mut first_seen, mut confirmed) = (now, asked);
            if let Some(old) = &old
                && let Some(known) = old.metadata()
            {
                if stamp::same(known, stamp) {
                    first_seen = first_seen.min(old.first_seen());
                }
                // A listing may have proved this very version meanwhile.
                if known.version.is_some() && known.version == stamp.version {
                    confirmed = confirmed.max(old.confirmed());
                }
            }
            let listed = sight.filter(|sight| stamp::same(&sight.metadata, stamp));
            // It was seen at some time of that listing, which may have been long; what is sure is its end.
            first_seen = listed.map_or(first_seen, |sight| first_seen.min(sight.ended));
            // The replica that answered lags behind the one that listed; or it does not, if it sticks to that.
            let outdated = sight.is_some_and(|sight| stamp::older(stamp, &sight.metadata) && asked < sight.at + LAG);
            let held = Arc::new(Held::new(Birth {
                answer: Ok(Arc::clone(secret)),
                asked,
                confirmed,
                life,
                first_seen,
                restored: false,
                used: old.as_ref().map_or(Moment::default(), |old| old.used()),
                outdated,
            }));
            if outdated {
                let before = old.as_ref().filter(|old| old.is_outdated()).map(|old| old.trouble().failures);
                let mut trouble = held.trouble();
                trouble.failures = before.map_or(0, |failures| failures.saturating_add(1));
                trouble.not_before = now + self.back_off(&stamp.name, trouble.failures, LONGEST_WAIT);
            }
            kept = Some(Kept::New(Arc::clone(&held)));
            Op::Put(held)
        });
        self.hand_on(key);
        kept.expect("the closure ran")
    }

    /// Takes in a vault's own word, from a read that began at `asked`, that it does not give a secret: remembers it, or
    /// begins to doubt what is held, or ends it. `sight` is what the last listing showed of it.
    pub fn deny(&self, key: &Key, asked: Moment, word: &VaultError, sight: Option<&Sight>) -> Verdict {
        let now = Moment::now();
        // A miss that a later listing has overtaken on its way is over already.
        let overtaken = *word.kind() == VaultErrorKind::NotFound && sight.is_some_and(|sight| sight.at >= asked);
        let life = if overtaken { Duration::ZERO } else { self.life(key, self.options.negative_ttl) };
        let refusal = Arc::new(Held::new(Birth {
            answer: Err(word.clone()),
            asked,
            confirmed: asked,
            life,
            first_seen: now,
            restored: false,
            used: Moment::default(),
            outdated: false,
        }));
        let mut verdict = Verdict::Nothing;
        self.held.entry(key.clone()).and_compute_with(|entry| {
            let old = entry.map(moka::Entry::into_value);
            verdict = match &old {
                Some(old) if old.asked() > asked => return Op::Nop,
                Some(old) if old.answer().is_ok() => self.doubt(old, asked, now),
                Some(_) | None => Verdict::Nothing,
            };
            // Where too many are remembered already, this one is asked for again: within the vault's budget.
            let forgotten = old.is_none() && !self.remembers_more();
            // Since when it was in doubt: to be weighed by an heir that was given the value meanwhile.
            refusal.trouble().denied = old.as_ref().and_then(|old| old.trouble().denied);
            if verdict == Verdict::Doubted || forgotten { Op::Nop } else { Op::Put(self.counted(refusal)) }
        });
        self.hand_on(key);
        verdict
    }

    pub(super) fn doubt(&self, held: &Held, asked: Moment, now: Moment) -> Verdict {
        if self.freshness(held, now) == Freshness::Gone {
            return Verdict::Evicted;
        }
        let mut trouble = held.trouble();
        let first = *trouble.denied.get_or_insert(asked);
        if asked >= first + self.options.confirm_after {
            return Verdict::Evicted;
        }
        trouble.not_before = first + self.options.confirm_after;
        Verdict::Doubted
    }

    /// A renewal failed without a word on the secret itself: what is held stays, with the reason, and is
    /// renewed again after a while that grows.
    pub fn failed(&self, key: &Key, reason: &'static str) {
        let Some(held) = self.held.get(key) else { return };
        let now = Moment::now();
        let mut trouble = held.trouble();
        let longest = if trouble.denied.is_some() { LONGEST_DOUBT } else { LONGEST_WAIT };
        trouble.not_before = now + self.back_off(key, trouble.failures, longest);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.reason = Some(reason);
        drop(trouble);
        self.hand_on_what_is_known(key, &held);
    }

    /// A renewal was not even tried, as its vault must be left alone for so long. What is held stays, with the reason, and
    /// is renewed soon after that; not all at once.
    pub fn held_back(&self, key: &Key, reason: &'static str, after: Duration) {
        let Some(held) = self.held.get(key) else { return };
        let now = Moment::now();
        let mut trouble = held.trouble();
        let spread = if trouble.denied.is_some() { Duration::ZERO } else { SPREAD };
        trouble.not_before = now + after + spread.mul_f64(self.draw(&(key, trouble.failures)));
        trouble.reason = Some(reason);
        drop(trouble);
        self.hand_on_what_is_known(key, &held);
    }

    /// Takes in a whole listing of a vault that began at `at`: `shown` tells what it showed of a name. What it proves
    /// unchanged is confirmed; what it shows changed or gone is doubted; a name that appears is forgotten as missing.
    ///
    /// A listing is no proof for one version: it tells of the current ones.
    pub fn listed(&self, vault: &VaultName, at: Moment, shown: impl Fn(&SecretName) -> Option<Metadata>) {
        for (key, held) in self.held.iter() {
            if key.vault != *vault || held.asked() > at {
                continue;
            }
            let (shown, known) = (shown(&key.name), held.metadata());
            match (known, shown) {
                (None, None) => {}
                (None, Some(shown)) => {
                    let disabled = held.answer().is_err_and(|word| *word.kind() == VaultErrorKind::Disabled);
                    let missing = held.answer().is_err_and(|word| *word.kind() == VaultErrorKind::NotFound);
                    if missing && key.version.is_none() || disabled && shown.enabled {
                        self.forget(&key, at);
                    }
                }
                (Some(_), None) => {
                    held.trouble().denied.get_or_insert(at);
                }
                (Some(_), Some(_)) if key.version.is_some() => {}
                (Some(known), Some(shown)) if stamp::same(known, &shown) && known.enabled => {
                    if held.is_settled() {
                        held.confirm(at);
                    }
                }
                (Some(known), Some(shown)) => {
                    if !shown.enabled {
                        held.trouble().denied.get_or_insert(at);
                    }
                    // A replica that lags behind the one that was read proves nothing of the value.
                    if !stamp::older(&shown, known) {
                        held.outdate();
                    }
                }
            }
            if held.answer().is_ok() {
                self.hand_on_what_is_known(&key, &held);
            }
        }
    }

    /// How long to wait after so many failures before this one: jittered down, so that what failed together is not tried
    /// together.
    fn back_off(&self, whose: &impl Hash, failures: u32, longest: Duration) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(longest);
        wait.mul_f64(1.0 - self.draw(&(whose, failures)) / 2.0)
    }

    /// Whether what is held stays, rather than an answer to a question of `asked`.
    pub(super) fn stays(&self, old: &Held, answer: &Metadata, asked: Moment, now: Moment) -> bool {
        if old.asked() > asked && !old.is_restored() {
            return true;
        }
        let Some(known) = old.metadata().filter(|known| stamp::older(answer, known)) else { return false };
        if self.freshness(old, now) == Freshness::Gone {
            return false;
        }
        let mut trouble = old.trouble();
        let since = *trouble.behind.get_or_insert(asked);
        let stays = asked < since + LAG;
        if stays {
            tracing::debug!(secret = %known.name, "the vault answers with an older version than before; its replica lags");
            trouble.reason = Some("older-version");
            trouble.not_before = now + LAG / 4;
        }
        stays
    }
}
