//! Vaults and sources that do as they are told, for what the memory backend never does: fail, hang, break off.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use sidekey::catalog::{Catalog, CatalogOptions, Entry, Lookup, Page, Query, VaultStatus};
use sidekey::secret::{Metadata, Secret, SecretName, SourceName, VaultName, Version};
use sidekey::vaults::{
    Denial, Discovery, Outage, SkipReason, Skipped, Source, Vault, VaultError, VaultErrorKind, VaultInfo,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a vault answers when it is listed.
#[derive(Clone)]
pub(crate) enum Act {
    Tell(Vec<Metadata>),
    TellAfter(Duration, Vec<Metadata>),
    BreakOff(Vec<Metadata>, VaultErrorKind),
    Hang,
    Panic,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    info: VaultInfo,
    act: Mutex<Act>,
    pub(crate) listings: AtomicUsize,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Act")
    }
}

impl Scripted {
    /// A vault of source `s` that holds secrets of these names.
    pub(crate) fn holding(vault: &str, names: &[&str]) -> Arc<Self> {
        Self::of(VaultInfo::new(source_name("s"), vault_name(vault)), Act::Tell(named(names)))
    }

    /// A vault of that source that holds `x`.
    pub(crate) fn seen_by(source: &str, vault: &str) -> Arc<Self> {
        Self::of(VaultInfo::new(source_name(source), vault_name(vault)), Act::Tell(named(&["x"])))
    }

    pub(crate) fn of(info: VaultInfo, act: Act) -> Arc<Self> {
        Arc::new(Self { info, act: Mutex::new(act), listings: AtomicUsize::new(0) })
    }

    pub(crate) fn now(&self, act: Act) {
        *self.act.lock().expect("no test panics while it holds this") = act;
    }

    pub(crate) fn listings(&self) -> usize {
        self.listings.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Vault for Scripted {
    fn info(&self) -> &VaultInfo {
        &self.info
    }

    async fn get(&self, _: &SecretName, _: Option<&Version>) -> Result<Secret, VaultError> {
        Err(failure(VaultErrorKind::NotFound))
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        let act = self.act.lock().expect("no test panics while it holds this").clone();
        let tell = |rows: Vec<Metadata>| stream::iter(rows.into_iter().map(Ok));
        match act {
            Act::Tell(rows) => tell(rows).boxed(),
            Act::TellAfter(delay, rows) => {
                stream::once(tokio::time::sleep(delay)).flat_map(move |()| tell(rows.clone())).boxed()
            }
            Act::BreakOff(rows, kind) => tell(rows).chain(stream::iter([Err(failure(kind))])).boxed(),
            Act::Hang => stream::pending().boxed(),
            Act::Panic => panic!("a backend with a fault"),
        }
    }

    fn versions(&self, _: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        stream::empty().boxed()
    }
}

/// A source that finds what it is told to find.
#[derive(Debug)]
pub(crate) struct ScriptedSource {
    name: SourceName,
    names: Vec<Arc<Scripted>>,
    round: Mutex<Option<Round>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    pub(crate) vaults: Vec<Arc<Scripted>>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) faults: Vec<VaultError>,
}

impl ScriptedSource {
    /// `None`: discovery hangs.
    pub(crate) fn new(name: &str, round: impl Into<Option<Round>>) -> Arc<Self> {
        Self::naming(name, [], round)
    }

    /// The same, whose configuration names these vaults.
    pub(crate) fn naming<const N: usize>(
        name: &str,
        names: [&Arc<Scripted>; N],
        round: impl Into<Option<Round>>,
    ) -> Arc<Self> {
        let names = names.into_iter().cloned().collect();
        Arc::new(Self { name: source_name(name), names, round: Mutex::new(round.into()) })
    }

    pub(crate) fn now(&self, round: Round) {
        *self.round.lock().expect("no test panics while it holds this") = Some(round);
    }
}

#[async_trait]
impl Source for ScriptedSource {
    fn name(&self) -> &SourceName {
        &self.name
    }

    async fn discover(&self) -> Discovery {
        let round = self.round.lock().expect("no test panics while it holds this").clone();
        let Some(Round { vaults, skipped, faults }) = round else { return std::future::pending().await };
        Discovery { vaults: vaults.into_iter().map(|vault| vault as Arc<dyn Vault>).collect(), skipped, faults }
    }

    fn named(&self) -> Vec<Arc<dyn Vault>> {
        self.names.iter().map(|vault| Arc::clone(vault) as _).collect()
    }

    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>> {
        if let Some(vault) = self.names.iter().find(|vault| vault.info() == info) {
            return Some(Arc::clone(vault) as _);
        }
        let round = self.round.lock().expect("no test panics while it holds this").clone()?;
        round.vaults.into_iter().find(|vault| vault.info() == info).map(|vault| vault as Arc<dyn Vault>)
    }
}

/// These vaults, seen whole.
pub(crate) fn round<const N: usize>(vaults: [&Arc<Scripted>; N]) -> Round {
    Round { vaults: vaults.into_iter().cloned().collect(), ..Round::default() }
}

/// A catalog of one source `s` with these vaults.
pub(crate) fn catalog_of<const N: usize>(vaults: [&Arc<Scripted>; N]) -> Catalog {
    Catalog::new(vec![ScriptedSource::new("s", round(vaults))], CatalogOptions::default())
}

/// The same, discovered and listed once.
pub(crate) async fn listed<const N: usize>(vaults: [&Arc<Scripted>; N]) -> Catalog {
    let catalog = catalog_of(vaults);
    catalog.refresh(None).await;
    catalog
}

/// Runs the catalog until the answer is dropped.
pub(crate) fn run(catalog: &Catalog) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(catalog.clone().run(CancellationToken::new()));
    tasks
}

/// Lets that much of the paused clock's time pass, with everything that becomes due in it.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub(crate) fn search(catalog: &Catalog, parameters: &[(&str, &str)]) -> Page {
    let query = Query::from_parameters(parameters.iter().copied()).expect("a query");
    catalog.search(&query).expect("an answer")
}

/// Hits as `vault/name`.
pub(crate) fn hits(page: &Page) -> Vec<String> {
    page.hits.iter().map(|hit| format!("{}/{}", hit.vault, hit.metadata.name)).collect()
}

/// The vaults (or `discovery of SOURCE`) that an answer does without, with their reasons.
pub(crate) fn unanswered(page: &Page) -> Vec<(String, &'static str)> {
    let who = |u: &sidekey::catalog::Unanswered| {
        u.vault.as_ref().map_or_else(|| format!("discovery of {}", u.source), ToString::to_string)
    };
    page.unanswered.iter().map(|u| (who(u), u.reason)).collect()
}

/// Which vaults hold a secret of that name.
pub(crate) fn held_by(catalog: &Catalog, name: &str) -> Vec<String> {
    catalog.holders(&secret_name(name)).held_by.iter().map(|holder| holder.entry.address.to_string()).collect()
}

pub(crate) fn found(catalog: &Catalog, vault: &str) -> Entry {
    match catalog.vault(&vault_name(vault)) {
        Lookup::Found(entry) => entry,
        other => panic!("{vault} should be found, got {other:?}"),
    }
}

pub(crate) fn status(catalog: &Catalog, vault: &str) -> VaultStatus {
    catalog.status(&vault_name(vault)).unwrap_or_else(|| panic!("{vault} is not there"))
}

pub(crate) fn skipped(source: &str, vault: &str) -> Skipped {
    Skipped {
        info: VaultInfo::new(source_name(source), vault_name(vault)),
        reason: SkipReason::ForeignTenant { tenant: "other".into() },
    }
}

pub(crate) fn named(names: &[&str]) -> Vec<Metadata> {
    names.iter().map(|name| Metadata::new(secret_name(name))).collect()
}

pub(crate) fn failure(kind: VaultErrorKind) -> VaultError {
    VaultError::new(kind, "as the test says")
}

pub(crate) fn outage() -> VaultErrorKind {
    VaultErrorKind::Unavailable(Outage::Connection)
}

pub(crate) fn denied() -> VaultErrorKind {
    VaultErrorKind::Denied(Denial::Rbac)
}

pub(crate) fn source_name(text: &str) -> SourceName {
    text.parse().expect("a source's name")
}

pub(crate) fn vault_name(text: &str) -> VaultName {
    text.parse().expect("a vault's name")
}

pub(crate) fn secret_name(text: &str) -> SecretName {
    text.parse().expect("a secret's name")
}
