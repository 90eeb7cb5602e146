//! A token bucket: so many calls at once, and so many a second on the average. Knows no waiting.

use std::time::Duration;

use crate::clock::Moment;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: f64,
}

impl Rate {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), burst: f64::from(burst.max(1)) }
    }

    /// A part of it. One call at a time is always left.
    pub(super) fn part(self, share: f64) -> Self {
        Self { per_second: self.per_second * share, burst: (self.burst * share).max(1.0) }
    }

    /// What listings leave for reads.
    pub(super) fn reserve(self) -> f64 {
        (self.burst / 4.0).min(self.burst - 1.0)
    }
}

/// What is left of a rate.
#[derive(Debug)]
pub(super) struct Bucket {
    level: f64,
    at: Moment,
}

impl Bucket {
    pub(super) fn full(rate: Rate) -> Self {
        Self { level: rate.burst, at: Moment::now() }
    }

    /// Takes one if that leaves `floor`; else tells how long it will be until it can.
    pub(super) fn take(&mut self, now: Moment, rate: Rate, floor: f64) -> Result<(), Duration> {
        self.level = (self.level + (now - self.at).as_secs_f64() * rate.per_second).min(rate.burst);
        // What fills from a later moment on is not filled twice.
        self.at = self.at.max(now);
        if self.level >= floor + 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        let missing = Duration::from_secs_f64((floor + 1.0 - self.level) / rate.per_second);
        Err((missing + (self.at - now)).max(Duration::from_millis(1)))
    }

    /// One that was taken was not used.
    pub(super) fn give_back(&mut self) {
        self.level += 1.0;
    }

    /// One was used that nobody took.
    pub(super) fn charge(&mut self, rate: Rate) {
        self.level = (self.level - 1.0).max(-rate.burst);
    }

    /// Holds one call, and fills from then on.
    pub(super) fn drain(&mut self, until: Moment) {
        self.level = self.level.min(1.0);
        self.at = self.at.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_never_more_than_its_burst_however_long_the_pause() {
        let rate = Rate::new(10, 5);
        let mut bucket = Bucket::full(rate);
        let start = bucket.at;
        let at = |millis| start + Duration::from_millis(millis);
        let mut given = |millis: u64| (0..100).take_while(|_| bucket.take(at(millis), rate, 0.0).is_ok()).count();
        assert_eq!([given(0), given(99), given(100), given(350), given(86_400_000)], [5, 0, 1, 2, 5]);
        let mut bucket = Bucket::full(rate);
        let now = bucket.at;
        assert_eq!((0..9).filter(|_| bucket.take(now, rate, 2.0).is_ok()).count(), 3, "two are kept");
        assert_eq!(bucket.take(now, rate, 2.0), Err(Duration::from_millis(100)));
    }
}
