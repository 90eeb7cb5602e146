//! The decorators are nothing but decorators.

use std::sync::Arc;

use sidekey::budget::{BudgetOptions, BudgetedSource, BudgetedVault, Budgets};
use sidekey::metrics::Metrics;
use sidekey::vaults::contract::{self, Fixture};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Source, VaultInfo};

#[tokio::test(start_paused = true)]
async fn a_vault_within_a_budget_keeps_the_contract() {
    let vault = MemoryVault::new(VaultInfo::new("test".parse().unwrap(), "contract".parse().unwrap()));
    let set = |name: &str, value: &str, attributes: Attributes| vault.set(&name.parse().unwrap(), value, attributes);
    let described = || Attributes {
        content_type: Some("text/plain".into()),
        tags: [("team".to_owned(), "pay".to_owned())].into(),
        ..Attributes::default()
    };
    set(Fixture::TWO_VERSIONS, "old-value", described());
    set(Fixture::TWO_VERSIONS, "new-value", described());
    set(Fixture::DISABLED, "unseen", Attributes { enabled: false, ..Attributes::default() });
    set(Fixture::DELETED, "gone", Attributes::default());
    vault.delete(&Fixture::DELETED.parse().unwrap());
    set(Fixture::EMPTY, "", Attributes::default());
    for filler in 0..Fixture::AT_LEAST {
        set(&format!("filler-{filler}"), "x", Attributes::default());
    }
    let budgets = Budgets::new(BudgetOptions::default(), Metrics::default());
    contract::check(&BudgetedVault::new(Arc::new(vault), &budgets)).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_gives_the_same_vault_in_every_round_and_recalls_it_as_the_same() {
    let vault = MemoryVault::new(VaultInfo::new("s".parse().unwrap(), "pay".parse().unwrap()));
    let inner = MemorySource::new("s".parse().unwrap(), vec![Arc::new(vault)]);
    let source = BudgetedSource::new(Arc::new(inner), Budgets::new(BudgetOptions::default(), Metrics::default()));
    let (one, two) = (source.discover().await.vaults, source.discover().await.vaults);
    assert!(one.len() == 1 && two.len() == 1);
    let recalled = source.recall(one[0].info()).unwrap();
    assert_eq!((source.name().as_str(), recalled.info().name.as_str()), ("s", "pay"));
    assert!(Arc::ptr_eq(&one[0], &two[0]) && Arc::ptr_eq(&one[0], &recalled));
}
