//! What is known of one vault and how sure it is.
//!
//! Knowledge is never thrown away because of a failure, and its age never restarts but on a whole listing that
//! succeeded: it is counted from that listing's start, as a secret made while it ran may be missing from it.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::incoming::Incoming;
use super::news::Listing;
use super::progress::Counted;
use super::segment::Segment;
use super::status::ReadState;
use crate::clock::Moment;
use crate::secret::VaultName;
use crate::vaults::{Vault, VaultError};

/// One live vault. Shared by everything that holds it, so that it can be told when the vault has left.
pub(super) struct Record {
    pub(super) vault: Arc<dyn Vault>,
    pub(super) id: VaultName,
    standing: ArcSwap<Standing>,
    /// Held while the vault is listed: one listing at a time.
    pub(super) turn: Mutex<()>,
    /// How many listings have begun, and the number of the last that ran to its end.
    pub(super) begun: AtomicU64,
    pub(super) ended: AtomicU64,
    /// What it adds to the catalog's progress.
    counted: std::sync::Mutex<Option<Counted>>,
    /// Whether a task lists it at the interval.
    pub(super) tended: AtomicBool,
    /// Cancelled when the vault has left the catalog.
    pub(super) gone: CancellationToken,
}

/// All that is known of a vault at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// `None`: it was never listed.
    pub(super) known: Option<Known>,
    /// Why the last listing failed; `None` if it did not, or there was none.
    pub(super) failure: Option<VaultError>,
    pub(super) read: ReadState,
}

/// What listings have told.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) segment: Arc<Segment>,
    /// When the listing began.
    pub(super) at: Moment,
    /// When it ended: what it showed was seen by then, and not before it began.
    pub(super) ended: Moment,
    /// False: the listing broke off, and there was never a whole one.
    pub(super) whole: bool,
}

impl Record {
    pub(super) fn new(vault: Arc<dyn Vault>, standing: Standing) -> Self {
        Self {
            id: vault.info().id(),
            vault,
            standing: ArcSwap::from_pointee(standing),
            turn: Mutex::default(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            counted: std::sync::Mutex::default(),
            tended: AtomicBool::new(false),
            gone: CancellationToken::new(),
        }
    }

    /// What is known now: one consistent view.
    pub(super) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// The same, for a moment.
    pub(super) fn glance(&self) -> impl Deref<Target = Arc<Standing>> {
        self.standing.load()
    }

    /// To be filled by a listing that begins.
    pub(super) fn incoming(&self) -> Incoming {
        Incoming::beside(self.glance().known.as_ref().map(|known| Arc::clone(&known.segment)))
    }

    /// Takes in a listing that ended, well or with an error after the rows it brought, and tells what is new.
    pub(super) fn listed(&self, began: Moment, rows: Incoming, outcome: Result<(), VaultError>) -> Listing {
        let segment = rows.packed();
        let before = self.standing.rcu(|old| old.after(began, &segment, &outcome));
        let whole = |standing: &Standing| {
            standing.known.as_ref().filter(|known| known.whole).map(|known| Arc::clone(&known.segment))
        };
        Listing {
            vault: self.id.clone(),
            began,
            failed_before: before.failure.clone(),
            before: whole(&before),
            after: outcome.as_ref().ok().and_then(|()| whole(&self.standing())),
            failure: outcome.err(),
        }
    }

    /// Takes in what was known before a restart, if anything was and nothing is known better by now. Whether it was taken in.
    pub(super) fn recall(&self, standing: &Standing) -> bool {
        let before = self.standing.rcu(|now| {
            let known = now.known.clone().or_else(|| standing.known.clone());
            Standing { known, ..Standing::clone(now) }
        });
        before.known.is_none() && standing.known.is_some()
    }

    /// Takes in what a get met.
    pub(super) fn note_read(&self, state: &ReadState) {
        if self.standing.load().read != *state {
            self.standing.rcu(|old| Standing { read: state.clone(), ..Standing::clone(old) });
        }
    }

    /// From now on it adds that; what it added before.
    pub(super) fn count(&self, counted: Option<Counted>) -> Option<Counted> {
        std::mem::replace(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner), counted)
    }

    /// Whether a listing was ever tried to its end.
    pub(super) fn was_tried(&self) -> bool {
        self.ended.load(Ordering::Acquire) > 0
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Standing {
    fn after(&self, began: Moment, segment: &Arc<Segment>, outcome: &Result<(), VaultError>) -> Self {
        let failure = outcome.as_ref().err().cloned();
        let replaces = match (&failure, &self.known) {
            (None, _) => true,
            // A part is better than nothing and worse than any whole listing.
            (Some(_), None) => segment.len() > 0,
            (Some(_), Some(known)) => !known.whole && segment.len() > 0,
        };
        let known = match &self.known {
            Some(known) if !replaces => Some(known.clone()),
            None if !replaces => None,
            old => {
                let same = old.as_ref().filter(|known| known.segment == *segment);
                let segment = same.map_or_else(|| Arc::clone(segment), |known| Arc::clone(&known.segment));
                Some(Known { segment, at: began, ended: Moment::now(), whole: failure.is_none() })
            }
        };
        Self { known, failure, read: self.read.clone() }
    }

    /// How many secrets are known.
    pub(super) fn secrets(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.segment.len())
    }

    /// How old the knowledge is.
    pub(super) fn age(&self, now: Moment) -> Option<Duration> {
        self.known.as_ref().map(|known| now - known.at)
    }
}
