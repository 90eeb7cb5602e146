//! Waits: growing, with jitter, so that many sidecars that failed together do not come back together.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// A duration drawn evenly from `low..=high`. Without randomness it is the middle: a wait matters more than its jitter.
pub(super) fn between(low: Duration, high: Duration) -> Duration {
    let mut bytes = [0u8; 4];
    let share = match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(ring::error::Unspecified) => 0.5,
    };
    low + high.saturating_sub(low).mul_f64(share)
}

/// The wait before try number `failures + 1`: `first` doubled for each failure after the first, at most `most`.
pub(super) fn growing(failures: u32, first: Duration, most: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_never_overflow() {
        let wait = |failures| growing(failures, Duration::from_millis(100), Duration::from_secs(1)).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 4_000_000_000].map(wait), [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        let (low, high) = (Duration::from_secs(50), Duration::from_secs(75));
        for _ in 0..1000 {
            assert!((low..=high).contains(&between(low, high)));
        }
    }
}
