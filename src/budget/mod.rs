//! What may be asked of a vault, and when: rates, calls at once, the gate that a 429 closes, the circuit that an outage
//! opens. Decorators around any [`Source`](crate::vaults::Source), so that nothing above or below has to know.
//!
//! - `bucket` and `tap`: a rate, and waiting for it. A vault has one, and so has a subscription. `turns`: calls at once.
//! - `gate`: a vault that said 429 is left alone, and asked more slowly afterwards. `circuit`: one that does not answer
//!   is tried by one call at a time.
//! - `allowance`: all of that for one vault; every call passes it. `vault` and `source` are the decorators.
//!
//! Azure counts per vault and not per caller, so that the sources that see one vault share its allowance, and a 429 to
//! one of them is a 429 to all. What is refused here was not asked
//! ([`VaultError::not_asked`](crate::vaults::VaultError::not_asked)): it costs nothing upstream, and tells when to come
//! back.
//!
//! Must never happen: a call while a vault's gate is closed; two calls at once to a vault whose circuit is open; a reader
//! kept waiting for a rate or a gate beyond two seconds; one vault's trouble felt by another.
//!
//! The bucket is our own, some forty lines, rather than a crate's (`governor` is the well-kept one): it must keep a
//! reserve for reads that listings may not touch, take tokens back, change its rate while it is used, and count on
//! [`Moment`](crate::clock::Moment), which goes on in a suspend and stands still in a paused test; `governor` waits on
//! timers of its own, and has none of the other three.

mod allowance;
mod bucket;
mod circuit;
mod gate;
mod source;
mod tap;
mod turns;
mod vault;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub use source::BudgetedSource;
pub use vault::BudgetedVault;

use crate::metrics::Metrics;
use crate::vaults::VaultInfo;
use allowance::Allowance;
use bucket::Rate;
use tap::Tap;

/// How much may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetOptions {
    /// Calls of one vault in a second, on the average; 190. A page of a listing is a call.
    ///
    /// With the burst that makes 2,000 in any ten seconds: half of the 4,000 that Key Vault serves a vault's callers in
    /// all (`learn.microsoft.com/azure/key-vault/general/service-limits`).
    pub reads_per_second: u32,
    /// Calls of one vault at once after a quiet time; 100.
    pub burst: u32,
    /// Calls of one vault under way at the same time; 32. A vault that says 429 gets fewer for a while.
    pub calls_at_once: usize,
    /// Calls of all vaults of one subscription in a second, on the average; 850. Vaults whose subscription is not known
    /// count as one. With its burst that makes half of the 20,000 in ten seconds that Azure serves.
    pub subscription_per_second: u32,
    /// Calls of one subscription at once after a quiet time; 1,500. What listings may have of it (they leave a quarter to
    /// reads) is a page of each of 1,000 vaults: their first listing waits for no refill.
    pub subscription_burst: u32,
    /// What waits are drawn from; another one in each sidecar.
    pub seed: u64,
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self {
            reads_per_second: 190,
            burst: 100,
            calls_at_once: 32,
            subscription_per_second: 850,
            subscription_burst: 1_500,
            seed: 0,
        }
    }
}

/// The budgets of one sidecar, shared by its sources. A cheap handle.
#[derive(Clone)]
pub struct Budgets(Arc<Shared>);

struct Shared {
    options: BudgetOptions,
    metrics: Metrics,
    /// By address, as several sources may see one vault; by id where it has none. Every vault that was ever found.
    vaults: Mutex<HashMap<String, Arc<Allowance>>>,
    /// By id; `None` for the vaults that do not tell theirs.
    subscriptions: Mutex<HashMap<Option<String>, Arc<Tap>>>,
}

impl Budgets {
    /// Nothing is spent yet. Every call upstream is counted in `metrics`, here and nowhere else.
    #[must_use]
    pub fn new(options: BudgetOptions, metrics: Metrics) -> Self {
        Self(Arc::new(Shared { options, metrics, vaults: Mutex::default(), subscriptions: Mutex::default() }))
    }

    /// How much may be asked.
    #[must_use]
    pub fn options(&self) -> &BudgetOptions {
        &self.0.options
    }

    fn of_vault(&self, info: &VaultInfo) -> Arc<Allowance> {
        let key = info.uri.clone().unwrap_or_else(|| info.id().to_string());
        let mut vaults = self.0.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |key: &String| Arc::new(Allowance::new(key, &self.0.options));
        Arc::clone(vaults.entry(key).or_insert_with_key(fresh))
    }

    fn of_subscription(&self, info: &VaultInfo) -> Arc<Tap> {
        let mut subscriptions = self.0.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tap) = subscriptions.get(&info.subscription) {
            return Arc::clone(tap);
        }
        let BudgetOptions { subscription_per_second, subscription_burst, .. } = self.0.options;
        let tap = Arc::new(Tap::new(Rate::new(subscription_per_second, subscription_burst)));
        subscriptions.insert(info.subscription.clone(), Arc::clone(&tap));
        tap
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("options", &self.0.options).finish_non_exhaustive()
    }
}
