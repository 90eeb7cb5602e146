//! What systemd asks for its units, asked as systemd asks: from an abstract address that tells the unit and the id.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use sidekey::access::Peer;
use sidekey::access::audit::Audit;
use sidekey::api::{UnixOptions, bind_unix};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::credentials::{Credentials, Refusal, Rule, UnitAndId, serve};
use sidekey::metrics::Metrics;
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::Paper;

/// systemd takes a mebibyte for a credential, and an eighth more for one that is encrypted.
const MOST: usize = 1024 * 1024 + 128 * 1024;

fn rule(unit: &str, id: &str, reference: &str) -> Rule {
    let unit = globset::Glob::new(unit).unwrap().compile_matcher();
    Rule { unit, id: id.to_owned(), reference: reference.parse().unwrap(), required: true }
}

struct House {
    catalog: Catalog,
    paper: Paper,
    rules: Vec<Rule>,
}

impl House {
    fn new(rules: impl Into<Vec<Rule>>) -> Self {
        let vault = MemoryVault::new(VaultInfo::new("test".parse().unwrap(), "pay".parse().unwrap()));
        for (name, value) in [("db", &b"canary\0\xff\n"[..]), ("one", b"canary-one"), ("all", b"canary-all")] {
            vault.set(&name.parse().unwrap(), value, Attributes::default());
        }
        let source = MemorySource::new("test".parse().unwrap(), vec![Arc::new(vault) as Arc<dyn Vault>]);
        let catalog = Catalog::counted(vec![Arc::new(source)], CatalogOptions::default(), Metrics::default());
        Self { catalog, paper: Paper::default(), rules: rules.into() }
    }

    fn credentials(&self, audit: Audit) -> Credentials {
        let broker = Broker::new(self.catalog.clone(), BrokerOptions::default(), Metrics::default());
        Credentials::new(broker, audit, self.rules.clone())
    }

    async fn open(&self) -> Running {
        self.catalog.refresh(None).await;
        self.serve()
    }

    fn serve(&self) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.sock");
        let listener = bind_unix(&UnixOptions { mode: 0o666, ..UnixOptions::new(&path) }).unwrap();
        let (mut serving, end) = (JoinSet::new(), CancellationToken::new());
        let grace = Duration::from_secs(5);
        serving.spawn(serve(listener, self.credentials(self.paper.required()), Metrics::default(), grace, end.clone()));
        Running { path, serving, end, _folder: folder }
    }

    /// The lines since the last look, without what is another each time.
    fn lines(&self) -> Vec<serde_json::Value> {
        let mut lines = self.paper.taken();
        for line in &mut lines {
            let parts = line.as_object_mut().unwrap();
            assert!(parts.remove("time").is_some() && parts.remove("request").is_some_and(|id| id != ""));
            parts.remove("version");
        }
        lines
    }
}

struct Running {
    path: PathBuf,
    serving: JoinSet<()>,
    end: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Running {
    /// What comes back to who connects from there; `None`: from nowhere.
    async fn ask(&self, from: Option<String>) -> Vec<u8> {
        let mut stream = self.connect(from);
        tokio::task::spawn_blocking(move || {
            let mut told = Vec::new();
            // systemd stops reading as well once it is too much.
            stream.by_ref().take(MOST as u64 + 1).read_to_end(&mut told).unwrap();
            told
        })
        .await
        .unwrap()
    }

    fn connect(&self, from: Option<String>) -> UnixStream {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None).unwrap();
        if let Some(from) = from {
            socket.bind(&SockAddr::unix(format!("\0{from}")).unwrap()).unwrap();
        }
        socket.connect(&SockAddr::unix(&self.path).unwrap()).unwrap();
        socket.into()
    }
}

/// As systemd makes them, another one each time.
fn from(unit: &str, id: &str) -> Option<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Some(format!("{:08x}{count:08x}/unit/{unit}/{id}", std::process::id()))
}

/// Whether this process is systemd's user. Said on stderr if not.
#[expect(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("passed over: only root is believed, and this is not root");
    }
    root
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_is_given_its_credential_byte_for_byte_and_that_is_recorded() {
    if !is_root() {
        return;
    }
    let house = House::new([
        rule("orders@*.service", "db", "secret://pay/all"),
        rule("orders@1.service", "db", "secret://pay/one"),
        rule("orders.service", "db-password", "secret://pay/db"),
    ]);
    let running = house.open().await;
    assert_eq!(running.ask(from("orders.service", "db-password")).await, b"canary\0\xff\n");
    let line = json!({
        "caller": "systemd:orders.service", "by": "peer", "uid": 0, "gid": rustix::process::getegid().as_raw(),
        "operation": "credential", "vault": "pay", "name": "db", "outcome": "ok", "freshness": "read", "age": 0,
    });
    assert_eq!(house.lines(), [line]);
    assert_eq!(running.ask(from("orders@1.service", "db")).await, b"canary-one", "its own name goes before a glob");
    assert_eq!(running.ask(from("orders@2.service", "db")).await, b"canary-all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_is_sent_more_than_a_credential_can_be_unless_an_empty_one_will_do() {
    if !is_root() {
        return;
    }
    let optional = Rule { required: false, ..rule("orders.service", "optional", "secret://pay/absent") };
    let house = House::new([rule("orders.service", "db", "secret://pay/absent"), optional]);
    let running = house.open().await;
    for (unit, id, expected, name) in [
        ("orders.service", "db", MOST + 1, Some("absent")),
        ("orders.service", "other", MOST + 1, None),
        ("other.service", "db", MOST + 1, None),
        ("Orders.service", "db", MOST + 1, None),
        ("orders.service", "optional", 0, Some("absent")),
    ] {
        let told = running.ask(from(unit, id)).await;
        assert!(told.iter().all(|byte| *byte == 0));
        assert_eq!(told.len(), expected, "{unit} {id}");
        let lines = house.lines();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["caller"], format!("systemd:{unit}"));
        let outcome = if name.is_some() { "secret-not-found" } else { "forbidden" };
        assert_eq!((line["outcome"].as_str(), line["name"].as_str()), (Some(outcome), name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_believed_of_root_alone_and_only_where_systemd_puts_it() {
    if !is_root() {
        return;
    }
    let house = House::new([rule("*", "db", "secret://pay/db")]);
    let running = house.open().await;
    for address in [
        None,
        Some(format!("sidekey-test-{}", std::process::id())),
        Some(format!("{:x}/user/orders.service/db", std::process::id())),
        Some(format!("{:x}/unit/orders.service/db/x", std::process::id())),
    ] {
        assert_eq!(running.ask(address.clone()).await, b"", "{address:?}");
        let lines = house.lines();
        assert_eq!((&lines[0]["caller"], &lines[0]["outcome"]), (&json!(null), &json!("unauthenticated")));
    }
    // Of this thread alone, which ends with it.
    std::fs::set_permissions(running.path.parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let (address, path) = (from("orders.service", "db"), running.path.clone());
    let told = std::thread::spawn(move || {
        let user = rustix::process::Uid::from_raw(1001);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None).unwrap();
        socket.bind(&SockAddr::unix(format!("\0{}", address.unwrap())).unwrap()).unwrap();
        socket.connect(&SockAddr::unix(path).unwrap()).unwrap();
        let (mut stream, mut told) = (UnixStream::from(socket), Vec::new());
        stream.read_to_end(&mut told).unwrap();
        told
    });
    let told = tokio::task::spawn_blocking(|| told.join().unwrap()).await.unwrap();
    assert_eq!(told, b"", "another user says that it is systemd");
    let lines = house.lines();
    assert_eq!((&lines[0]["caller"], &lines[0]["uid"]), (&json!(null), &json!(1001)));
}

fn asked() -> (UnitAndId, Peer) {
    (UnitAndId::new("orders.service", "db").unwrap(), Peer { uid: 0, gid: 0, groups: [].into() })
}

#[tokio::test(start_paused = true)]
async fn what_is_still_starting_is_waited_for() {
    let house = House::new([rule("orders.service", "db", "secret://pay/db")]);
    let (credentials, (asked, peer)) = (house.credentials(Audit::default()), asked());
    let mut waiting = std::pin::pin!(credentials.get(&asked, &peer));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    house.catalog.refresh(None).await;
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_start_is_not_waited_for_for_ever_and_what_is_not_there_not_at_all() {
    let house =
        House::new([rule("orders.service", "db", "secret://pay/db"), rule("orders.service", "x", "secret://pay/x")]);
    let (credentials, (asked, peer), began) =
        (house.credentials(Audit::default()), asked(), tokio::time::Instant::now());
    let refusal = credentials.get(&asked, &peer).await.err().unwrap();
    assert!(matches!(refusal, Refusal::Broker(_)) && refusal.reason() == "not-ready", "{refusal}");
    let waited = began.elapsed();
    assert!((Duration::from_secs(25)..Duration::from_secs(60)).contains(&waited), "{waited:?}");
    house.catalog.refresh(None).await;
    let began = tokio::time::Instant::now();
    let absent = UnitAndId::new("orders.service", "x").unwrap();
    assert_eq!(credentials.get(&absent, &peer).await.err().unwrap().reason(), "secret-not-found");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_who_waits_is_refused_and_the_socket_is_gone() {
    if !is_root() {
        return;
    }
    let house = House::new([rule("orders.service", "db", "secret://pay/db")]);
    let mut running = house.serve();
    let mut stream = running.connect(from("orders.service", "db"));
    running.end.cancel();
    let told = tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        stream.by_ref().take(MOST as u64 + 1).read_to_end(&mut told).unwrap();
        told.len()
    });
    assert_eq!(told.await.unwrap(), MOST + 1);
    running.serving.join_next().await.unwrap().unwrap();
    assert!(!running.path.exists());
}
