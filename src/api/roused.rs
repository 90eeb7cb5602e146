//! A future that is looked at when it has something to tell, and not whenever its task is woken for something else.
//!
//! A connection's task is woken for every request; what ends the connection, a timer or a token, is ready once in its life.
//! To ask these each time costs a lock or a timer's registration for every request.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future with a bell of its own. Once it is ready, it is not to be polled again: it would be pending for ever.
pub(super) struct Roused<F> {
    future: F,
    bell: Arc<Bell>,
    /// What rings it.
    ring: Waker,
    /// Whom it wakes, as it was told last.
    task: Option<Waker>,
}

struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order: a task that is told now, or has been, finds it rung.
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.iter().for_each(Waker::wake_by_ref);
    }
}

impl<F> Roused<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::default() });
        Self { future, ring: Waker::from(Arc::clone(&bell)), bell, task: None }
    }

    /// The future, to be changed: it is looked at again after that.
    pub(super) fn change(&mut self) -> &mut F {
        self.bell.rung.store(true, Ordering::Release);
        &mut self.future
    }
}

impl<F: Future + Unpin> Future for Roused<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *this.bell.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            this.task = Some(cx.waker().clone());
        }
        // Only read, as a rule: it lies where others write.
        if !this.bell.rung.load(Ordering::Acquire) || !this.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.ring))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use futures::poll;
    use tokio::sync::oneshot;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn it_is_looked_at_once_for_each_ring_and_its_task_is_woken() {
        let (tell, mut told) = oneshot::channel::<u8>();
        let looks = Cell::new(0);
        let mut roused = Roused::new(poll_fn(|cx| {
            looks.set(looks.get() + 1);
            Pin::new(&mut told).poll(cx)
        }));
        for _ in 0..3 {
            assert!(poll!(&mut roused).is_pending());
        }
        assert_eq!(looks.get(), 1);
        // Nothing else wakes this task.
        let (heard, sent) = tokio::join!(&mut roused, async {
            tokio::task::yield_now().await;
            tell.send(7)
        });
        assert_eq!((heard.unwrap(), sent, looks.get()), (7, Ok(()), 2));
    }

    #[tokio::test]
    async fn whichever_task_asked_last_is_woken() {
        let (tell, told) = oneshot::channel::<u8>();
        let mut roused = Roused::new(told);
        assert!(poll!(&mut roused).is_pending());
        let mut moved = JoinSet::new();
        moved.spawn(roused);
        tokio::task::yield_now().await;
        tell.send(7).unwrap();
        assert_eq!(moved.join_next().await.unwrap().unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn what_was_changed_is_looked_at_again() {
        let (_tell, untold) = oneshot::channel::<u8>();
        let (tell, told) = oneshot::channel();
        let mut roused = Roused::new(untold);
        assert!(poll!(&mut roused).is_pending());
        tell.send(7).unwrap();
        *roused.change() = told;
        assert_eq!(poll!(&mut roused), Poll::Ready(Ok(7)));
    }
}
