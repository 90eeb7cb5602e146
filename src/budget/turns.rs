//! Calls at once: a semaphore whose size changes while it is used. Calls that are under way when it shrinks end first.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    now: usize,
    /// Turns that are given and will not come back.
    owed: usize,
}

/// The right to one call.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new(size: usize) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(size));
        Arc::new(Self { all, size: Mutex::new(Size { now: size, owed: 0 }) })
    }

    /// Waits for a turn, in the order of coming. How long, is the caller's own business.
    pub(super) async fn take(self: &Arc<Self>) -> Turn {
        let permit = Arc::clone(&self.all).acquire_owned().await.expect("the semaphore is never closed");
        Turn { turns: Arc::clone(self), permit: Some(permit) }
    }

    pub(super) fn resize(&self, to: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if to >= size.now {
            let more = to - size.now;
            let kept = more.min(size.owed);
            size.owed -= kept;
            self.all.add_permits(more - kept);
        } else {
            let fewer = size.now - to;
            size.owed += fewer - self.all.forget_permits(fewer);
        }
        size.now = to;
    }

    pub(super) fn size(&self) -> usize {
        self.size.lock().unwrap_or_else(PoisonError::into_inner).now
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut size = self.turns.size.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(permit)) = (size.owed > 0, self.permit.take()) {
            size.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_smaller_size_holds_once_the_calls_under_way_have_ended() {
        let turns = Turns::new(4);
        let mut under_way = vec![turns.take().await, turns.take().await, turns.take().await];
        turns.resize(2);
        under_way.truncate(2);
        assert_eq!(turns.all.available_permits(), 0);
        under_way.clear();
        assert_eq!(turns.all.available_permits(), 2);
        turns.resize(1);
        turns.resize(4);
        assert_eq!(turns.all.available_permits(), 4);
    }
}
