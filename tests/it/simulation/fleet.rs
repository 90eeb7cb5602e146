//! A fleet of sidecars that restarts in the same second, over one vault with the budget of a real one.
//!
//! Every sidecar is the real thing (budget, catalog, cache, broker) but for the wire. Their applications ask for every
//! secret at once, and again when the failure tells them to, until they have it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use sidekey::broker::{Ask, Broker, BrokerOptions, Error, Steer};
use sidekey::budget::{BudgetOptions, BudgetedSource, Budgets};
use sidekey::cache::{CacheOptions, Key};
use sidekey::catalog::{Catalog, CatalogOptions, KnownVault};
use sidekey::clock::Moment;
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretName, SecretValue, SourceName, Version};
use sidekey::vaults::{Discovery, Source, Vault, VaultError, VaultErrorKind, VaultInfo};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::truth::{Ms, SECOND};
use super::world::{name_of, version_of};

/// Key Vault's own limit, of transactions per vault in ten seconds.
pub const BUDGET: usize = 4_000;
const WINDOW: Ms = 10 * SECOND;
/// Rows of a page; every page is a transaction.
const PAGE: usize = 25;

/// What the restart was like.
#[derive(Debug)]
pub struct Restart {
    pub sidecars: usize,
    pub secrets: usize,
    pub gets: usize,
    pub pages: usize,
    /// Calls that were refused with 429.
    pub throttled: usize,
    /// The most calls that came within ten seconds, refused ones too.
    pub peak: usize,
    /// Until half, 99 % and all of the secrets that were asked for were served.
    pub served: [Ms; 3],
    /// Asked for and not served by the end.
    pub unserved: usize,
    /// Calls in the last minute.
    pub settled: usize,
}

/// What a sidecar has when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Cold,
    /// A snapshot of all that its applications want, as old as that.
    Kept(Duration),
}

/// That many sidecars of that many secrets start, within `spread` of each other, and live for so long.
pub fn restart(sidecars: usize, secrets: usize, start: Start, spread: Duration, lives: Duration) -> Restart {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let vault = Shared::new(secrets);
        let stop = CancellationToken::new();
        let (mut run, mut apps) = (JoinSet::new(), JoinSet::new());
        for number in 0..sidecars {
            let seed = number as u64;
            let source = Arc::new(Only { name: "s".parse().unwrap(), vault: Arc::clone(&vault) });
            let budgets = Budgets::new(BudgetOptions { seed, ..BudgetOptions::default() }, Metrics::default());
            let source: Arc<dyn Source> = Arc::new(BudgetedSource::new(source, budgets));
            let catalog = Catalog::new(vec![source], CatalogOptions { seed, ..CatalogOptions::default() });
            let cache = CacheOptions { seed, ..CacheOptions::default() };
            let broker =
                Broker::new(catalog.clone(), BrokerOptions { cache, ..BrokerOptions::default() }, Metrics::default());
            if let Start::Kept(age) = start {
                vault.restore(&catalog, &broker, age);
            }
            let (late, stopped) = (spread.mul_f64(number as f64 / sidecars as f64), stop.clone());
            let runs = broker.clone();
            run.spawn(async move {
                sleep(late).await;
                tokio::join!(catalog.run(stopped.clone()), runs.run(stopped));
            });
            for name in 0..secrets {
                apps.spawn(application(Arc::clone(&vault), broker.clone(), name, late, start));
            }
        }
        sleep(lives).await;
        stop.cancel();
        apps.shutdown().await;
        while run.join_next().await.is_some() {}
        vault.report(sidecars, secrets, lives.as_millis() as Ms)
    })
}

async fn application(vault: Arc<Shared>, broker: Broker, name: usize, late: Duration, start: Start) {
    sleep(late).await;
    if start == Start::Cold {
        broker.catalog().discovered().await;
    }
    let ask = Ask { vault: Some("v".parse().unwrap()), name: name_of(name), version: None, steer: Steer::default() };
    while let Err(error) = broker.get(&ask).await {
        sleep(told(&error).clamp(Duration::from_secs(1), Duration::from_secs(30))).await;
    }
    vault.served(late);
}

/// When to come back, as an answer's `Retry-After` has it.
fn told(error: &Error) -> Duration {
    match error {
        Error::Vault { error, .. } => match error.kind() {
            VaultErrorKind::Throttled { retry_after } => retry_after.unwrap_or_default(),
            _ => error.worth_trying_after().unwrap_or_default(),
        },
        _ => Duration::ZERO,
    }
}

/// The vault that all of them share.
struct Shared {
    info: VaultInfo,
    began: Instant,
    secrets: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Calls by tenths of a second, refused ones too.
    calls: BTreeMap<Ms, usize>,
    gets: usize,
    pages: usize,
    throttled: usize,
    /// Of this window of ten seconds, those that were let in.
    window: (Ms, usize),
    served: Vec<Ms>,
}

impl Shared {
    fn new(secrets: usize) -> Arc<Self> {
        let info = VaultInfo::new("s".parse().unwrap(), "v".parse().unwrap());
        Arc::new(Self { info, began: Instant::now(), secrets, seen: Mutex::default() })
    }

    fn now(&self) -> Ms {
        self.began.elapsed().as_millis() as Ms
    }

    /// One transaction: it counts, and is refused if the window is full.
    fn admit(&self, get: bool) -> Result<(), VaultError> {
        let now = self.now();
        let mut seen = self.seen.lock().unwrap();
        *seen.calls.entry(now / 100).or_default() += 1;
        *(if get { &mut seen.gets } else { &mut seen.pages }) += 1;
        if seen.window.0 != now / WINDOW {
            seen.window = (now / WINDOW, 0);
        }
        if seen.window.1 >= BUDGET {
            seen.throttled += 1;
            let retry_after = Some(Duration::from_millis(WINDOW - now % WINDOW));
            return Err(VaultError::new(VaultErrorKind::Throttled { retry_after }, "over the vault's budget"));
        }
        seen.window.1 += 1;
        Ok(())
    }

    fn served(&self, since: Duration) {
        let after = self.now() - since.as_millis() as Ms;
        self.seen.lock().unwrap().served.push(after);
    }

    /// What the snapshot of a sidecar that was well holds.
    fn restore(&self, catalog: &Catalog, broker: &Broker, age: Duration) {
        let then = Moment::now().before(age);
        let secrets: Vec<_> = (0..self.secrets).map(Self::metadata).collect();
        catalog.recall(vec![KnownVault { info: self.info.clone(), listed: Some(then), secrets }]);
        for name in 0..self.secrets {
            let key = Key { vault: self.info.id(), name: name_of(name), version: None };
            broker.cache().restore(key, Arc::new(Self::secret(name)), then, true);
        }
    }

    fn secret(name: usize) -> Secret {
        let metadata = Metadata { version: Some(version_of(1)), ..Self::metadata(name) };
        Secret { value: SecretValue::new(metadata.name.as_str()), metadata }
    }

    fn metadata(name: usize) -> Metadata {
        let stamp = Some(OffsetDateTime::from_unix_timestamp(1_780_000_000).unwrap());
        Metadata { created: stamp, updated: stamp, ..Metadata::new(name_of(name)) }
    }

    fn report(&self, sidecars: usize, secrets: usize, lives: Ms) -> Restart {
        let mut seen = self.seen.lock().unwrap();
        seen.served.sort_unstable();
        let all = sidecars * secrets;
        let part = |of: usize| seen.served.get(of.saturating_sub(1)).copied().unwrap_or(Ms::MAX);
        let peak = seen.calls.keys().map(|from| seen.calls.range(from..&(from + 100)).map(|(_, n)| n).sum::<usize>());
        let last_minute = lives.saturating_sub(60 * SECOND) / 100;
        Restart {
            sidecars,
            secrets,
            gets: seen.gets,
            pages: seen.pages,
            throttled: seen.throttled,
            peak: peak.max().unwrap_or(0),
            served: [part(all / 2), part(all * 99 / 100), part(all)],
            unserved: all - seen.served.len(),
            settled: seen.calls.range(last_minute..).map(|(_, n)| n).sum(),
        }
    }
}

#[async_trait]
impl Vault for Shared {
    fn info(&self) -> &VaultInfo {
        &self.info
    }

    async fn get(&self, name: &SecretName, _version: Option<&Version>) -> Result<Secret, VaultError> {
        let admitted = self.admit(true);
        sleep(Duration::from_millis(20)).await;
        admitted?;
        Ok(Self::secret(name.as_str()[1..].parse().unwrap()))
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        let row = move |name: usize| async move {
            if name >= self.secrets {
                return None;
            }
            if name.is_multiple_of(PAGE) {
                let admitted = self.admit(false);
                sleep(Duration::from_millis(20)).await;
                if let Err(error) = admitted {
                    return Some((Err(error), self.secrets));
                }
            }
            Some((Ok(Self::metadata(name)), name + 1))
        };
        stream::unfold(0, row).boxed()
    }

    fn versions(&self, _name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        stream::empty().boxed()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// A source that finds that vault and no other.
#[derive(Debug)]
struct Only {
    name: SourceName,
    vault: Arc<Shared>,
}

#[async_trait]
impl Source for Only {
    fn name(&self) -> &SourceName {
        &self.name
    }

    async fn discover(&self) -> Discovery {
        Discovery { vaults: vec![Arc::<Shared>::clone(&self.vault)], ..Discovery::default() }
    }

    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>> {
        (info.name == self.vault.info().name).then(|| -> Arc<dyn Vault> { Arc::<Shared>::clone(&self.vault) })
    }
}
