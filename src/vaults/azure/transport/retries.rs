//! How many attempts may be repeated: a tenth of the first ones, over any minute. While a service answers now and then,
//! repeating helps; when it fails for all, repeating would only double what it has to bear.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::clock::Moment;

/// Over so many seconds.
const WINDOW: u64 = 60;
/// One attempt in so many may be repeated.
const SHARE: u32 = 10;
/// So many may be, however few there are: a lone reader is helped too.
const LEAST: u32 = 3;

/// The attempts of one vault in the last minute.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<VecDeque<Second>>);

#[derive(Debug, Clone, Copy)]
struct Second {
    second: u64,
    first: u32,
    repeated: u32,
}

impl Retries {
    /// A call's first attempt is made.
    pub(super) fn first(&self, now: Moment) {
        self.with(now, |seconds| current(seconds, now).first += 1);
    }

    /// Whether another attempt may be made. If so, it is.
    pub(super) fn another(&self, now: Moment) -> bool {
        self.with(now, |seconds| {
            let (first, repeated) =
                seconds.iter().fold((0, 0), |(first, repeated), at| (first + at.first, repeated + at.repeated));
            let may = repeated < LEAST.max(first / SHARE);
            if may {
                current(seconds, now).repeated += 1;
            }
            may
        })
    }

    fn with<T>(&self, now: Moment, work: impl FnOnce(&mut VecDeque<Second>) -> T) -> T {
        let mut seconds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while seconds.front().is_some_and(|at| at.second + WINDOW <= second_of(now)) {
            seconds.pop_front();
        }
        work(&mut seconds)
    }
}

fn current(seconds: &mut VecDeque<Second>, now: Moment) -> &mut Second {
    let second = second_of(now);
    if seconds.back().is_none_or(|at| at.second < second) {
        seconds.push_back(Second { second, first: 0, repeated: 0 });
    }
    seconds.back_mut().expect("one was just put there")
}

fn second_of(now: Moment) -> u64 {
    now.to_number() / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tenth_may_be_repeated_over_any_minute_and_three_in_any_case() {
        let (retries, start) = (Retries::default(), Moment::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let granted = |now| (0..100).take_while(|_| retries.another(now)).count();
        retries.first(at(0));
        assert_eq!(granted(at(0)), 3);
        for second in 0..200 {
            retries.first(at(second / 4));
        }
        assert_eq!(granted(at(50)), 20 - 3);
        assert_eq!(granted(at(58)), 0, "the same minute");
        // What is left of the minute: some forty first ones, and those that were repeated at 50.
        assert_eq!(granted(at(100)), 0);
        assert_eq!(granted(at(200)), 3);
    }
}
