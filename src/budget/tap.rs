//! Waiting for a rate, in the order of coming. Reads and listings stand in lines of their own, as listings must leave a
//! reserve and would hold up reads behind them.
//!
//! Nobody is promised a token of the future: those who wait take one when it is there. A process that stood still for a
//! while would else wake to a burst of promises.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::bucket::{Bucket, Rate};
use crate::clock::Moment;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody waits for it.
    Read,
    /// A listing, which comes again anyway.
    Listing,
}

/// A bucket that can be waited for.
#[derive(Debug)]
pub(super) struct Tap {
    rate: Rate,
    bucket: Mutex<Bucket>,
    lines: [tokio::sync::Mutex<()>; 2],
}

impl Tap {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, bucket: Mutex::new(Bucket::full(rate)), lines: Default::default() }
    }

    /// Takes one token, `share` of the rate being allowed at that time. True if that had to be waited for.
    ///
    /// # Errors
    /// There will be none by `until`: how long it will be, about.
    pub(super) async fn take(&self, lane: Lane, share: impl Fn() -> f64, until: Instant) -> Result<bool, Duration> {
        let mut waited = false;
        let line = &self.lines[lane as usize];
        let _turn = match line.try_lock() {
            Ok(turn) => turn,
            Err(_others) => {
                waited = true;
                let turn = timeout_at(until, line.lock()).await;
                turn.map_err(|_elapsed| Duration::from_secs_f64(1.0 / self.rate.part(share()).per_second))?
            }
        };
        loop {
            let rate = self.rate.part(share());
            let floor = if lane == Lane::Listing { rate.reserve() } else { 0.0 };
            let Err(wait) = self.bucket().take(Moment::now(), rate, floor) else { return Ok(waited) };
            if Instant::now() + wait > until {
                return Err(wait);
            }
            waited = true;
            sleep(wait).await;
        }
    }

    /// A token that was taken was not used.
    pub(super) fn give_back(&self) {
        self.bucket().give_back();
    }

    /// A call was made that nobody took a token for.
    pub(super) fn charge(&self, share: f64) {
        self.bucket().charge(self.rate.part(share));
    }

    /// As [`Bucket::drain`].
    pub(super) fn drain(&self, until: Moment) {
        self.bucket().drain(until);
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
