//! Tasks that must not die: a panic ends one turn of a task, never the task, and never the process.
//!
//! Whatever runs in the background for as long as the sidecar does (rounds of discovery, listings, renewals, accepting)
//! runs through [`keep`]. What it must keep over a restart lies outside of the future that is begun again.
//!
//! Must never happen: a task that ends in silence and leaves its work undone for good; one that fails at once, again and
//! again, without a pause; what a panic says in a log (it may hold a value: its place is all that the panic hook tells).

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;

/// After the first panic; doubled from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause. A task that has worked for as long since is treated as if it had never failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Runs what `begin` begins, to its end. When it panics, that is told and counted under `task`, a word of ours, and after
/// a pause it is begun again. Dropping this drops it.
pub async fn keep<F>(task: &'static str, metrics: &Metrics, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        // What it leaves half done is dropped with it, and what it shares is behind locks that stand that.
        let Ok(turn) = catch_unwind(AssertUnwindSafe(&mut begin)).map(AssertUnwindSafe) else {
            fallen(task, metrics, &mut pause, began).await;
            continue;
        };
        if turn.catch_unwind().await.is_ok() {
            return;
        }
        fallen(task, metrics, &mut pause, began).await;
    }
}

async fn fallen(task: &'static str, metrics: &Metrics, pause: &mut Duration, began: Instant) {
    metrics.task_restarted(task);
    if began.elapsed() >= LONGEST_PAUSE {
        *pause = FIRST_PAUSE;
    }
    // What fell over the same thing does not get up in the same moment.
    let wait = pause.mul_f64(0.75 + (RandomState::new().hash_one(task) % 1_000) as f64 / 2_000.0);
    tracing::error!(task, again_in_ms = wait.as_millis(), "a task failed by a fault of our own and is begun again");
    sleep(wait).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn restarts(metrics: &Metrics, task: &str) -> u32 {
        let line = format!("sidekey_task_restarts_total{{task=\"{task}\"}} ");
        metrics.encode().lines().find_map(|told| told.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_counted_and_begun_again_until_it_ends_by_itself() {
        let (metrics, turns) = (Metrics::default(), AtomicU32::new(0));
        keep("one", &metrics, || async {
            tokio::task::yield_now().await;
            assert!(turns.fetch_add(1, Ordering::Relaxed) >= 3, "as the test wants it");
        })
        .await;
        assert_eq!((turns.load(Ordering::Relaxed), restarts(&metrics, "one")), (4, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_before_the_first_wait_is_one_too() {
        let (metrics, mut turns) = (Metrics::default(), 0);
        let begin = || {
            turns += 1;
            assert!(turns > 1, "as the test wants it");
            std::future::ready(())
        };
        keep("two", &metrics, begin).await;
        assert_eq!((turns, restarts(&metrics, "two")), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_minute_and_are_short_again_after_a_good_while() {
        let (metrics, turns) = (Metrics::default(), AtomicU32::new(0));
        let began = Instant::now();
        let kept = keep("three", &metrics, || async {
            if turns.fetch_add(1, Ordering::Relaxed) == 100 {
                sleep(Duration::from_secs(3600)).await;
            }
            panic!("as the test wants it");
        });
        let told = tokio::time::timeout(Duration::from_secs(3600), kept).await;
        assert!(told.is_err());
        // Some ten to grow, then about one a minute: neither a storm nor silence.
        assert!((50..=100).contains(&turns.load(Ordering::Relaxed)), "{turns:?} in {:?}", began.elapsed());

        turns.store(100, Ordering::Relaxed);
        let kept = keep("four", &metrics, || async {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            if turn == 107 {
                sleep(LONGEST_PAUSE).await;
            }
            assert!(turn >= 108, "as the test wants it");
        });
        let began = Instant::now();
        kept.await;
        // Seven pauses that double from half a second, the good minute, and one short pause again: not another long one.
        let spent = began.elapsed() - LONGEST_PAUSE;
        assert!(spent < Duration::from_secs(85), "{spent:?}");
        assert_eq!(restarts(&metrics, "four"), 8);
    }
}
