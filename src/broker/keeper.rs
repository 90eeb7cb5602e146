//! Keeps what is held on disk, for a start while Azure does not answer; see [`snapshot`](crate::snapshot) for the file.
//!
//! A change of what is held is written within seconds; that it was merely confirmed again, within minutes: until then
//! the file tells an age that is too high, never one that is too low.
//!
//! What must never happen: a good file replaced by what a start in an outage found, which is nothing. Nothing is written
//! before this process has read or listed something itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Broker;
use crate::cache::Key;
use crate::catalog::{self, Lookup};
use crate::clock::Moment;
use crate::metrics::{Level, Metrics};
use crate::snapshot::{Bounds, Contents, KnownValue, KnownVault, ReadError, Restored, Snapshot, WriteError};

/// Between two looks at what has changed.
const LOOK: Duration = Duration::from_secs(5);
/// The most that lies between a listing that confirms and a file that tells of it.
const REFRESH: Duration = Duration::from_secs(300);
/// The first wait after a write failed; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A disk that hangs keeps nobody from stopping.
const LAST_WRITE: Duration = Duration::from_secs(3);

/// Writes the snapshot of one broker, and restores it. A cheap handle.
#[derive(Debug, Clone)]
pub struct Keeper {
    broker: Broker,
    snapshot: Arc<Snapshot>,
    began: Moment,
}

/// What a state is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Mark {
    /// Something in it was learned by this process.
    news: bool,
    /// Which values and vaults it holds.
    what: u64,
    /// When they were confirmed.
    when: u64,
}

impl Keeper {
    /// Keeps what that broker holds in that snapshot. `began`: when this process began to ask; what is known since is
    /// worth replacing a snapshot for.
    #[must_use]
    pub fn new(broker: Broker, snapshot: Snapshot, began: Moment) -> Self {
        Self { broker, snapshot: Arc::new(snapshot), began }
    }

    /// Takes in what an earlier process has left, to be served at once and marked. To be done before anybody is served.
    /// What cannot be used is told in the log: it is no reason not to start.
    pub async fn restore(&mut self) {
        let max_stale = self.broker.cache().options().max_stale;
        let bounds = Bounds { max_age: max_stale, max_stale };
        let snapshot = Arc::clone(&self.snapshot);
        // Both clocks at the same time: what reading takes must not make anything younger.
        let (now, wall) = (Moment::now(), OffsetDateTime::now_utc());
        let outcome = spawn_blocking(move || snapshot.read(wall, bounds)).await;
        let outcome = outcome.expect("reading a snapshot does not panic");
        self.metrics().snapshot("read", outcome.as_ref().map_or_else(reason_unread, |_| "ok"));
        match outcome {
            Ok(None) => tracing::info!(file = %self.snapshot.path().display(), "there is no snapshot yet"),
            Ok(Some(restored)) => self.take_in(&restored, now),
            Err(error) => tracing::warn!("{error}"),
        }
        self.began = Moment::now();
    }

    /// When this process began to ask, once it has restored what was to be restored.
    #[must_use]
    pub fn began(&self) -> Moment {
        self.began
    }

    fn take_in(&self, restored: &Restored, now: Moment) {
        let since = |at| now.before(restored.age(at));
        let vaults = restored.contents.vaults.iter().map(|known| catalog::KnownVault {
            info: known.info.clone(),
            listed: known.listed.map(since),
            secrets: known.secrets.clone(),
        });
        let vaults = self.broker.catalog().recall(vaults.collect());
        for value in &restored.contents.values {
            // A vault that is not to be asked any more is not served either.
            if !matches!(self.broker.catalog().vault(&value.vault), Lookup::Found(_)) {
                continue;
            }
            let key = Key { vault: value.vault.clone(), name: value.name.clone(), version: value.version.clone() };
            self.broker.cache().restore(key, Arc::clone(&value.secret), since(value.confirmed), value.settled);
        }
        let age = restored.age(restored.contents.taken).as_secs();
        let (values, too_old) = (restored.contents.values.len(), restored.too_old);
        if !restored.ages_known {
            tracing::warn!(
                "the snapshot was taken in the future, by this machine's clock: its values count as nearly too old"
            );
        }
        tracing::info!(vaults, values, too_old, age_s = age, "restored from the snapshot");
    }

    /// Writes what has changed until it is told to stop, and then once more. To be run once.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Mark::default();
        let mut written_at = Moment::now();
        let (mut failures, mut not_before) = (0_u32, written_at);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = looks.tick() => {}
            }
            let (mark, now) = (self.mark(), Moment::now());
            let due = mark.what != written.what || mark.when != written.when && now - written_at >= REFRESH;
            if !mark.news || !due || now < not_before {
                continue;
            }
            match self.write(failures == 0).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("the snapshot is written again");
                    }
                    (written, written_at, failures) = (mark, now, 0);
                }
                Err(()) => {
                    not_before = now + FIRST_WAIT.saturating_mul(1 << failures.min(6)).min(LONGEST_WAIT);
                    failures = failures.saturating_add(1);
                }
            }
        }
        let mark = self.mark();
        if mark.news && mark != written && timeout(LAST_WRITE, self.write(true)).await.is_err() {
            tracing::warn!("the snapshot is not written: the disk does not answer");
        }
    }

    /// `Err`: it failed, which was told if it is to be.
    async fn write(&self, tell: bool) -> Result<(), ()> {
        let (snapshot, contents) = (Arc::clone(&self.snapshot), self.contents());
        let values = contents.values.len();
        let outcome = spawn_blocking(move || snapshot.write(&contents)).await;
        let outcome = outcome.expect("writing a snapshot does not panic");
        self.metrics().snapshot("write", outcome.as_ref().map_or_else(reason_unwritten, |_| "ok"));
        match outcome {
            Ok(bytes) => {
                tracing::debug!(values, bytes, "the snapshot is written");
                self.metrics().set(Level::SnapshotBytes, bytes as u64);
                let now = OffsetDateTime::now_utc().unix_timestamp();
                self.metrics().set(Level::SnapshotWritten, u64::try_from(now).unwrap_or(0));
                Ok(())
            }
            Err(error) => {
                if tell {
                    tracing::warn!("{error}; it is tried again");
                }
                Err(())
            }
        }
    }

    fn contents(&self) -> Contents {
        let (now, taken) = (Moment::now(), OffsetDateTime::now_utc());
        // A moment before the wall clock's first is none that anything was confirmed at.
        let wall = |at: Moment| taken.checked_sub((now - at).try_into().unwrap_or(time::Duration::MAX));
        let vaults = self.broker.catalog().known().into_iter().map(|known| KnownVault {
            info: known.info,
            listed: known.listed.and_then(wall),
            secrets: known.secrets,
        });
        let values = self.broker.cache().iter().filter_map(|(key, held)| {
            let Key { vault, name, version } = Key::clone(&key);
            let secret = Arc::clone(held.answer().ok()?);
            // No listing tells of another version than the current one.
            let settled = version.is_none() && self.broker.cache().is_settled(&held);
            Some(KnownValue { vault, name, version, secret, confirmed: wall(held.confirmed())?, settled })
        });
        Contents { taken, vaults: vaults.collect(), values: values.collect() }
    }

    fn mark(&self) -> Mark {
        let mut mark = Mark::default();
        // Added up, as they come in no order.
        let mut add = |what: u64, when: Option<Moment>, news: bool| {
            mark.news |= news;
            mark.what = mark.what.wrapping_add(what);
            mark.when = mark.when.wrapping_add(when.map_or(0, Moment::to_number));
        };
        for (key, held) in self.broker.cache().iter().filter(|(_, held)| held.answer().is_ok()) {
            add(hash(&(&*key, held.asked())), Some(held.confirmed()), held.confirmed() >= self.began);
        }
        for (vault, listed) in self.broker.catalog().listings() {
            add(hash(&vault), listed, listed.is_some_and(|listed| listed >= self.began));
        }
        mark
    }

    fn metrics(&self) -> &Metrics {
        &self.broker.0.metrics
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn reason_unread(error: &ReadError) -> &'static str {
    match error {
        ReadError::Damaged { .. } => "damaged",
        ReadError::OtherIdentity { .. } => "other-identity",
        ReadError::TooOld { .. } => "too-old",
        ReadError::Newer { .. } => "newer-format",
        ReadError::Untrusted { .. } => "untrusted",
        ReadError::Io { .. } => "disk",
    }
}

fn reason_unwritten(error: &WriteError) -> &'static str {
    match error {
        WriteError::NoRoom { .. } => "no-room",
        WriteError::NotAllowed { .. } => "not-allowed",
        WriteError::Io { .. } => "disk",
        WriteError::TooLarge { .. } => "too-large",
        WriteError::NoRandom => "no-random",
    }
}
