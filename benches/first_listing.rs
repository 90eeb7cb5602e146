//! The first listing of many vaults, 20 ms away, against the bound that the page chains and the concurrency set.
//!
//! `cargo bench --bench first_listing [-- VAULTS SECRETS AT_ONCE]`. The emulator runs in a process of its own, so that
//! its work is not counted as ours, although both share the machine's cores.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints, and says where it stops"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sidekey::budget::{BudgetOptions, BudgetedSource, Budgets};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::emulator::{Emulator, Estate};
use sidekey::metrics::Metrics;
use sidekey::secret::SecretValue;
use sidekey::vaults::azure::{AzureSettings, AzureSource, Cloud, Credential, Identity, WireLimits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LATENCY: Duration = Duration::from_millis(20);
const PAGE: usize = 25;
const ROUNDS: usize = 5;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let [vaults, secrets, at_once] = match numbers[..] {
        [] => [500, 40, CatalogOptions::default().listings_at_once],
        [vaults, secrets, at_once] => [vaults, secrets, at_once],
        _ => panic!("VAULTS SECRETS AT_ONCE, or nothing"),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::args().any(|arg| arg == "--azure") {
        runtime.block_on(azure(vaults, secrets));
        return;
    }
    let azure = Azure::start(vaults, secrets);
    // What cannot be done side by side: a vault's challenge and its pages, as often as its turn comes.
    let chain = LATENCY * u32::try_from(1 + secrets.div_ceil(PAGE)).unwrap();
    let turns = u32::try_from(vaults.div_ceil(at_once)).unwrap();
    // A token and a query to find the vaults, a token to read them.
    let bound = LATENCY * 3 + chain * turns;
    println!("{vaults} vaults x {secrets} secrets, {LATENCY:?} away, {at_once} at once");
    println!(
        "chain {chain:?} (challenge and pages) x {turns} turns, sign-in and discovery {:?}: bound {bound:?}",
        LATENCY * 3
    );
    let mut all: Vec<Duration> =
        (0..ROUNDS).map(|_| runtime.block_on(round(&azure, vaults * secrets, at_once))).collect();
    all.sort();
    let ratio = |time: Duration| time.as_secs_f64() / bound.as_secs_f64();
    println!(
        "first listing: {}",
        all.iter().map(|time| format!("{time:.0?} ({:.2})", ratio(*time))).collect::<Vec<_>>().join(", ")
    );
    println!("median {:.0?}, {:.2} of the bound", all[ROUNDS / 2], ratio(all[ROUNDS / 2]));
}

/// From nothing to every secret's metadata: sign-in, discovery and listing.
async fn round(azure: &Azure, secrets: usize, listings_at_once: usize) -> Duration {
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
    took
}

const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const CLIENT: &str = "aaaaaaaa-0000-4000-8000-000000000001";

/// The emulator, in a child process that ends with this one.
struct Azure {
    child: Child,
    addr: std::net::SocketAddr,
    ca: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Azure {
    fn start(vaults: usize, secrets: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&vaults.to_string(), &secrets.to_string(), "0", "--azure"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.next().unwrap().unwrap().parse().unwrap();
        let pem: String = lines.map(|line| line.unwrap() + "\n").take_while(|line| line != "ready\n").collect();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, pem).unwrap();
        Self { child, addr, ca, _folder: folder }
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child: serves until its standard input ends.
async fn azure(vaults: usize, secrets: usize) {
    let mut estate = format!(
        "[[tenant]]\nid = \"{TENANT}\"\n[[app]]\nname = \"bench\"\nid = \"{CLIENT}\"\nsecret = [{{ value = \"right\" }}]\n\
         [[subscription]]\nid = \"aaaa0000-0000-4000-8000-00000000000a\"\nname = \"one\"\n\
         [[grant]]\napp = \"bench\"\nsubscriptions = [\"*\"]\n[[grant]]\napp = \"bench\"\nvaults = [\"*\"]\nrights = [\"all\"]\n"
    );
    for vault in 0..vaults {
        write!(
            estate,
            "[[vault]]\nname = \"vault-{vault}\"\nsubscription = \"one\"\n\
             [[vault.bulk]]\npattern = \"service-{{}}-password\"\ncount = {secrets}\n"
        )
        .unwrap();
    }
    let estate = Estate::parse(&estate).unwrap();
    let emulator = Emulator::start_on_loopback(estate).unwrap();
    emulator.control().set_latency(LATENCY);
    println!("{}\n{}ready", emulator.addr(), emulator.ca_pem());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    emulator.stop().await;
}
