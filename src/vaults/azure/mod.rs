//! Azure Key Vault.

mod settings;

pub use settings::{AzureSettings, Cloud, ConfiguredVault, Credential, Identity, WireLimits};
