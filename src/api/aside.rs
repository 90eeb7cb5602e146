//! Threads for what takes milliseconds, which give way to those that answer.
//!
//! Threads of equal rank would be given whole slices of a core, and of those who read values meanwhile one in a hundred would
//! wait that long: with one search for every hundred reads, four times as long as without. A lock that such a thread holds
//! while it gives way, that of the allocator at worst, keeps the others for as long as who wants it waits for it and leaves the
//! core; only where somebody else of the same control group never leaves it is that longer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::kernel::give_way;

/// The threads; they end with it, when what they do is done.
pub(super) struct Aside(Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Aside {
    /// # Panics
    /// The system has no more threads.
    pub(super) fn new(threads: usize) -> Self {
        let (give, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads {
            let jobs = Arc::clone(&jobs);
            let spawned = thread::Builder::new().name("aside".to_owned()).spawn(move || work(&jobs));
            spawned.expect("a system without one more thread runs nothing");
        }
        Self(give)
    }

    /// What that comes to, if one of the threads does it, in its turn. What was begun is done to its end, and what nobody waits
    /// for any more is not begun. A panic there is one here.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, told) = oneshot::channel::<Result<T, Box<dyn Any + Send>>>();
        let runtime = Handle::current();
        let job = move || {
            if tell.is_closed() {
                return;
            }
            let _ = tell.send(catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))));
        };
        self.0.send(Box::new(job)).expect("the threads live as long as this");
        #[cfg(any(test, feature = "emulator"))]
        let told = while_the_clock_stands_still(told);
        told.await.expect("every job tells how it ended").unwrap_or_else(|fallen| resume_unwind(fallen))
    }
}

/// A clock that is paused, as in tests, goes on by itself when the runtime has nothing to do, but not while a thread of its own
/// is busy. What ships has no such clock, and saves the thread.
#[cfg(any(test, feature = "emulator"))]
async fn while_the_clock_stands_still<T>(work: impl Future<Output = T>) -> T {
    let (over, wait) = channel::<()>();
    let busy = tokio::task::spawn_blocking(move || wait.recv());
    let done = work.await;
    drop(over);
    let _ = busy.await;
    done
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // Where that is not to be had, it is a thread like any other.
    let _ = give_way();
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        job();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn it_works_on_threads_of_its_own_that_give_way_and_outlive_a_panic() {
        let aside = Aside::new(1);
        let fallen = AssertUnwindSafe(aside.run(async { panic!("once") })).catch_unwind().await;
        assert_eq!(fallen.unwrap_err().downcast_ref(), Some(&"once"));
        // Of a thread that gives way where that is to be had, and of this one.
        let policy = || {
            // Behind the name in brackets, the 39th is the policy.
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().to_owned()
        };
        let lowest = thread::spawn(move || give_way().map(|()| policy())).join().unwrap();
        let lowest = lowest.unwrap_or_else(|_| policy());
        assert_eq!(aside.run(async move { policy() }).await, lowest);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let aside = Aside::new(1);
        let (begun, is_begun) = oneshot::channel();
        let (end, ends) = channel::<()>();
        let first = aside.run(async move {
            begun.send(()).unwrap();
            let _ = ends.recv();
        });
        let mut first = Box::pin(first);
        assert!(poll!(first.as_mut()).is_pending());
        is_begun.await.unwrap();
        let second = aside.run(async { panic!("nobody wants this") });
        assert!(second.now_or_never().is_none());
        drop(end);
        first.await;
        assert_eq!(aside.run(async { 3 }).await, 3);
    }
}
