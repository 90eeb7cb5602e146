use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{BudgetedVault, Budgets};
use crate::secret::{SourceName, VaultName};
use crate::vaults::{Discovery, Source, Vault, VaultInfo};

/// A source whose vaults are asked within their budgets.
pub struct BudgetedSource {
    inner: Arc<dyn Source>,
    budgets: Budgets,
    /// The same vault is the same `Arc` in every round, as the inner source has it.
    known: Mutex<HashMap<VaultName, Arc<BudgetedVault>>>,
}

impl BudgetedSource {
    /// That source within these budgets.
    #[must_use]
    pub fn new(inner: Arc<dyn Source>, budgets: Budgets) -> Self {
        Self { inner, budgets, known: Mutex::default() }
    }

    fn around(&self, vault: Arc<dyn Vault>) -> Arc<dyn Vault> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let id = vault.info().id();
        match known.get(&id).filter(|known| known.is_around(&vault)) {
            Some(known) => Arc::clone(known) as _,
            None => {
                let vault = Arc::new(BudgetedVault::new(vault, &self.budgets));
                known.insert(id, Arc::clone(&vault));
                vault
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Source for BudgetedSource {
    fn name(&self) -> &SourceName {
        self.inner.name()
    }

    async fn discover(&self) -> Discovery {
        let found = self.inner.discover().await;
        Discovery { vaults: found.vaults.into_iter().map(|vault| self.around(vault)).collect(), ..found }
    }

    fn named(&self) -> Vec<Arc<dyn Vault>> {
        self.inner.named().into_iter().map(|vault| self.around(vault)).collect()
    }

    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>> {
        self.inner.recall(info).map(|vault| self.around(vault))
    }
}

impl fmt::Debug for BudgetedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetedSource").field("inner", &self.inner).finish_non_exhaustive()
    }
}
