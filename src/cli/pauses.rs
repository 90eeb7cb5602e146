//! How long to wait between two tries: longer each time, and by chance, so that those who wait together do not ask together.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Pauses that double from the first to the longest, each at most half shorter.
#[derive(Debug, Clone)]
pub(super) struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pauses {
    pub(super) fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    pub(super) fn next(&mut self) -> Duration {
        let next = self.next;
        self.next = (next * 2).min(self.longest);
        next / 2 + part_of(next / 2)
    }

    /// It went well: the next is the first again.
    pub(super) fn begin_anew(&mut self) {
        self.next = self.first;
    }
}

/// Some part of it, by chance.
pub(super) fn part_of(most: Duration) -> Duration {
    most.mul_f64((RandomState::new().build_hasher().finish() % 1_001) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_differ() {
        let second = Duration::from_secs(1);
        let mut pauses = Pauses::between(second, 8 * second);
        for whole in [1, 2, 4, 8, 8, 8] {
            assert!((whole * second / 2..=whole * second).contains(&pauses.next()));
        }
        let some: Vec<_> = (0..20).map(|_| pauses.next()).collect();
        assert!(some.windows(2).any(|two| two[0] != two[1]), "{some:?}");
        pauses.begin_anew();
        assert!(pauses.next() <= second);
    }
}
