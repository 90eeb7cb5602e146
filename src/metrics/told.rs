//! A gauge whose number is asked for, rather than kept.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::gauge::Atomic;

/// A number that somebody tells when it is asked for.
#[derive(Default)]
pub(super) struct Told(Mutex<Option<Box<dyn Fn() -> i64 + Send + Sync>>>);

impl Told {
    pub(super) fn by(&self, teller: Box<dyn Fn() -> i64 + Send + Sync>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(teller);
    }
}

impl Atomic<i64> for Told {
    fn get(&self) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |teller| teller())
    }

    // Nobody counts here.
    fn inc(&self) -> i64 {
        self.get()
    }

    fn inc_by(&self, _: i64) -> i64 {
        self.get()
    }

    fn dec(&self) -> i64 {
        self.get()
    }

    fn dec_by(&self, _: i64) -> i64 {
        self.get()
    }

    fn set(&self, _: i64) -> i64 {
        self.get()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}
