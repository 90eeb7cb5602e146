//! The contract of [`sidekey::vaults`], run over the reference backend.

use sidekey::secret::SecretName;
use sidekey::vaults::VaultInfo;
use sidekey::vaults::contract::{self, Fixture};
use sidekey::vaults::memory::{Attributes, MemoryVault};

#[tokio::test]
async fn the_memory_backend_keeps_the_contract() {
    let vault = MemoryVault::new(VaultInfo::new("test".parse().unwrap(), "contract".parse().unwrap()));
    let name = |text: &str| text.parse::<SecretName>().unwrap();
    let described = || Attributes {
        content_type: Some("text/plain".into()),
        tags: [("team".to_owned(), "pay".to_owned())].into(),
        ..Attributes::default()
    };
    vault.set(&name(Fixture::TWO_VERSIONS), "old-value", described());
    vault.set(&name(Fixture::TWO_VERSIONS), "new-value", described());
    vault.set(&name(Fixture::DISABLED), "unseen", Attributes { enabled: false, ..Attributes::default() });
    vault.set(&name(Fixture::DELETED), "gone", Attributes::default());
    vault.delete(&name(Fixture::DELETED));
    vault.set(&name(Fixture::EMPTY), "", Attributes::default());
    for filler in 0..Fixture::AT_LEAST {
        vault.set(&name(&format!("filler-{filler}")), "x", Attributes::default());
    }
    contract::check(&vault).await;
}
