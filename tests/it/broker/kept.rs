//! What is held is kept on disk: a start while no vault answers serves it, and no start loses it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidekey::broker::{Broker, Keeper, Reading};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::clock::Moment;
use sidekey::metrics::Metrics;
use sidekey::secret::Exposed;
use sidekey::snapshot::{Key, Snapshot};
use sidekey::vaults::memory::MemorySource;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::reads::exact;
use super::scripted::{DOWN, HELD, Scripted, ask, steered};

/// Where snapshots are; outlives the processes.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("kept/snapshot")
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.file(), Key::load_or_create(&self.0.path().join("keys/key")).unwrap(), b"prod")
    }
}

/// A process with one vault: from its start to a kill, or to an orderly end.
struct Process {
    broker: Broker,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Process {
    async fn start(place: &Place, vault: &Arc<Scripted>) -> Self {
        let source = MemorySource::new("s".parse().unwrap(), vec![Arc::<Scripted>::clone(vault)]);
        let metrics = Metrics::default();
        let catalog = Catalog::new(vec![Arc::new(source)], CatalogOptions::default());
        let mut options = exact();
        options.cache.max_stale = HOUR;
        let broker = Broker::new(catalog.clone(), options, metrics.clone());
        let mut keeper = Keeper::new(broker.clone(), place.snapshot(), Moment::now());
        keeper.restore().await;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(catalog.run(stop.clone()));
        tasks.spawn(broker.clone().run(stop.clone()));
        tasks.spawn(keeper.run(stop.clone()));
        Self { broker, metrics, stop, tasks }
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    async fn value(&self, address: &str) -> Option<Reading> {
        self.broker.get(&steered(address, HELD)).await.ok()
    }

    fn tells(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|told| told == line)
    }
}

/// How long values are served while nobody confirms them.
const HOUR: Duration = Duration::from_secs(3600);

async fn live(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn text(reading: &Reading) -> Exposed {
    reading.secret.value.expose()
}

fn down(vault: &Scripted, names: &[&str]) {
    vault.fail_lists(Some(DOWN));
    for name in names {
        vault.fail_gets_of(name, Some(DOWN));
    }
}

fn content(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_start_while_no_vault_answers_serves_what_was_held_with_its_true_age_and_heals_by_itself() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    let version = vault.set("a", "of a");
    vault.set("b", "of b");
    let first = Process::start(&place, &vault).await;
    live(1).await;
    first.broker.get(&ask("pay/a")).await.unwrap();
    first.broker.get(&ask(&format!("pay/a@{version}"))).await.unwrap();
    live(20).await;
    first.kill().await;

    down(&vault, &["a", "b"]);
    let second = Process::start(&place, &vault).await;
    for address in ["pay/a".to_owned(), format!("pay/a@{version}"), "*/a".to_owned()] {
        let reading = second.value(&address).await.unwrap_or_else(|| panic!("{address} is not served"));
        assert_eq!(text(&reading), b"of a");
        assert_eq!(reading.stale, Some("snapshot"), "{address}");
        assert!(reading.age >= Duration::from_secs(4), "{address}: {:?}", reading.age);
    }
    assert!(second.tells("sidekey_reads_total{outcome=\"stale\"} 3"));
    assert!(second.value("pay/b").await.is_none(), "it was never read");
    assert!(second.broker.catalog().progress().borrow().recalled);
    // The vault says why it cannot confirm it.
    second.broker.get(&ask("pay/a")).await.unwrap();
    live(600).await;
    let reading = second.value("pay/a").await.unwrap();
    assert_eq!(reading.stale, Some("vault-unavailable"));
    assert!(reading.age >= Duration::from_secs(604), "{:?}", reading.age);

    vault.fail_lists(None);
    vault.fail_gets_of("a", None);
    live(120).await;
    let reading = second.value("pay/a").await.unwrap();
    assert_eq!(reading.stale, None);
    assert!(reading.age < Duration::from_secs(120), "{:?}", reading.age);
}

#[tokio::test(start_paused = true)]
async fn a_start_while_all_is_well_confirms_by_listing_and_reads_again_only_what_has_changed() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    for name in ["same", "other", "late"] {
        vault.set(name, "of old");
    }
    let first = Process::start(&place, &vault).await;
    // Some seconds after a listing.
    live(80).await;
    for name in ["same", "other"] {
        first.broker.get(&ask(&format!("pay/{name}"))).await.unwrap();
    }
    live(10).await;
    // Its attributes may have been seen in the second of the write: only another read tells.
    vault.set_at("late", "as new", time::OffsetDateTime::now_utc() + Duration::from_secs(70));
    first.broker.get(&ask("pay/late")).await.unwrap();
    live(10).await;
    first.kill().await;

    vault.set_at("other", "as new", time::OffsetDateTime::now_utc() + Duration::from_secs(90));
    let (second, gets) = (Process::start(&place, &vault).await, vault.gets());
    for name in ["same", "other", "late"] {
        assert!(second.value(&format!("pay/{name}")).await.is_some());
    }
    live(30).await;
    assert_eq!(vault.gets(), gets + 2);
    for (name, value) in [("same", "of old"), ("other", "as new"), ("late", "as new")] {
        let reading = second.value(&format!("pay/{name}")).await.unwrap();
        assert_eq!((&*text(&reading), reading.stale), (value.as_bytes(), None), "{name}");
        assert!(reading.age <= Duration::from_secs(31), "{name}: {:?}", reading.age);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_in_an_outage_never_replaces_the_file_by_what_it_found() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    vault.set("a", "of a");
    let first = Process::start(&place, &vault).await;
    live(1).await;
    first.broker.get(&ask("pay/a")).await.unwrap();
    first.end().await;
    let good = content(&place.file());

    down(&vault, &["a"]);
    for _ in 0..3 {
        let second = Process::start(&place, &vault).await;
        assert!(second.broker.get(&ask("pay/a")).await.is_ok());
        live(900).await;
        second.end().await;
        assert!(content(&place.file()) == good, "the file has changed");
    }
    // Too old in the end, it is served no more, and still not replaced by nothing.
    let third = Process::start(&place, &vault).await;
    live(HOUR.as_secs()).await;
    assert!(third.value("pay/a").await.is_none());
    third.end().await;
    assert!(content(&place.file()) == good, "the file has changed");
}

#[tokio::test(start_paused = true)]
async fn what_changes_or_is_gone_upstream_is_so_in_the_file_within_seconds() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    vault.set("a", "of a");
    vault.set("b", "of b");
    let first = Process::start(&place, &vault).await;
    live(1).await;
    first.broker.get(&ask("pay/a")).await.unwrap();
    first.broker.get(&ask("pay/b")).await.unwrap();
    live(10).await;
    vault.set_at("a", "newer", time::OffsetDateTime::now_utc() + Duration::from_secs(20));
    vault.delete("b");
    // Two listings at most, a confirmation, and a look.
    live(130).await;
    first.kill().await;
    down(&vault, &["a", "b"]);
    let second = Process::start(&place, &vault).await;
    assert_eq!(text(&second.value("pay/a").await.unwrap()), b"newer");
    assert!(second.value("pay/b").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn confirmations_alone_are_written_every_few_minutes_and_nothing_is_written_for_nothing() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    vault.set("a", "of a");
    let first = Process::start(&place, &vault).await;
    live(1).await;
    first.broker.get(&ask("pay/a")).await.unwrap();
    live(3600).await;
    let written = |line: &str| {
        let told = first.metrics.encode();
        let count = told.lines().find_map(|told| told.strip_prefix(line)).map(|count| count.trim().parse::<u32>());
        count.and_then(Result::ok).unwrap_or(0)
    };
    let writes = written("sidekey_snapshots_total{operation=\"write\",outcome=\"ok\"}");
    assert!((8..=16).contains(&writes), "{writes} writes in an hour");
    down(&vault, &["a"]);
    live(600).await;
    let before = written("sidekey_snapshots_total{operation=\"write\",outcome=\"ok\"}");
    live(1800).await;
    assert_eq!(written("sidekey_snapshots_total{operation=\"write\",outcome=\"ok\"}"), before, "nothing was confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_stops_nothing_and_is_tried_again() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    vault.set("a", "of a");
    // A file where the folder should be.
    fs::write(place.0.path().join("kept"), "in the way").unwrap();
    let first = Process::start(&place, &vault).await;
    live(1).await;
    first.broker.get(&ask("pay/a")).await.unwrap();
    live(60).await;
    assert!(first.value("pay/a").await.is_some());
    assert!(!first.tells("sidekey_snapshots_total{operation=\"write\",outcome=\"ok\"} 1"));
    fs::remove_file(place.0.path().join("kept")).unwrap();
    live(600).await;
    first.kill().await;
    down(&vault, &["a"]);
    assert!(Process::start(&place, &vault).await.value("pay/a").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_used_is_no_reason_not_to_start_and_is_replaced_once_there_is_news() {
    let (place, vault) = (Place::new(), Scripted::new("s", "pay"));
    vault.set("a", "of a");
    fs::create_dir_all(place.0.path().join("kept")).unwrap();
    fs::write(place.file(), "garbage").unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let first = Process::start(&place, &vault).await;
    assert!(first.tells("sidekey_snapshots_total{operation=\"read\",outcome=\"damaged\"} 1"));
    live(1).await;
    first.broker.get(&ask("pay/a")).await.unwrap();
    first.end().await;
    let second = Process::start(&place, &vault).await;
    assert!(second.tells("sidekey_snapshots_total{operation=\"read\",outcome=\"ok\"} 1"));
    assert!(second.value("pay/a").await.is_some());
}
