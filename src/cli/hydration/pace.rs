//! When to look at what has changed: once for several changes, and never more often than is good.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::cli::pauses::part_of;

/// Changes that come this soon after one another are one.
const QUIET: Duration = Duration::from_secs(1);
/// But who waits for quiet waits no longer than this.
const LONGEST_QUIET: Duration = Duration::from_secs(10);
/// Between one act and the next; doubled for each that follows at once, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After such a time without an act, the next pause is the first again. Longer than the longest pause and a look.
const AGES: Duration = Duration::from_secs(120);

/// How often is good.
#[derive(Debug)]
pub(super) struct Pace {
    jitter: Duration,
    pause: Duration,
    acted: Option<Instant>,
}

impl Pace {
    /// Each look is by a random part of `jitter` later, so that a fleet does not act at once.
    pub(super) fn new(jitter: Duration) -> Self {
        Self { jitter, pause: FIRST_PAUSE, acted: None }
    }

    /// After a first change, until there is quiet and it is time to look. `change` resolves with the next change, or with
    /// false if there will be none; and so does this.
    pub(super) async fn settle(&self, mut change: impl AsyncFnMut() -> bool) -> bool {
        let latest = Instant::now() + LONGEST_QUIET;
        let goes_on = loop {
            match timeout_at(latest.min(Instant::now() + QUIET), change()).await {
                Ok(true) => {}
                Ok(false) => break false,
                Err(_) => break true,
            }
        };
        sleep(part_of(self.jitter)).await;
        if let Some(acted) = self.acted {
            sleep_until(acted + self.pause).await;
        }
        goes_on
    }

    /// What was seen was acted upon.
    pub(super) fn acted(&mut self) {
        let now = Instant::now();
        self.pause = match self.acted {
            Some(before) if now - before < AGES => (self.pause * 2).min(LONGEST_PAUSE),
            Some(_) | None => FIRST_PAUSE,
        };
        self.acted = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// When it was acted, in seconds, if everything that is seen is a change.
    async fn acts(mut changes: UnboundedReceiver<()>, jitter: Duration) -> Vec<f64> {
        let (began, mut pace, mut acts) = (Instant::now(), Pace::new(jitter), Vec::new());
        while changes.recv().await.is_some() {
            let goes_on = pace.settle(async || changes.recv().await.is_some()).await;
            acts.push(began.elapsed().as_secs_f64());
            pace.acted();
            if !goes_on {
                break;
            }
        }
        acts
    }

    /// Changes, each so many milliseconds after the one before.
    async fn after(pauses: impl IntoIterator<Item = u64>, jitter: Duration) -> Vec<f64> {
        let (send, changes) = unbounded_channel();
        let sending = async {
            for pause in pauses {
                sleep(Duration::from_millis(pause)).await;
                let _ = send.send(());
            }
            sleep(Duration::from_secs(200)).await;
            drop(send);
        };
        tokio::join!(acts(changes, jitter), sending).0
    }

    #[tokio::test(start_paused = true)]
    async fn one_change_is_acted_upon_soon_and_several_together_are_one() {
        assert_eq!(after([0, 5_000], Duration::ZERO).await, [1.0, 6.0]);
        assert_eq!(after([0, 300, 300, 300], Duration::ZERO).await, [1.9]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_changes_in_a_minute_are_a_few_acts() {
        let acts = after([600; 100], Duration::ZERO).await;
        assert!((2..=6).contains(&acts.len()), "{acts:?}");
        assert!(acts[0] <= 11.0, "nobody waits for quiet that never comes: {acts:?}");
        assert!(*acts.last().unwrap() >= 60.0, "the last change is acted upon: {acts:?}");
        // Slower than any quiet, and in the end as far apart as it gets.
        let acts = after([1_500; 400], Duration::ZERO).await;
        assert!(acts.len() <= 16, "{acts:?}");
        assert!(acts.windows(2).all(|two| two[1] - two[0] >= 2.0), "{acts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_time_of_quiet_a_change_is_acted_upon_as_soon_as_the_first() {
        let acts = after([0, 3_000, 3_000, 3_000, 150_000, 3_000], Duration::ZERO).await;
        assert_eq!(acts, [1.0, 4.0, 8.0, 16.0, 160.0, 163.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_is_spread() {
        let mut all = Vec::new();
        for _ in 0..50 {
            all.push(after([0], Duration::from_secs(60)).await[0]);
        }
        assert!(all.iter().all(|act| (1.0..=61.1).contains(act)), "{all:?}");
        let early = all.iter().filter(|act| **act < 31.0).count();
        assert!((5..=45).contains(&early), "{all:?}");
    }
}
