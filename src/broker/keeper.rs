//! Keeps what is held on disk, for a start while Azure does not answer; see [`snapshot`](crate::snapshot) for the file.
//!
//! A change of what is held is written within seconds; that it was merely confirmed again, within minutes: until then
//! the file tells an age that is too high, never one that is too low.
//!
//! What must never happen: a good file replaced by what a start in an outage found, which is nothing. Nothing is written
//! before this process has read or listed something itself.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Broker, Mark};
use crate::clock::Moment;
use crate::metrics::{Level, Metrics};
use crate::snapshot::{ReadError, Snapshot, WriteError};

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
        let bounds = self.broker.bounds();
        let snapshot = Arc::clone(&self.snapshot);
        // Both clocks at the same time: what reading takes must not make anything younger.
        let (now, wall) = (Moment::now(), OffsetDateTime::now_utc());
        let outcome = spawn_blocking(move || snapshot.read(wall, bounds)).await;
        let outcome = outcome.expect("reading a snapshot does not panic");
        self.metrics().snapshot("read", outcome.as_ref().map_or_else(reason_unread, |_| "ok"));
        match outcome {
            Ok(None) => tracing::info!(file = %self.snapshot.path().display(), "there is no snapshot yet"),
            Ok(Some(restored)) => self.broker.take_in(&restored, now),
            Err(error) => tracing::warn!("{error}"),
        }
        self.began = Moment::now();
    }

    /// When this process began to ask, once it has restored what was to be restored.
    #[must_use]
    pub fn began(&self) -> Moment {
        self.began
    }

    /// Writes what has changed until it is told to stop, and then once more. To be run once.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut looks = interval(Mark::LOOK);
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
            let (mark, now) = (self.broker.mark(self.began), Moment::now());
            if !mark.is_due(&written, now - written_at) || now < not_before {
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
        let mark = self.broker.mark(self.began);
        if mark.is_news(&written) && timeout(LAST_WRITE, self.write(true)).await.is_err() {
            tracing::warn!("the snapshot is not written: the disk does not answer");
        }
    }

    /// `Err`: it failed, which was told if it is to be.
    async fn write(&self, tell: bool) -> Result<(), ()> {
        let (snapshot, contents) = (Arc::clone(&self.snapshot), self.broker.contents(OffsetDateTime::now_utc()));
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

    fn metrics(&self) -> &Metrics {
        &self.broker.0.metrics
    }
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
