//! Hits alone, and hits beside all else: one process, in turns. What else is asked comes over connections of its own, as from
//! other clients: what waits behind a search on one connection waits for its own client, not for the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use sidekey::api::{Api, Guard, ServeOptions, State, UnixOptions, bind_unix, serve};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::cache::CacheOptions;
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretName, Version};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Outage, Vault, VaultError, VaultErrorKind, VaultInfo};

use super::asking::{Place, warm};
use super::load::{Rounds, paced, top_rate};
use super::table::{Cores, Figure, Goal, median, runtime};
use super::{NAMES, ROUNDS, print};

/// Vaults that are listed all the time, and the names in each.
const LISTED: (usize, usize) = (50, 2_000);
/// Between two listings of each.
const LISTING: Duration = Duration::from_secs(1);
/// Values of a vault that is down are stale after that.
const TTL: Duration = Duration::from_secs(2);
/// Of all requests: half of these are for stale values, and half are searches.
const OTHERS: f64 = 0.02;

/// A vault that can be taken down.
#[derive(Debug)]
struct Wobbly {
    inner: MemoryVault,
    down: AtomicBool,
}

impl Wobbly {
    fn check(&self) -> Result<(), VaultError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(VaultError::new(VaultErrorKind::Unavailable(Outage::Connection), "the vault is down"));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Vault for Wobbly {
    fn info(&self) -> &VaultInfo {
        self.inner.info()
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        self.check()?;
        self.inner.get(name, version).await
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        match self.check() {
            Ok(()) => self.inner.list(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.inner.versions(name)
    }
}

pub(super) fn measure(cores: &Cores) {
    let (server, client) = (runtime(&cores.server), runtime(&cores.askers));
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let wobbly = Arc::new(Wobbly { inner: vault("down", NAMES), down: AtomicBool::new(false) });
    let mut vaults: Vec<Arc<dyn Vault>> = vec![Arc::new(vault("pay", NAMES)), Arc::clone(&wobbly) as _];
    vaults.extend((0..LISTED.0).map(|n| Arc::new(vault(&format!("many-{n}"), LISTED.1)) as Arc<dyn Vault>));
    let source = Arc::new(MemorySource::new("bench".parse().expect("a name"), vaults));
    let catalog = Catalog::new(vec![source], CatalogOptions { listing_interval: LISTING, ..CatalogOptions::default() });
    server.block_on(catalog.refresh(None));
    let cache = CacheOptions { ttl: TTL, ..CacheOptions::default() };
    let broker = Broker::new(catalog, BrokerOptions { cache, ..BrokerOptions::default() }, Metrics::default());
    let (_serving, place) = start(&server, &broker, directory.path());
    let hits: Arc<Vec<_>> = Arc::new((0..NAMES).map(|n| get(&format!("/v1/vaults/pay/secrets/secret-{n}"))).collect());
    let stale: Vec<_> = (0..NAMES).map(|n| get(&format!("/v1/vaults/down/secrets/secret-{n}"))).collect();
    client.block_on(warm(&place, &hits));
    client.block_on(warm(&place, &stale));
    wobbly.down.store(true, Ordering::Relaxed);

    let mut rates: Vec<f64> = (0..3).map(|_| client.block_on(top_rate(&place, &hits))).collect();
    let rate = median(&mut rates) / 2.0;
    println!("\n{rate:.0} requests/s over the socket: hits alone, and hits beside all else");
    let search = get("/v1/search?q=secret-77");
    let (mut pure, mut mixed) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        let own = Arc::clone(&hits);
        pure.push(client.block_on(paced(&place, rate, move |n| (true, own[n % NAMES].clone()))));
        let stop = CancellationToken::new();
        let mut busy = JoinSet::new();
        busy.spawn_on(broker.catalog().clone().run(stop.clone()), server.handle());
        let (own, stale, search) = (Arc::clone(&hits), stale.clone(), search.clone());
        let hits = paced(&place, rate * (1.0 - OTHERS), move |n| (true, own[n % NAMES].clone()));
        let others = paced(&place, rate * OTHERS, move |n| match n % 2 {
            0 => (false, stale[n / 2 % NAMES].clone()),
            _ => (false, search.clone()),
        });
        let (mut round, others) = client.block_on(futures::future::join(hits, others));
        round.take(others);
        mixed.push(round);
        stop.cancel();
        client.block_on(busy.join_all());
    }
    print("hits alone", &pure);
    print("hits beside all else", &mixed);
    Figure::new("p99 of a hit beside 1 % stale, 1 % search, listings, a vault down", mixed.at(0.99), "ms")
        .beside("hits alone", pure.at(0.99))
        .failed(pure.failed() + mixed.failed())
        .row(Goal::TimesAtMost(1.2));
}

/// Serves, and renews what is in use, until it is dropped.
fn start(server: &Runtime, broker: &Broker, directory: &std::path::Path) -> (JoinSet<()>, Place) {
    let _inside = server.enter();
    let (socket, metrics) = (directory.join("s"), Metrics::default());
    let listeners = vec![bind_unix(&UnixOptions::new(&socket)).expect("a socket")];
    let api = Api::new(State::new(broker.clone(), metrics.clone()));
    let (options, stop) = (ServeOptions::default(), CancellationToken::new());
    let serving = serve(listeners, api, Guard::new(None), metrics, options, stop.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async {
        serving.await;
    });
    tasks.spawn(broker.clone().run(stop));
    (tasks, Place::Unix(socket))
}

fn vault(name: &str, secrets: usize) -> MemoryVault {
    let vault = MemoryVault::new(VaultInfo::new("bench".parse().expect("a name"), name.parse().expect("a name")));
    for n in 0..secrets {
        vault.set(&format!("secret-{n}").parse().expect("a name"), vec![b'x'; 40], Attributes::default());
    }
    vault
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n\r\n").into_bytes()
}
