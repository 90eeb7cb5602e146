//! The first listing of many vaults, 20 ms away: sign-in, discovery, every page of every vault into the catalog. Beside it,
//! in the same rounds, what cannot be done side by side (the longest chain of pages), and a bare client that asks the same
//! and throws the answers away.
//!
//! Without `RUST_BACKTRACE`: the SDK makes an error in nearly every call, and with it then a backtrace, which takes a quarter of
//! the time.
//!
//! `cargo bench --bench first_listing [-- VAULTS SECRETS [AT_ONCE [MILLISECONDS]]]`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, says where it stops, and a bare client has no tasks to end"
)]

mod azure;
mod bare;
#[path = "../table/mod.rs"]
mod table;

use std::sync::Arc;
use std::time::Duration;

use azure::{Azure, CLIENT, TENANT};
use bare::Bare;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sidekey::budget::{BudgetOptions, BudgetedSource, Budgets};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::secret::SecretValue;
use sidekey::vaults::azure::{AzureSettings, AzureSource, Cloud, Credential, Identity, WireLimits};
use table::{Cores, Figure, Goal, median, milliseconds, runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroizing_alloc::ZeroAlloc;

/// As the program has it, and the bare client with it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const LATENCY: Duration = Duration::from_millis(20);
const PAGE: usize = 25;
const ROUNDS: usize = 7;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    if words.iter().any(|word| word == azure::FLAG) {
        return azure::serve(numbers[0], numbers[1], millis(numbers[2]));
    }
    let at_once = CatalogOptions::default().listings_at_once;
    match numbers[..] {
        [] => {
            measure(50, 500, at_once, LATENCY);
            measure(500, 40, at_once, LATENCY);
            measure(1_000, 25, at_once, LATENCY);
        }
        [vaults, secrets] => measure(vaults, secrets, at_once, LATENCY),
        [vaults, secrets, at_once] => measure(vaults, secrets, at_once, LATENCY),
        [vaults, secrets, at_once, away] => measure(vaults, secrets, at_once, millis(away)),
        _ => panic!("VAULTS SECRETS [AT_ONCE [MILLISECONDS]], or nothing"),
    }
}

fn millis(number: usize) -> Duration {
    Duration::from_millis(number as u64)
}

fn measure(vaults: usize, secrets: usize, at_once: usize, away: Duration) {
    let cores = Cores::halves().server;
    let azure = Azure::start(vaults, secrets, away);
    let bare = Bare::new(azure.addr, &azure.ca);
    // A token and a query to find the vaults, and a vault's pages. The token to read them comes meanwhile.
    let chain = away * u32::try_from(2 + secrets.div_ceil(PAGE)).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(runtime(&cores).block_on(listing(&azure, vaults * secrets, at_once)));
        theirs.push(runtime(&cores).block_on(async {
            let began = Instant::now();
            bare.list(vaults).await;
            milliseconds(began.elapsed())
        }));
    }
    let told = |times: &[f64]| times.iter().map(|time| format!("{time:.0}")).collect::<Vec<_>>().join(", ");
    println!("{vaults} vaults x {secrets} secrets, {away:?} away, {at_once} at once; the chain is {chain:?}");
    println!("ours, ms: {}\nbare client, ms: {}\npeak of this process: {:.0} MB", told(&ours), told(&theirs), peak());
    let (ours, bare) = (median(&mut ours), median(&mut theirs));
    let figure =
        Figure::new(format!("first listing, {vaults} vaults × {secrets}, {} ms away", away.as_millis()), ours, "ms");
    // Where the pages of one vault take the longest, they are the bound; else it is what all connections take.
    let long = secrets > PAGE * 10;
    figure.clone().beside("the longest chain of pages", milliseconds(chain)).row(if long {
        Goal::TimesAtMost(1.2)
    } else {
        Goal::None
    });
    figure.beside("a bare client", bare).row(if long { Goal::None } else { Goal::TimesAtMost(1.3) });
}

/// From nothing to every secret's metadata, in milliseconds.
async fn listing(azure: &Azure, secrets: usize, listings_at_once: usize) -> f64 {
    let settings = AzureSettings {
        name: "bench".parse().unwrap(),
        identity: Identity::ClientSecret {
            tenant: TENANT.into(),
            client: CLIENT.into(),
            secret: Credential::Inline(Arc::new(SecretValue::new("right"))),
        },
        cloud: Cloud::public(),
        subscriptions: Vec::new(),
        vaults: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
        extra_ca: Some(azure.ca.clone()),
        resolve: ["*.vault.azure.net", "login.microsoftonline.com", "management.azure.com"]
            .map(|host| (host.to_owned(), azure.addr))
            .to_vec(),
        wire: WireLimits::default(),
    };
    let began = Instant::now();
    // Within a budget, as the sidecar has it: a vault's first pages come out of its burst.
    let budgets = Budgets::new(BudgetOptions::default(), Metrics::default());
    let source = Arc::new(BudgetedSource::new(Arc::new(AzureSource::new(settings).unwrap()), budgets));
    let catalog = Catalog::new(vec![source], CatalogOptions { listings_at_once, ..CatalogOptions::default() });
    let stop = CancellationToken::new();
    let running = tokio::task::JoinSet::from_iter([catalog.clone().run(stop.clone())]);
    catalog.first_round().await;
    let took = began.elapsed();
    let progress = *catalog.progress().borrow();
    assert_eq!((progress.secrets, progress.failed), (secrets, 0), "{progress:?}");
    stop.cancel();
    running.join_all().await;
    milliseconds(took)
}

/// The most that this process ever held in memory, in megabytes.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
