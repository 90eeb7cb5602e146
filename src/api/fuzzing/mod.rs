//! What must hold of any query, any pattern and any bytes on a connection.

mod queries;
mod service;

pub use queries::{patterns, search};
pub use service::service;

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Catalog, CatalogOptions};
use crate::metrics::Metrics;
use crate::vaults::memory::{Attributes, MemorySource, MemoryVault};
use crate::vaults::{Vault, VaultInfo};

/// On a clock that jumps to whatever is waited for: nothing takes time, and what takes for ever is seen.
fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without a network")
}

fn vault(name: &str) -> MemoryVault {
    MemoryVault::new(VaultInfo::new("fuzz".parse().expect("a name"), name.parse().expect("a name")))
}

fn set(vault: &MemoryVault, name: &str, value: &str, attributes: Attributes) {
    vault.set(&name.parse().expect("a name"), value, attributes);
}

async fn listed(vaults: Vec<MemoryVault>) -> Catalog {
    let vaults = vaults.into_iter().map(|vault| Arc::new(vault) as Arc<dyn Vault>).collect();
    let source = Arc::new(MemorySource::new("fuzz".parse().expect("a name"), vaults));
    // Nobody lists them again, however long this runs.
    let options = CatalogOptions { listing_interval: Duration::from_hours(24), ..CatalogOptions::default() };
    let catalog = Catalog::counted(vec![source], options, Metrics::default());
    catalog.refresh(None).await;
    catalog
}
