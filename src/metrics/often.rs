//! Numbers that every request adds to: found without a hash or a lock, and added to in a place that few threads share.

use std::hash::Hash;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::{Atomic, Counter};
use prometheus_client::metrics::family::Family;

/// A counter of many threads.
pub(super) type Sharded = Counter<u64, Shards>;

/// Numbers by labels, of which few are met all the time.
pub(super) struct Often<L> {
    all: Family<L, Sharded>,
    /// The labels that were met first, for as long as the process lives. Those that come after are counted as well, by a hash
    /// and under a lock: what is met all the time is met early, and where it was not, a request costs a little more.
    first: [OnceLock<(L, Sharded)>; 8],
}

impl<L: Clone + Eq + Hash> Often<L> {
    pub(super) fn of(all: Family<L, Sharded>) -> Self {
        Self { all, first: [const { OnceLock::new() }; 8] }
    }

    pub(super) fn inc(&self, labels: &L) {
        for place in &self.first {
            let (known, number) = place.get_or_init(|| (labels.clone(), self.all.get_or_create_owned(labels)));
            if known == labels {
                number.inc();
                return;
            }
        }
        self.all.get_or_create(labels).inc();
    }
}

/// The parts of one number. A thread adds to its own, so that threads do not take a line of memory from one another for
/// every request.
#[derive(Debug, Default)]
pub(super) struct Shards([Shard; 8]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

impl Atomic<u64> for Shards {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// What it was before is told of the thread's own part.
    fn inc_by(&self, more: u64) -> u64 {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let own = NUMBER.with(|number| number % self.0.len());
        self.0[own].0.fetch_add(more, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_whoever_counts_and_however_many_labels_there_are() {
        let family = Family::default();
        let often = Often::of(family.clone());
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for round in 0..300_u32 {
                        often.inc(&vec![("label".to_owned(), (round % 30).to_string())]);
                    }
                });
            }
        });
        for label in 0..30 {
            assert_eq!(family.get_or_create(&vec![("label".to_owned(), label.to_string())]).get(), 200);
        }
    }
}
