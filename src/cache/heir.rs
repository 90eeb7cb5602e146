//! Handing on: a cache that is to stand in another's place is given what that one holds, and from then on whatever that
//! one is told, so that at no moment the one knows less than a reader of the other was told.
//!
//! What must never happen: a version, an age or a doubt that goes back because of it; a value that was denied to the heir
//! given to it again by one that has not heard of it.

use std::fmt;
use std::sync::Arc;

use moka::ops::compute::Op;

use super::intake::Verdict;
use super::{Cache, Held, Key, stamp};
use crate::cache::Freshness;
use crate::clock::Moment;

/// Who is told of everything, and of which keys.
pub(super) struct Heir {
    cache: Cache,
    keeps: Box<dyn Fn(&Key) -> bool + Send + Sync>,
}

impl fmt::Debug for Heir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heir").finish_non_exhaustive()
    }
}

impl Cache {
    /// Gives that cache what is held under the keys that `keeps` lets through, and from now on all that this one is told
    /// of them. A later heir takes the place of an earlier one.
    pub fn bequeath(&self, heir: &Self, keeps: impl Fn(&Key) -> bool + Send + Sync + 'static) {
        // In this order: what comes between is told twice rather than never.
        self.heir.store(Some(Arc::new(Heir { cache: heir.clone(), keeps: Box::new(keeps) })));
        for (key, _) in self.held.iter() {
            self.hand_on(&key);
        }
    }

    /// Has no heir any more.
    pub fn disinherit(&self) {
        self.heir.store(None);
    }

    /// Tells the heir when readers were last given what both hold. To be done when they are sent to it.
    pub fn tell_use(&self) {
        for (key, held) in self.held.iter() {
            self.hand_on_what_is_known(&key, &held);
        }
    }

    /// Takes over what another cache of the same estate holds, with its ages and all that is known of it, unless what is
    /// held is newer. How long it lives is for these options to say.
    pub fn adopt(&self, key: &Key, held: &Held) {
        let about = if held.answer().is_ok() { self.options.ttl } else { self.options.negative_ttl };
        let (life, now) = (self.life(key, about), Moment::now());
        self.held.entry(key.clone()).and_compute_with(|entry| {
            let own = entry.map(moka::Entry::into_value);
            if let Some(own) = own.as_ref().filter(|own| self.outranks(own, held, now)) {
                own.learn_from(held);
                return Op::Nop;
            }
            if let Some(own) = own.as_ref().filter(|own| own.answer().is_ok())
                && held.answer().is_err()
                && self.doubt_with(own, held, now) == Verdict::Doubted
            {
                return Op::Nop;
            }
            if own.is_none() && held.answer().is_err() && !self.remembers_more() {
                return Op::Nop;
            }
            let adopted = held.with_life(life);
            if let Some(own) = own {
                adopted.learn_from(&own);
            }
            Op::Put(self.counted(Arc::new(adopted)))
        });
        self.hand_on(key);
    }

    /// Another answer is held now.
    pub(super) fn hand_on(&self, key: &Key) {
        if let Some(heir) = self.heir_of(key)
            && let Some(held) = self.held.get(key)
        {
            heir.cache.adopt(key, &held);
        }
    }

    /// Something is known of the answer that is held. Who does not hold it has its reasons.
    pub(super) fn hand_on_what_is_known(&self, key: &Key, held: &Held) {
        if let Some(heir) = self.heir_of(key)
            && let Some(own) = heir.cache.held.get(key)
        {
            own.learn_from(held);
            heir.cache.hand_on_what_is_known(key, &own);
        }
    }

    /// A word of the vault is over, and for the heir too: a listing that began at `at` shows the name.
    pub(super) fn forget(&self, key: &Key, at: Moment) {
        self.held.entry(key.clone()).and_compute_with(|entry| match entry {
            Some(entry) if entry.value().answer().is_err() && entry.value().asked() <= at => Op::Remove,
            Some(_) | None => Op::Nop,
        });
        if let Some(heir) = self.heir_of(key) {
            heir.cache.forget(key, at);
        }
    }

    /// A refusal that another cache believes, held against a value of our own that was read meanwhile: what that one was
    /// told before this was read counts for nothing.
    fn doubt_with(&self, own: &Held, refusal: &Held, now: Moment) -> Verdict {
        if let Some(first) = refusal.trouble().denied.filter(|first| *first > own.asked()) {
            let mut trouble = own.trouble();
            trouble.denied = Some(trouble.denied.map_or(first, |known| known.min(first)));
        }
        self.doubt(own, refusal.asked(), now)
    }

    fn heir_of(&self, key: &Key) -> Option<Arc<Heir>> {
        self.heir.load_full().filter(|heir| (heir.keeps)(key))
    }

    /// Of two values the newer version, whichever was asked for first: replicas lag. Else the answer to the later question.
    fn outranks(&self, own: &Held, other: &Held, now: Moment) -> bool {
        match (own.metadata(), other.metadata()) {
            (Some(known), Some(told)) if stamp::older(known, told) => self.freshness(other, now) == Freshness::Gone,
            (Some(_), Some(told)) => self.stays(own, told, other.asked(), now),
            // Of two that were asked for in the same moment the value: it was given.
            (None, Some(_)) => own.asked() > other.asked(),
            (Some(_), None) | (None, None) => own.asked() >= other.asked(),
        }
    }
}
