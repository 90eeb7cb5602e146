//! The one door to every secret: get, resolve, versions, watch; search and listings through [`Broker::catalog`]. Knows no HTTP.
//!
//! How a read flows: the catalog tells which vault the address means (`anywhere` where none was named); the cache
//! answers if what it holds is fresh enough for this reader; else one flight per key asks the vault, within the
//! vault's share of calls, and what it learns is stored for the next reader. A failure is shared by those who waited
//! for it, and is not stored: only a vault's own word that it does not hold a name is, and briefly.
//!
//! Must never happen: an answer from another vault or version than the one asked for; a vault that could not be asked
//! passed over in silence; a secret given, or a vault asked, for a reader who may not read it; two upstream calls for one key at the same time, unless a reader forced the second.

mod anywhere;
mod ask;
mod carried;
mod error;
mod keeper;
mod prefetch;
mod renewal;
mod unanswered;
mod upstream;
pub mod view;
mod watch;
mod within;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use ask::{Ask, Forward, Origin, Reading, Steer};
pub use carried::Mark;
pub use error::Error;
pub use keeper::Keeper;
pub use prefetch::Missing;
pub use view::ViewError;
pub use watch::{BadEventId, Event, EventId, Filter, Kind, Told, Watch};
pub use within::{Resolved, Within};

use crate::cache::{Cache, CacheOptions};
use crate::catalog::{Catalog, Entry, Lookup, Pattern};
use crate::metrics::Metrics;
use crate::rights::Rights;
use crate::secret::{Metadata, Reference, SecretName, VaultName};
use prefetch::Prefetch;
use upstream::Upstream;
use watch::Hub;

/// How the broker reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOptions {
    /// What is held, and for how long.
    pub cache: CacheOptions,
    /// Which vault wins a bare name that several hold: the first of these that holds it. Empty: none does.
    pub order: Vec<VaultName>,
    /// Read before anybody asks.
    pub prefetch: Vec<Pattern>,
    /// The longest one read may take, its wait for the vault's budget and its retries included.
    pub read_limit: Duration,
    /// Reads under way at once over all vaults; more are refused at once.
    pub reads_in_all: usize,
    /// Watchers at once; more are refused.
    pub watchers: usize,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            cache: CacheOptions::default(),
            order: Vec::new(),
            prefetch: Vec::new(),
            read_limit: Duration::from_secs(15),
            reads_in_all: 4_096,
            watchers: 256,
        }
    }
}

/// The broker. A cheap handle.
#[derive(Debug, Clone)]
pub struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    upstream: Upstream,
    order: Vec<VaultName>,
    prefetch: Prefetch,
    metrics: Metrics,
}

impl Broker {
    /// A broker over that catalog, with an empty cache.
    #[must_use]
    pub fn new(catalog: Catalog, options: BrokerOptions, metrics: Metrics) -> Self {
        let BrokerOptions { cache, order, prefetch, read_limit, reads_in_all, watchers } = options;
        let limits = upstream::Limits { read_limit, reads_in_all };
        let hub = Hub::new(watchers, metrics.clone());
        let upstream = Upstream::new(catalog.clone(), Cache::new(cache), limits, hub);
        let prefetch = Prefetch::new(prefetch);
        let inner = Arc::new(Inner { catalog, upstream, order, prefetch, metrics });
        // Held weakly: the catalog is held by what listens to it, and a broker that was replaced must go with its values.
        let listener = Arc::downgrade(&inner);
        inner.catalog.observe(move |listing| {
            if let Some(inner) = listener.upgrade() {
                renewal::take_in(&inner.upstream, &inner.prefetch, listing);
            }
        });
        Self(inner)
    }

    /// Renews what is in use ahead of its expiry, until it is told to stop. To be run once.
    pub async fn run(self, shutdown: CancellationToken) {
        renewal::run(&self.0.upstream, &self.0.prefetch, shutdown).await;
    }

    /// Resolves when no vault is being read: what readers were given is held by then.
    pub async fn landed(&self) {
        self.0.upstream.landed().await;
    }

    /// The declared secrets that are not held. Empty: those that were declared are there.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.0.prefetch.missing(&self.0.upstream)
    }

    /// What exists, and searching it.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The values held.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        self.0.upstream.cache()
    }

    /// All of it, for somebody who may do that and no more.
    #[must_use]
    pub fn within<'b>(&'b self, rights: &'b Rights) -> Within<'b> {
        Within::new(self, rights)
    }

    /// One secret with its value.
    ///
    /// # Errors
    /// [`Error`] tells what the reader can do next.
    pub async fn get(&self, ask: &Ask) -> Result<Reading, Error> {
        self.within(&Rights::all()).get(ask).await
    }

    /// All of these, or every failure by its key: never a part.
    ///
    /// # Errors
    /// With each key whose reference could not be resolved.
    pub async fn resolve(
        &self,
        references: &BTreeMap<String, Reference>,
    ) -> Result<BTreeMap<String, Resolved>, BTreeMap<String, Error>> {
        self.within(&Rights::all()).resolve(references).await
    }

    /// The metadata of every version, newest first.
    ///
    /// # Errors
    /// As [`Broker::get`].
    pub async fn versions(&self, vault: &VaultName, name: &SecretName) -> Result<Vec<Metadata>, Error> {
        Ok(self.within(&Rights::all()).versions(vault, name).await?.1)
    }

    /// Tells what changes of what `filter` wants: from now on, or from behind the event of that id, which is
    /// understood if this run of the process has told it and it was not long ago; else the watcher is told to read anew.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there are too many watchers.
    pub fn watch(&self, filter: Filter, after: Option<Result<EventId, BadEventId>>) -> Result<Watch, Error> {
        self.within(&Rights::all()).watch(filter, after)
    }

    /// Watchers now.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.0.upstream.hub().watchers()
    }

    /// Which vault that address means.
    ///
    /// # Errors
    /// If none does, it is never asked, or nobody can tell yet.
    pub fn entry(&self, vault: &VaultName) -> Result<Entry, Error> {
        match self.0.catalog.vault(vault) {
            Lookup::Found(entry) => Ok(entry),
            Lookup::Skipped(skipped) => Err(Error::Skipped { vault: skipped.address, reason: skipped.reason }),
            Lookup::NotYet => Err(Error::NotReady),
            Lookup::NotFound { faults } if faults.is_empty() => Err(Error::UnknownVault { vault: vault.clone() }),
            // It may be one of those that discovery could not see.
            Lookup::NotFound { faults } => Err(Error::Incomplete {
                name: format!("vault {vault}"),
                unanswered: faults.iter().map(unanswered::undiscovered).collect(),
            }),
        }
    }
}
