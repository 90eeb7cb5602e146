//! The clock that ages are counted on: it never jumps, and it does not stop while the machine is suspended.
//!
//! Wall time jumps, and [`Instant`] (Linux's `CLOCK_MONOTONIC`) stands still in a suspend: a laptop or a virtual machine
//! that wakes after eight hours would take values of yesterday for fresh. So the time spent suspended is added, as the
//! difference that `CLOCK_BOOTTIME` has gathered. What runs on tokio's paused clock stays on it.
//!
//! Timers still run on tokio's clock: they fire late after a suspend, and whoever they wake looks here.

#![expect(clippy::disallowed_types, reason = "where the count begins must be real time, whatever a test has paused")]

use std::cell::Cell;
use std::ops::{Add, Sub};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A point in time. It means nothing outside this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        place(Instant::now().into_std(), suspended(), &ORIGIN) + simulated::suspended()
    }

    /// Time since then; zero for what is yet to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    /// As a number of nanoseconds, for an atomic; enough for five centuries.
    #[must_use]
    pub fn to_number(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment that [`Moment::to_number`] told.
    #[must_use]
    pub fn of_number(number: u64) -> Self {
        Self(Duration::from_nanos(number))
    }

    /// So long before; as early as the clock can tell, if that is too long.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// Zero if `earlier` is the later one.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where the count stands at the process's first question: far enough from zero that what is older than the process, such
/// as the ages in a snapshot, has its place before it.
const BEFORE_US: Duration = Duration::from_secs(400 * 24 * 3600);

struct Origin {
    /// Real time, whatever the runtime of the first caller has made of its own.
    instant: std::time::Instant,
    suspended: Duration,
}

static ORIGIN: LazyLock<Origin> =
    LazyLock::new(|| Origin { instant: std::time::Instant::now(), suspended: suspended() });

/// How long this machine was suspended since it started.
fn suspended() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    thread_local! {
        /// When this thread looked last, since the boot, and what it saw.
        static SEEN: Cell<(Duration, Duration)> = const { Cell::new((Duration::ZERO, Duration::ZERO)) };
    }
    let since_boot = read(ClockId::Boottime);
    let (at, seen) = SEEN.get();
    // A suspend is time since the boot: there was none since then that would count.
    if at != Duration::ZERO && since_boot.saturating_sub(at) < LEAST / 100 {
        return seen;
    }
    // Read after the other: a thread that is held up between the two must not look suspended for that time.
    let suspended = since_boot.saturating_sub(read(ClockId::Monotonic));
    SEEN.set((since_boot, suspended));
    suspended
}

/// Suspends that a simulation lives through: a thread's own, so that worlds side by side do not meet. Production images
/// are built without.
#[cfg(feature = "emulator")]
pub mod simulated {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static SUSPENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// As if the machine had been suspended just now, for whatever runs on this thread.
    pub fn suspend(long: Duration) {
        SUSPENDED.set(suspended() + long);
    }

    pub(super) fn suspended() -> Duration {
        SUSPENDED.get()
    }
}

#[cfg(not(feature = "emulator"))]
mod simulated {
    pub(super) const fn suspended() -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// Less is not a suspend but what passes between the two readings.
const LEAST: Duration = Duration::from_millis(100);

fn place(now: std::time::Instant, suspended: Duration, origin: &Origin) -> Moment {
    let slept = suspended.saturating_sub(origin.suspended);
    let start = BEFORE_US + if slept < LEAST { Duration::ZERO } else { slept };
    Moment(match now.checked_duration_since(origin.instant) {
        Some(since) => start + since,
        None => start.saturating_sub(origin.instant - now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspend_counts_and_a_runtime_older_than_the_first_question_has_its_place() {
        let second = Duration::from_secs(1);
        let origin = Origin { instant: std::time::Instant::now(), suspended: second * 7 };
        let start = place(origin.instant, origin.suspended, &origin);
        let slept = place(origin.instant + second, origin.suspended + second * 8 * 3600, &origin);
        assert_eq!(slept - start, second * (8 * 3600 + 1));
        let older = place(origin.instant - second, origin.suspended, &origin);
        assert_eq!((start - older, older - start), (second, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_runtimes_time_is_this_clocks() {
        let began = Moment::now();
        tokio::time::advance(Duration::from_secs(86_400 * 3)).await;
        let days = began.elapsed().as_secs() / 86_400;
        assert_eq!(days, 3);
    }
}
