//! What a 429 does: the whole vault is left alone for as long as it says, and then asked more slowly, until a while of
//! successes has shown that it bears more again (additive increase, multiplicative decrease, as TCP has it).
//!
//! What of the budget is used (the share) holds for the rate, the burst and the calls at once alike. It falls far below
//! what one sidecar alone would ever need: of a fleet that restarts together nobody knows how large it is, and each
//! finds its part by being refused. It comes back by successes, and by time too, as one that asks little has few.

use std::time::Duration;

use crate::clock::Moment;

/// Bounds on what a vault may ask for.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(300);
/// The longest wait of our own choosing: where the vault asked for none, and beyond what it asked for.
pub(super) const CAP: Duration = Duration::from_secs(60);
/// Successes that let the share grow a step.
const SUCCESSES: u32 = 16;
/// A step, unless that is more than the share itself.
const STEP: f64 = 1.0 / 32.0;
/// The share doubles over that time without a 429.
const DOUBLES: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Gate {
    /// The least share.
    floor: f64,
    /// Closed until then.
    opens: Moment,
    /// When it was last closed.
    closed: Moment,
    share: f64,
    /// When the share was that.
    since: Moment,
    successes: u32,
    /// Closings in a row without a success between.
    strikes: u32,
    /// It was told that this began, and not yet that it is over.
    told: bool,
}

impl Gate {
    pub(super) fn new(floor: f64) -> Self {
        let never = Moment::default();
        Self { floor, opens: never, closed: never, share: 1.0, since: never, successes: 0, strikes: 0, told: false }
    }

    /// How long it stays closed; `None`: it is open.
    pub(super) fn left(&self, now: Moment) -> Option<Duration> {
        (now < self.opens).then(|| self.opens - now)
    }

    /// The part of the budget that may be used.
    pub(super) fn share(&self, now: Moment) -> f64 {
        let doubled = (now - self.since).as_secs_f64() / DOUBLES.as_secs_f64();
        (self.share * doubled.min(100.0).exp2()).min(1.0)
    }

    /// A call that began then was told 429, and to stay away for so long, if it was. `chance` draws from 0..1. True if
    /// that closed the gate anew: what calls are told that were under way with the first one is no news.
    pub(super) fn refused(
        &mut self,
        began: Moment,
        now: Moment,
        told: Option<Duration>,
        mut chance: impl FnMut() -> f64,
    ) -> bool {
        let news = began > self.closed;
        if news {
            self.share = (self.share(now) / 2.0).max(self.floor);
            self.strikes = self.strikes.saturating_add(1);
            (self.closed, self.successes) = (now, 0);
        }
        let wait = told.map_or_else(
            || {
                let longest = LEAST.saturating_mul(2u32.saturating_pow(self.strikes)).min(CAP);
                LEAST + (longest - LEAST).mul_f64(chance())
            },
            |told| told.clamp(LEAST, MOST),
        );
        // Whoever was refused in the same second was told the same: the more crowded it seems, the wider we spread.
        // What we choose ourselves stays within its cap in all.
        let most = if told.is_some() { CAP } else { CAP.saturating_sub(wait) };
        let spread = wait.mul_f64((1.0 / self.share - 1.0).min(600.0)).min(most);
        let spread = if news { spread.mul_f64(chance()) } else { Duration::ZERO };
        self.opens = self.opens.max(now + wait + spread);
        self.since = self.opens;
        news
    }

    /// True once, after the first 429: until all of the budget is used again, more of them are no news.
    pub(super) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// True once, when all of the budget is used again.
    pub(super) fn is_over(&mut self, now: Moment) -> bool {
        self.left(now).is_none() && self.share(now) >= 1.0 && std::mem::take(&mut self.told)
    }

    /// A call that began then was answered.
    pub(super) fn answered(&mut self, began: Moment, now: Moment) {
        if began <= self.closed {
            return;
        }
        self.strikes = 0;
        self.successes += 1;
        if self.successes >= SUCCESSES {
            self.successes = 0;
            let share = self.share(now);
            (self.share, self.since) = ((share + share.min(STEP)).min(1.0), now);
        }
    }

    /// When it will open, or opened last.
    pub(super) fn opens(&self) -> Moment {
        self.opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_clamped_and_without_one_the_wait_grows_to_its_cap() {
        let start = Moment::now();
        for (told, least) in [(0, 1), (7, 7), (1_000_000, 300)] {
            let mut gate = Gate::new(0.001);
            gate.refused(start, start, Some(Duration::from_secs(told)), || 0.0);
            assert_eq!(gate.left(start), Some(Duration::from_secs(least)));
        }
        let (mut gate, mut now) = (Gate::new(0.001), start);
        let mut longest = Vec::new();
        for _ in 0..8 {
            let mut draws = [1.0, 0.0].into_iter();
            gate.refused(now, now, None, || draws.next().unwrap_or(0.0));
            let left = gate.left(now).unwrap();
            longest.push(left.as_secs());
            now = now + left;
        }
        assert_eq!(longest, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn refusals_of_one_moment_halve_once_and_successes_bring_it_back_step_by_step() {
        let start = Moment::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut gate = Gate::new(0.001);
        for _ in 0..20 {
            gate.refused(start, later(1), Some(Duration::from_secs(10)), || 0.0);
        }
        assert_eq!(gate.share(later(11)), 0.5);
        for _ in 0..SUCCESSES {
            gate.answered(later(11), later(11));
        }
        assert_eq!(gate.share(later(11)), 0.5 + STEP);
        assert!(gate.begins() && !gate.begins(), "news once");
        assert!(!gate.is_over(later(11)));
        assert_eq!(gate.share(later(26)), 1.0, "and time does");
        assert!(gate.is_over(later(26)) && !gate.is_over(later(27)) && gate.begins());
    }
}
