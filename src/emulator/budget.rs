//! A vault's budget of transactions, as a token bucket.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::estate::Budget;

#[derive(Debug)]
pub(super) struct Bucket {
    budget: Budget,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, state: Mutex::new(State { left: budget.transactions.into(), at: Instant::now() }) }
    }

    /// Takes one transaction, or tells when to come back.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let most = f64::from(self.budget.transactions);
        let per_second = most / self.budget.window.as_secs_f64();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.left = (state.left + now.duration_since(state.at).as_secs_f64() * per_second).min(most);
        state.at = now;
        if state.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - state.left) / per_second));
        }
        state.left -= 1.0;
        Ok(())
    }
}
