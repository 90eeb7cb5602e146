//! Where secrets live, whatever the store: the two traits that every backend implements, and the errors that tell a
//! caller what it can do next.
//!
//! A [`Source`] is one identity in one cloud or store and discovers [`Vault`]s; a vault lists metadata and gets
//! values. Both are object safe. Time limits and retries of the wire live in the backend; budgets, concurrency and
//! coalescing live above (`budget`, `flight`, `catalog`), once for all backends. A listing never carries a value: the type has
//! no room for one.
//!
//! [`memory`] is the reference backend, [`contract`] what every backend must do, [`azure`] the one the product is for.

pub mod asked;
pub mod azure;
pub mod contract;
mod error;
pub mod memory;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use error::{Denial, Outage, VaultError, VaultErrorKind};

use crate::secret::{Metadata, Secret, SecretName, SourceName, VaultName, Version};

/// A named place that holds secrets.
#[async_trait]
pub trait Vault: fmt::Debug + Send + Sync + 'static {
    /// What is known of the vault without asking it.
    fn info(&self) -> &VaultInfo;

    /// One secret with its value: the current version, or the one asked for.
    ///
    /// # Errors
    /// [`VaultErrorKind`] tells what the caller can do next. An answer whose identity is not the one asked for is
    /// [`VaultErrorKind::Malformed`], never another secret's value.
    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError>;

    /// The current metadata of every secret, disabled ones included, deleted ones not, in no order. The stream ends
    /// after its first error: what came before it is then only a part.
    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>>;

    /// The metadata of every version of a secret, in no order; same rules as [`Vault::list`]. A name that the vault
    /// does not hold is [`VaultErrorKind::NotFound`].
    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>>;
}

/// One identity in one cloud or store, from which vaults are discovered.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// The source's name: unique in this sidecar.
    fn name(&self) -> &SourceName;

    /// Every vault this identity can find now, united with those the configuration names. Never fails as a whole:
    /// what could not be asked is in [`Discovery::faults`], and the vaults found all the same are in
    /// [`Discovery::vaults`]. The same vault is the same `Arc` in every round.
    async fn discover(&self) -> Discovery;

    /// The vaults that the configuration names: to be asked before anything is discovered. Sends nothing. The same `Arc`
    /// as every round gives.
    fn named(&self) -> Vec<Arc<dyn Vault>> {
        Vec::new()
    }

    /// A vault that an earlier round, perhaps of an earlier process, has found: to be asked before this process has
    /// discovered anything. Sends nothing. `None`: this source would not ask such a vault. The same `Arc` as later
    /// rounds give.
    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>>;
}

/// What one round of discovery found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Vaults to be listed and read.
    pub vaults: Vec<Arc<dyn Vault>>,
    /// Vaults that exist and will not be asked, with the reason.
    pub skipped: Vec<Skipped>,
    /// Why the round may be short. Empty: this is everything the identity can see.
    pub faults: Vec<VaultError>,
}

/// A vault that discovery saw and that is never asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What is known of it.
    pub info: VaultInfo,
    /// Why it is not asked.
    pub reason: SkipReason,
}

/// Why a discovered vault is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// It trusts another tenant than the one this source signs in to: every token would be refused.
    ForeignTenant {
        /// The tenant the vault trusts.
        tenant: String,
    },
    /// Its host is outside the allowed suffixes: no token is ever sent there.
    ForeignHost {
        /// The host it claimed.
        host: String,
    },
}

impl SkipReason {
    /// A stable word for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ForeignTenant { .. } => "foreign-tenant",
            Self::ForeignHost { .. } => "foreign-host",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignTenant { tenant } => {
                write!(f, "it belongs to tenant {tenant}; configure a [[source]] for that tenant, or exclude the vault")
            }
            Self::ForeignHost { host } => {
                write!(f, "its host {host:?} is outside the allowed vault_suffixes")
            }
        }
    }
}

/// What is known of a vault without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultInfo {
    /// The source that found it.
    pub source: SourceName,
    /// Its own name, without a source.
    pub name: VaultName,
    /// Its address, as discovery or the configuration gave it.
    pub uri: Option<String>,
    /// The subscription's id.
    pub subscription: Option<String>,
    /// The resource group.
    pub resource_group: Option<String>,
    /// The cloud's region.
    pub location: Option<String>,
    /// Named in the configuration, rather than (or as well as) discovered.
    pub configured: bool,
}

impl VaultInfo {
    /// A vault of which only the name is known.
    #[must_use]
    pub fn new(source: SourceName, name: VaultName) -> Self {
        Self { source, name, uri: None, subscription: None, resource_group: None, location: None, configured: false }
    }

    /// The address that is unique whatever other sources hold: `source:vault`.
    #[must_use]
    pub fn id(&self) -> VaultName {
        self.name.qualified(&self.source)
    }
}
