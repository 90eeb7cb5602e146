//! A vault that says what it is told to, and counts who asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use sidekey::broker::{Ask, Broker, BrokerOptions, Steer};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretName, Version};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Denial, Outage, Vault, VaultError, VaultErrorKind, VaultInfo};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Scripted {
    inner: MemoryVault,
    pub gets: AtomicUsize,
    pub lists: AtomicUsize,
    /// Each get takes one permit; closed gates hold readers until a test opens them.
    pub gate: Semaphore,
    get_error: Mutex<HashMap<String, VaultErrorKind>>,
    list_error: Mutex<Option<VaultErrorKind>>,
    hidden: Mutex<Option<String>>,
}

/// Only what is held.
pub const HELD: Steer = Steer { no_cache: false, max_age: None, only_if_cached: true };
pub const DENIED: VaultErrorKind = VaultErrorKind::Denied(Denial::Rbac);
pub const DOWN: VaultErrorKind = VaultErrorKind::Unavailable(Outage::Connection);

impl Scripted {
    pub fn new(source: &str, name: &str) -> Arc<Self> {
        Self::of(VaultInfo::new(source.parse().unwrap(), name.parse().unwrap()))
    }

    /// The same, at that address.
    pub fn at(source: &str, name: &str, uri: &str) -> Arc<Self> {
        let info = VaultInfo::new(source.parse().unwrap(), name.parse().unwrap());
        Self::of(VaultInfo { uri: Some(uri.to_owned()), ..info })
    }

    fn of(info: VaultInfo) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryVault::new(info),
            gets: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            get_error: Mutex::default(),
            list_error: Mutex::default(),
            hidden: Mutex::default(),
        })
    }

    pub fn set(&self, name: &str, value: &str) -> Version {
        self.inner.set(&name.parse().unwrap(), value, Attributes::default()).version.unwrap()
    }

    pub fn disable(&self, name: &str) {
        self.inner.update(&name.parse().unwrap(), None, |metadata| metadata.enabled = false).unwrap();
    }

    pub fn delete(&self, name: &str) {
        assert!(self.inner.delete(&name.parse().unwrap()));
    }

    /// `None` heals.
    pub fn fail_gets_of(&self, name: &str, kind: Option<VaultErrorKind>) {
        let mut all = self.get_error.lock().unwrap();
        match kind {
            Some(kind) => drop(all.insert(name.to_owned(), kind)),
            None => drop(all.remove(name)),
        }
    }

    pub fn fail_lists(&self, kind: Option<VaultErrorKind>) {
        *self.list_error.lock().unwrap() = kind;
    }

    /// Listings leave that name out.
    pub fn hide(&self, name: Option<&str>) {
        *self.hidden.lock().unwrap() = name.map(str::to_owned);
    }

    /// Sets a secret whose attributes say that it was written then.
    pub fn set_at(&self, name: &str, value: &str, written: OffsetDateTime) -> Version {
        let attributes = Attributes { written: Some(written), ..Attributes::default() };
        self.inner.set(&name.parse().unwrap(), value, attributes).version.unwrap()
    }

    pub fn gets(&self) -> usize {
        self.gets.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Vault for Scripted {
    fn info(&self) -> &VaultInfo {
        self.inner.info()
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        let scripted = self.get_error.lock().unwrap().get(name.as_str()).cloned();
        match scripted {
            Some(kind) => Err(VaultError::new(kind, "as scripted")),
            None => self.inner.get(name, version).await,
        }
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        match self.list_error.lock().unwrap().clone() {
            Some(kind) => stream::iter([Err(VaultError::new(kind, "as scripted"))]).boxed(),
            None => {
                let hidden = self.hidden.lock().unwrap().clone();
                let shown = move |row: &Result<Metadata, _>| {
                    let hides = row.as_ref().is_ok_and(|row| Some(row.name.as_str()) == hidden.as_deref());
                    std::future::ready(!hides)
                };
                self.inner.list().filter(shown).boxed()
            }
        }
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.inner.versions(name)
    }
}

/// A broker over these vaults, of one source each named by their own info, after the first round.
pub struct House {
    pub broker: Broker,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl House {
    pub async fn of(vaults: &[&Arc<Scripted>]) -> Self {
        Self::with(vaults, BrokerOptions::default()).await
    }

    pub async fn with(vaults: &[&Arc<Scripted>], options: BrokerOptions) -> Self {
        let mut sources: Vec<(sidekey::secret::SourceName, Vec<Arc<dyn Vault>>)> = Vec::new();
        for vault in vaults {
            let source = &vault.info().source;
            let vault: Arc<dyn Vault> = Arc::<Scripted>::clone(vault);
            match sources.iter_mut().find(|(name, _)| name == source) {
                Some((_, held)) => held.push(vault),
                None => sources.push((source.clone(), vec![vault])),
            }
        }
        let sources = sources.into_iter().map(|(name, held)| Arc::new(MemorySource::new(name, held)) as _).collect();
        let catalog = Catalog::new(sources, CatalogOptions::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(catalog.clone().run(stop.clone()));
        catalog.first_round().await;
        let broker = Broker::new(catalog, options, Metrics::default());
        tasks.spawn(broker.clone().run(stop.clone()));
        Self { broker, stop, tasks }
    }
}

impl House {
    /// Lists every vault anew: what a broker that came after the first round has missed.
    pub async fn listed_again(&self) {
        self.broker.catalog().refresh(None).await;
    }

    /// Ends what runs for it, and lets it go.
    pub async fn stopped(self) {
        let Self { broker, stop, mut tasks } = self;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
        drop(broker);
    }
}

/// An address of the command line's form.
pub fn ask(address: &str) -> Ask {
    Ask::from(&sidekey::secret::Reference::parse_lenient(address).unwrap())
}

pub fn steered(address: &str, steer: Steer) -> Ask {
    Ask { steer, ..ask(address) }
}
