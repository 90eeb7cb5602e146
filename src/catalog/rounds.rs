//! What keeps the catalog current: a loop per source that discovers, and a loop per vault that lists.
//!
//! Every loop stands alone, so that one that hangs holds up no other. All of them belong to [`Catalog::run`] and end
//! with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::record::Record;
use super::{Catalog, listing};
use crate::clock::Moment;
use crate::secret::{SourceName, VaultName};
use crate::tasks::keep;
use crate::vaults::{Discovery, Outage, VaultError, VaultErrorKind};

/// A round of discovery that takes longer has failed. The backend's own limits are shorter; this is the last net.
const PATIENCE: Duration = Duration::from_secs(300);
/// A source whose round fell short is asked again sooner than at the interval: after this, then twice that, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(15);
/// The longest pause before a source's first whole round while an outage is what it fell short for: a sidecar that was
/// started in one must be of use soon after its end.
const LONGEST_BEFORE_FIRST: Duration = Duration::from_secs(60);
/// The longest that a vault's own wish for a pause is followed.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Catalog {
    /// Discovers and lists until it is told to stop. To be run once at a time.
    pub async fn run(self, shutdown: CancellationToken) {
        // Whoever tended to them before, if this is begun again, is gone.
        for entry in &self.shared.directory.load().live {
            entry.record.tended.store(false, Ordering::Release);
        }
        let mut discoverers = JoinSet::new();
        for source in 0..self.shared.sources.len() {
            let catalog = self.clone();
            discoverers.spawn(async move {
                keep("discovery", &catalog.shared.metrics, || catalog.clone().keep_discovering(source)).await;
            });
        }
        let mut listers = JoinSet::new();
        loop {
            let changed = self.shared.changed.notified();
            for entry in &self.shared.directory.load().live {
                if !entry.record.tended.swap(true, Ordering::AcqRel) {
                    let (catalog, record) = (self.clone(), Arc::clone(&entry.record));
                    listers.spawn(async move {
                        let list = || catalog.clone().keep_listing(Arc::clone(&record));
                        keep("listing", &catalog.shared.metrics, list).await;
                    });
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = changed => {}
                Some(_) = listers.join_next() => {}
            }
        }
        discoverers.shutdown().await;
        listers.shutdown().await;
    }

    /// Discovers and lists now, and returns when that is done: one vault (if it is known, without discovery), or
    /// everything. A listing that was running already is not enough: it may have missed what just changed.
    pub async fn refresh(&self, vault: Option<&VaultName>) {
        let records: Vec<Arc<Record>> = match vault {
            Some(name) => {
                self.shared.directory.load().find(name).map(|entry| Arc::clone(&entry.record)).into_iter().collect()
            }
            None => {
                self.discover().await;
                self.shared.directory.load().live.iter().map(|entry| Arc::clone(&entry.record)).collect()
            }
        };
        join_all(records.iter().map(|record| self.list(record))).await;
    }

    /// One round of discovery of every source, side by side; lists nothing. Returns when all are done, and each source's
    /// vaults are known as soon as its own round is.
    pub async fn discover(&self) {
        join_all((0..self.shared.sources.len()).map(|source| self.discover_one(source))).await;
    }

    async fn keep_discovering(self, source: usize) {
        let interval = self.shared.options.discovery_interval;
        let mut retry = FIRST_RETRY;
        let mut round: u64 = 0;
        let mut once_whole = false;
        loop {
            let pause = match self.discover_one(source).await {
                Seen::Everything => {
                    once_whole = true;
                    retry = FIRST_RETRY;
                    interval
                }
                short => {
                    let longest = if short == Seen::Outage && !once_whole { LONGEST_BEFORE_FIRST } else { interval };
                    let pause = retry.min(longest).min(interval);
                    retry = (retry * 2).min(interval);
                    pause
                }
            };
            round += 1;
            sleep(self.spread(pause, &(source, round))).await;
        }
    }

    async fn keep_listing(self, record: Arc<Record>) {
        let gone = record.gone.clone();
        let forever = async {
            if record.was_tried() {
                sleep(self.pause(&record)).await;
            }
            loop {
                self.list(&record).await;
                sleep(self.pause(&record)).await;
            }
        };
        tokio::select! {
            biased;
            () = gone.cancelled() => {}
            () = forever => {}
        }
    }

    async fn list(&self, record: &Arc<Record>) {
        let ended = listing::list(record, &self.shared.slots, &self.shared.metrics).await;
        self.shared.count_listing(record);
        if let Some(listing) = ended {
            let observers = self.shared.lock_observers().clone();
            for observer in observers {
                observer(&listing);
            }
        }
    }

    /// Until the next listing: the interval, or longer where the vault asked for it.
    fn pause(&self, record: &Record) -> Duration {
        let listings = record.begun.load(Ordering::Acquire);
        let interval = self.spread(self.shared.options.listing_interval, &(record.id.as_str(), listings));
        let standing = record.standing();
        // It was not asked, and nobody but we may find out that it answers again; not all vaults at once, and those of a
        // fleet neither.
        if let Some(after) = standing.failure.as_ref().and_then(VaultError::worth_trying_after) {
            let soon = self.draw(&(record.id.as_str(), listings, "soon"));
            return after.min(LONGEST_PAUSE) + (interval / 4).mul_f64(soon);
        }
        if let Some(VaultErrorKind::Throttled { retry_after: Some(wish) }) =
            standing.failure.as_ref().map(VaultError::kind)
        {
            return interval.max((*wish).min(LONGEST_PAUSE));
        }
        interval
    }

    /// The interval give or take a tenth, so that vaults that were found together are not listed together for ever, nor
    /// one vault by many sidecars. Drawn from the seed and what it is for.
    fn spread(&self, interval: Duration, what: &impl Hash) -> Duration {
        interval.mul_f64(0.9 + self.draw(what) / 5.0)
    }

    /// A number in 0..=1.
    fn draw(&self, what: &impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        self.shared.options.seed.hash(&mut hasher);
        what.hash(&mut hasher);
        (hasher.finish() % 2001) as f64 / 2_000.0
    }

    /// One round of one source.
    async fn discover_one(&self, source: usize) -> Seen {
        let shared = &self.shared;
        let mut told = shared.turns[source].lock().await;
        let name = shared.sources[source].name();
        let round = AssertUnwindSafe(timeout(PATIENCE, shared.sources[source].discover())).catch_unwind().await;
        let round = match round {
            Ok(Ok(round)) => round,
            Ok(Err(_)) => failed(VaultErrorKind::TimedOut, "discovery did not end within the time limit"),
            Err(_) => failed(VaultErrorKind::Unavailable(Outage::Internal), "a fault of our own during discovery"),
        };
        tell(name, &round, &mut told);
        let seen = Seen::by(&round);
        // One outcome for a round, so that rounds can be counted: a short one counts as its first fault.
        shared.metrics.round(name.as_str(), round.faults.first().map_or("ok", VaultError::reason));
        {
            let mut rounds = shared.lock_rounds();
            shared.directory.store(Arc::new(rounds.absorb(source, round, Moment::now())));
        }
        shared.changed.notify_one();
        shared.count_progress();
        seen
    }
}

/// Tells the operator of what is new, and does not fill the log while an outage lasts.
fn tell(source: &SourceName, round: &Discovery, told: &mut Option<Told>) {
    let now = Told {
        vaults: round.vaults.len(),
        skipped: round.skipped.len(),
        faults: round.faults.iter().map(VaultError::reason).collect(),
    };
    if told.as_ref() == Some(&now) {
        tracing::debug!(%source, "looked for vaults: as before");
        return;
    }
    if told.as_ref().is_none_or(|before| before.faults != now.faults) {
        for error in &round.faults {
            tracing::warn!(%source, reason = error.reason(), "discovery is short: {error}");
        }
    }
    let Told { vaults, skipped, faults } = &now;
    tracing::info!(%source, vaults, skipped, faults = faults.len(), "looked for vaults");
    *told = Some(now);
}

/// What a round of discovery came to, as it was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    vaults: usize,
    skipped: usize,
    faults: Vec<&'static str>,
}

/// How much a round saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Everything,
    /// Not everything, for something that may pass soon.
    Outage,
    /// Not everything, for something that may well last.
    Part,
}

impl Seen {
    fn by(round: &Discovery) -> Self {
        if round.faults.is_empty() {
            Self::Everything
        } else if round.faults.iter().any(|fault| is_outage(fault.kind())) {
            Self::Outage
        } else {
            Self::Part
        }
    }
}

/// Whether asking again soon is worth a call: not where somebody refused, or asked for peace.
fn is_outage(kind: &VaultErrorKind) -> bool {
    match kind {
        // A credential may be mended at any time; signing in has a pace of its own.
        VaultErrorKind::Unauthenticated { .. } | VaultErrorKind::TimedOut | VaultErrorKind::Unavailable(_) => true,
        VaultErrorKind::NotFound
        | VaultErrorKind::Disabled
        | VaultErrorKind::Denied(_)
        | VaultErrorKind::Throttled { .. }
        | VaultErrorKind::Malformed => false,
    }
}

fn failed(kind: VaultErrorKind, detail: &str) -> Discovery {
    Discovery { faults: vec![VaultError::new(kind, detail)], ..Discovery::default() }
}
