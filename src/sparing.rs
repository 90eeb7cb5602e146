//! What callers can bring about at will is told in the log sparingly: a caller that asks for the same again and again, a
//! thousand times a second, must not fill a disk.
//!
//! Must never happen: a kind of trouble that is not told at all; one kind that keeps another from being told; memory
//! that grows with what callers send. Kinds are words of ours, and few.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// Of each kind, in each [`PERIOD`].
const TOLD: u64 = 10;
/// From the first one on.
const PERIOD: Duration = Duration::from_secs(60);

/// How often each kind was told. A cheap handle.
#[derive(Debug, Clone)]
pub struct Sparing<K>(Arc<Mutex<HashMap<K, Count>>>);

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Moment,
    met: u64,
}

impl<K> Default for Sparing<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash> Sparing<K> {
    /// Whether one more of that kind is told: ten in a minute are. With it, how many were not told in the minute before,
    /// once.
    #[must_use]
    pub fn tell(&self, kind: K) -> Option<u64> {
        let now = Moment::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(kind).or_insert(Count { since: now, met: 0 });
        let mut untold = 0;
        if now - count.since >= PERIOD {
            untold = count.met.saturating_sub(TOLD);
            *count = Count { since: now, met: 0 };
        }
        count.met += 1;
        (count.met <= TOLD).then_some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_each_kind_ten_in_a_minute_are_told_and_then_how_many_were_not() {
        let sparing = Sparing::default();
        let told = |kind| (0..100).filter(|_| sparing.tell(kind).is_some()).count();
        assert_eq!((told("a"), told("a"), told("b")), (10, 0, 10));
        tokio::time::advance(PERIOD).await;
        assert_eq!(sparing.tell("a"), Some(190));
        assert_eq!(sparing.tell("a"), Some(0));
        assert_eq!(told("a"), 8);
    }
}
