//! A whole sidecar on a fake Azure, over real sockets: emulator, wires, source, catalog, broker, API on a unix socket and
//! on TCP. And time: it runs by itself, as the sockets' does, and leaps ahead where a test wants it to, so that nothing
//! waits for a clock.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use sidekey::api::{Api, Guard, ServeOptions, State, Token, UnixOptions, bind_tcp, bind_unix, serve};
use sidekey::broker::{Broker, BrokerOptions, Keeper};
use sidekey::budget::{BudgetOptions, BudgetedSource, Budgets};
use sidekey::cache::CacheOptions;
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::clock::Moment;
use sidekey::emulator::{Change, Control, Emulator, Endpoint, Estate, Fault};
use sidekey::metrics::Metrics;
use sidekey::secret::SecretValue;
use sidekey::snapshot::{Key, Snapshot};
use sidekey::vaults::azure::{AzureSettings, AzureSource, Credential, Identity, LookUp, SystemRoots};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cable::{Cable, Wire};
use crate::azure::stage::settings_at;
use crate::emulator::support::{READER, TENANT};

/// Two vaults that are alike. `alpha` is what goes wrong, `beta` is what must not notice.
const ESTATE: &str = r#"
[[tenant]]
id = "11111111-1111-4111-8111-111111111111"
[[app]]
name = "reader"
id = "aaaaaaaa-0000-4000-8000-000000000001"
secret = [{ value = "right" }]
[[subscription]]
id = "aaaa0000-0000-4000-8000-00000000000a"
name = "production"
[[grant]]
app = "reader"
subscriptions = ["*"]
[[grant]]
app = "reader"
vaults = ["*"]
rights = ["all"]
[[vault]]
name = "alpha"
subscription = "production"
[[vault.secret]]
name = "warm"
versions = [{ value = "alpha-warm-before", created = "-30d" }]
value = "alpha-warm"
created = "-20d"
"#;

/// More than a vault is asked for at once.
pub const COLD: usize = 40;

/// The whole of it: both vaults hold `cold-1` and on, which nobody has read yet. Every value tells whose it is.
pub fn estate() -> String {
    let mut text = ESTATE.to_owned();
    let secret = |vault: &str, name: &str| format!("[[vault.secret]]\nname = \"{name}\"\nvalue = \"{vault}-{name}\"\n");
    for number in 1..=COLD {
        text += &secret("alpha", &format!("cold-{number}"));
    }
    text += &secret("alpha", "only-alpha");
    text += "[[vault]]\nname = \"beta\"\nsubscription = \"production\"\n";
    text += &(secret("beta", "warm") + &secret("beta", "only-beta"));
    for number in 1..=COLD {
        text += &secret("beta", &format!("cold-{number}"));
    }
    text
}

/// The sidecar and its Azure.
pub struct Site {
    _emulator: Emulator,
    pub control: Control,
    pub metrics: Metrics,
    pub broker: Broker,
    /// To Entra.
    pub entra: Cable,
    /// To Resource Manager.
    pub arm: Cable,
    /// To each vault.
    pub vaults: BTreeMap<&'static str, Cable>,
    socket: PathBuf,
    port: u16,
    token: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
    watchdog: Watchdog,
    /// Bytes on all wires when nothing more was waited for.
    given_up: Cell<u64>,
}

/// What differs from one site to another.
pub struct Plan {
    pub estate: String,
    pub broker: BrokerOptions,
    pub azure: Box<dyn FnOnce(&mut AzureSettings)>,
    /// In the place of the system's resolver; else names are placed at addresses.
    pub names: Option<Arc<PhoneBook>>,
    /// Every wire is cut when the sidecar starts, and nobody waits for its first round.
    pub in_the_dark: bool,
    /// Where what is held outlives the process.
    pub kept: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        // Without jitter, so that a test can tell when a life is over.
        let cache = CacheOptions { jitter_percent: 0, ..CacheOptions::default() };
        Self {
            estate: estate(),
            broker: BrokerOptions { cache, ..BrokerOptions::default() },
            azure: Box::new(|_| {}),
            names: None,
            in_the_dark: false,
            kept: None,
        }
    }
}

impl Site {
    pub async fn new() -> Self {
        Self::of(Plan::default()).await
    }

    /// A sidecar after its first round.
    pub async fn of(plan: Plan) -> Self {
        let estate = Estate::parse(&plan.estate).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let emulator = Emulator::start_on_loopback(estate).unwrap();
        let to = emulator.addr();
        let (entra, arm) = (Cable::to(to).await, Cable::to(to).await);
        let mut vaults = BTreeMap::new();
        for name in ["alpha", "beta"] {
            vaults.insert(name, Cable::to(to).await);
        }
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(emulator.ca_pem().as_bytes()).unwrap();
        let mut settings = settings_at(to, Some(ca.path().to_owned()));
        settings.identity = Identity::ClientSecret {
            tenant: TENANT.into(),
            client: READER.into(),
            secret: Credential::Inline(Arc::new(SecretValue::new("right"))),
        };
        let wires = [("login.microsoftonline.com", &entra), ("management.azure.com", &arm)].into_iter();
        let wires =
            wires.chain([("alpha.vault.azure.net", &vaults["alpha"]), ("beta.vault.azure.net", &vaults["beta"])]);
        let places: Vec<_> = wires.map(|(host, cable)| (host.to_owned(), cable.address())).collect();
        (plan.azure)(&mut settings);
        let metrics = Metrics::default();
        let source = match plan.names {
            Some(names) => {
                names.know(places);
                settings.resolve.clear();
                AzureSource::resolving(settings, metrics.clone(), &SystemRoots::read(), names)
            }
            None => {
                settings.resolve = places;
                AzureSource::counted(settings, metrics.clone(), &SystemRoots::read())
            }
        };
        let budgets = Budgets::new(BudgetOptions::default(), metrics.clone());
        let source = BudgetedSource::new(Arc::new(source.unwrap()), budgets);
        let catalog = Catalog::counted(vec![Arc::new(source)], CatalogOptions::default(), metrics.clone());
        let broker = Broker::new(catalog.clone(), plan.broker, metrics.clone());

        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s.sock");
        let token_file = folder.path().join("token");
        let token = Token::load_or_create(&token_file).unwrap();
        let mut listeners = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listeners[0].port().unwrap();
        listeners.push(bind_unix(&UnixOptions::new(&socket)).unwrap());
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let api = Api::new(State::new(broker.clone(), metrics.clone()));
        let (guard, counted, ended) = (Guard::new(Some(token.digest())), metrics.clone(), stop.clone());
        tasks.spawn(async move {
            serve(listeners, api, guard, counted, ServeOptions::default(), ended).await;
        });
        let mut site = Self {
            control: emulator.control(),
            token: std::fs::read_to_string(token_file).unwrap().trim().to_owned(),
            watchdog: Watchdog::start(),
            given_up: Cell::default(),
            _folder: folder,
            tasks,
            _emulator: emulator,
            metrics,
            broker,
            entra,
            arm,
            vaults,
            socket,
            port,
            stop,
        };
        if plan.in_the_dark {
            site.all(Wire::Cut).await;
        }
        if let Some(folder) = plan.kept {
            let key = Key::load_or_create(&folder.join("key")).unwrap();
            let mut keeper =
                Keeper::new(site.broker.clone(), Snapshot::new(folder.join("snapshot"), key, b"prod"), Moment::now());
            keeper.restore().await;
            site.tasks.spawn(keeper.run(site.stop.clone()));
        }
        site.tasks.spawn(catalog.clone().run(site.stop.clone()));
        site.tasks.spawn(site.broker.clone().run(site.stop.clone()));
        if !plan.in_the_dark {
            site.in_time(catalog.first_round()).await;
        }
        site
    }

    /// Every wire at once.
    pub async fn all(&self, wire: Wire) {
        for cable in self.cables() {
            cable.set(wire).await;
        }
    }

    pub fn fault(&self, fault: Fault) -> u64 {
        self.control.fault(fault)
    }

    pub fn change(&self, change: Change) {
        self.control.change(change).unwrap();
    }

    /// Reads over the unix socket.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(path, "").await
    }

    /// Reads a secret of a vault.
    pub async fn read(&self, address: &str) -> Answer {
        self.get(&path_of(address)).await
    }

    /// Reads it upstream, whatever is held.
    pub async fn read_anew(&self, address: &str) -> Answer {
        self.ask(&path_of(address), "Cache-Control: no-cache\r\n").await
    }

    /// The same, with more headers, each with its line's end.
    pub async fn ask(&self, path: &str, headers: &str) -> Answer {
        let exchange = async {
            let stream = UnixStream::connect(&self.socket).await.unwrap();
            exchange(stream, path, &format!("Host: localhost\r\n{headers}")).await
        };
        self.in_time(exchange).await
    }

    /// Reads over TCP.
    pub async fn ask_over_tcp(&self, path: &str) -> Answer {
        let headers = format!("Host: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n", self.port, self.token);
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            exchange(stream, path, &headers).await
        };
        self.in_time(exchange).await
    }

    /// Reads while time goes on in leaps of a second, as long as the answer takes; and how many leaps it took.
    pub async fn read_as_time_goes_by(&self, address: &str) -> (Answer, u64) {
        let mut reading = pin!(self.read(address));
        let mut seconds = 0;
        loop {
            let mut still = pin!(self.still());
            tokio::select! {
                biased;
                answer = &mut reading => return (answer, seconds),
                () = &mut still => {}
            }
            leap(Duration::from_secs(1)).await;
            seconds += 1;
            assert!(seconds < 100, "reading {address} has no end");
        }
    }

    /// Time goes on, in leaps of a second, each with all that follows from it.
    pub async fn live(&self, seconds: u64) {
        for _ in 0..seconds {
            leap(Duration::from_secs(1)).await;
            self.still().await;
        }
    }

    /// Time goes on, in leaps of so many seconds, until that holds; how many seconds it took.
    pub async fn live_until(&self, most: u64, holds: impl AsyncFn() -> bool) -> u64 {
        for seconds in 0..=most {
            if holds().await {
                return seconds;
            }
            self.live(1).await;
        }
        panic!("it did not come true within {most} s");
    }

    /// Nothing moves on any wire any more, as far as a look at it can tell: for what may happen, never for what must. A
    /// service that owes an answer is given more time, and not for ever, as it may be meant to.
    pub async fn still(&self) {
        const LOOKS: u32 = 30;
        const LOOKS_FOR_AN_ANSWER: u32 = 300;
        let mut moved = self.moved();
        let mut quiet = 0;
        let awaited = |moved| self.given_up.get() != moved && self.cables().any(Cable::is_awaited);
        while quiet < LOOKS || quiet < LOOKS_FOR_AN_ANSWER && awaited(moved) {
            if quiet == LOOKS / 2 {
                // A file may be being read on a thread of its own.
                self.in_time(tokio::task::spawn_blocking(|| ())).await.unwrap();
            } else {
                self.in_time(tokio::task::yield_now()).await;
            }
            let now = self.moved();
            quiet = if now == moved { quiet + 1 } else { 0 };
            moved = now;
        }
        self.given_up.set(moved);
    }

    /// Waits for what must happen without time going on.
    pub async fn until(&self, holds: impl Fn() -> bool) {
        while !holds() {
            self.in_time(tokio::task::yield_now()).await;
        }
    }

    pub fn gets(&self, vault: &str, name: &str) -> u64 {
        self.control.calls().secret(vault, name, Endpoint::Get)
    }

    /// All counters of that beginning together.
    pub fn counted(&self, beginning: &str) -> u64 {
        let text = self.metrics.encode();
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Reads of values that have ended, those of that outcome or all.
    pub fn ended_gets(&self, outcome: Option<&str>) -> u64 {
        let text = self.metrics.encode();
        let outcome = outcome.map(|outcome| format!("outcome=\"{outcome}\""));
        let gets = text.lines().filter(|line| {
            line.starts_with("sidekey_upstream_calls_total{")
                && line.contains("endpoint=\"get\"")
                && outcome.as_ref().is_none_or(|outcome| line.contains(outcome))
        });
        gets.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Bytes on all wires.
    fn moved(&self) -> u64 {
        self.cables().map(|cable| cable.sent() + cable.asked()).sum()
    }

    fn cables(&self) -> impl Iterator<Item = &Cable> {
        [&self.entra, &self.arm].into_iter().chain(self.vaults.values())
    }

    pub async fn in_time<T>(&self, what: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = what => done,
            () = self.watchdog.late.cancelled() => panic!("nothing came of it in {} s", Watchdog::PATIENCE.as_secs()),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Time is so much later, for everything in this process at once: as after a stop of the process.
pub async fn leap(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

fn path_of(address: &str) -> String {
    let (vault, name) = address.split_once('/').unwrap();
    format!("/v1/vaults/{vault}/secrets/{name}")
}

/// An answer of the sidecar.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
    /// Around it.
    pub asked: Instant,
    pub told: Instant,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(told, _)| told.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn cache_status(&self) -> &str {
        self.header("cache-status").unwrap_or_default()
    }

    pub fn age(&self) -> u64 {
        self.header("age").unwrap().parse().unwrap()
    }

    /// Why it is stale, if it is.
    pub fn stale(&self) -> Option<&str> {
        self.cache_status().split_once("detail=stale-").map(|(_, reason)| reason)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// It is that value.
    #[track_caller]
    pub fn is(&self, value: &str) {
        assert_eq!((self.status, self.body.as_str()), (200, value), "{self:?}");
    }

    /// It is that value, and the answer did not wait for anybody.
    #[track_caller]
    pub fn is_held(&self, value: &str) {
        self.is(value);
        assert!(self.cache_status().starts_with("sidekey; hit"), "{self:?}");
    }

    /// It is that problem; a 503 tells when to come back.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> serde_json::Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("retry-after").is_some(), status == 503 || code == "vault-timeout", "{self:?}");
        problem
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> Answer {
    let asked = Instant::now();
    let head = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head[9..12].parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned(), asked, told: Instant::now() }
}

/// In the place of the system's resolver.
#[derive(Debug, Default)]
pub struct PhoneBook {
    places: Mutex<BTreeMap<String, SocketAddr>>,
    refuses: AtomicBool,
    pub asked: AtomicU64,
}

impl PhoneBook {
    fn know(&self, places: impl IntoIterator<Item = (String, SocketAddr)>) {
        self.places.lock().unwrap().extend(places);
    }

    /// Whether it knows nobody any more.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// As if that host had never been.
    pub fn forget(&self, host: &str) -> Option<SocketAddr> {
        self.places.lock().unwrap().remove(host)
    }

    pub fn learn(&self, host: &str, address: SocketAddr) {
        self.know([(host.to_owned(), address)]);
    }
}

#[async_trait]
impl LookUp for PhoneBook {
    async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let found = self.places.lock().unwrap().get(host).copied();
        found
            .filter(|_| !self.refuses.load(Ordering::Relaxed))
            .map(|one| vec![one])
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

/// Ends a test that would wait for ever, by real time: the runtime's own leaps.
struct Watchdog {
    late: CancellationToken,
    _site_lives: mpsc::Sender<()>,
}

impl Watchdog {
    const PATIENCE: Duration = Duration::from_secs(60);

    fn start() -> Self {
        let (site_lives, lives) = mpsc::channel::<()>();
        let late = CancellationToken::new();
        let cancel = late.clone();
        std::thread::spawn(move || {
            if lives.recv_timeout(Self::PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                cancel.cancel();
            }
        });
        Self { late, _site_lives: site_lives }
    }
}
