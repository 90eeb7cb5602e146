//! A client's first call learns the vault's challenge; calls made meanwhile wait for it instead of learning it each for
//! itself, which would double their requests.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

/// Lets one call at a time through until it is opened.
#[derive(Debug, Default)]
pub(super) struct Gate {
    open: AtomicBool,
    first: Mutex<()>,
}

impl Gate {
    /// The challenge is known.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Runs a call, alone while the gate is not open. A first call that fails or goes away leaves the next one to try.
    pub(super) async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        if self.is_open() {
            return call.await;
        }
        let turn = self.first.lock().await;
        if self.is_open() {
            drop(turn);
        }
        call.await
    }

    /// Whether the challenge is known.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}
