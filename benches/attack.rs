//! What a sidecar under attack does to one that behaves: errors and latency of a good client on a user of its own, beside
//! others who are silent, idle, too many, or ask for what costs most; with the server's memory, and how fast what is
//! refused is refused. Server, attackers and good client are processes of their own; as root the attackers have another
//! user's id, else the same.
//!
//! `cargo bench --bench attack` takes about two minutes; `… -- floods`, the first part of it, one.
#![allow(missing_docs, clippy::print_stdout, reason = "it is a program that prints")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use sidekey::api::{Api, Capacity, Guard, ServeOptions, State, Token, UnixOptions, bind_tcp, bind_unix, serve};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};

const NAMES: usize = 100;
/// So that a search takes its time.
const CATALOG: usize = 100_000;
const ATTACKER: u32 = 20_001;

fn main() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let workers = std::thread::available_parallelism().map_or(2, |cores| (cores.get() / 2).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.expect("a runtime");
    match args.first().map(String::as_str) {
        Some("server") => runtime.block_on(server(Path::new(&args[1]), number(&args[2]))),
        Some("attacker") => runtime.block_on(attacker(&args[1..])),
        only => runtime.block_on(everything(only)),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Serves until it is killed.
async fn server(directory: &Path, connections: usize) {
    let vault = MemoryVault::new(VaultInfo::new("bench".parse().expect("a name"), "pay".parse().expect("a name")));
    for n in 0..NAMES {
        vault.set(&format!("secret-{n}").parse().expect("a name"), vec![b'x'; 40], Attributes::default());
    }
    let big = MemoryVault::new(VaultInfo::new("bench".parse().expect("a name"), "big".parse().expect("a name")));
    for n in 0..CATALOG {
        big.set(&format!("name-number-{n}").parse().expect("a name"), Vec::new(), Attributes::default());
    }
    let vaults = vec![Arc::new(vault) as Arc<dyn Vault>, Arc::new(big) as Arc<dyn Vault>];
    let source = MemorySource::new("bench".parse().expect("a name"), vaults);
    let catalog = Catalog::new(vec![Arc::new(source)], CatalogOptions::default());
    catalog.refresh(None).await;
    let metrics = Metrics::default();
    let broker = Broker::new(catalog, BrokerOptions::default(), metrics.clone());
    let token = Token::load_or_create(&directory.join("token")).expect("a token");
    let guard = Guard::new(Some(token.digest()));
    let mut listeners = bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let port = listeners[0].port().expect("a TCP listener");
    let socket = UnixOptions { mode: 0o666, ..UnixOptions::new(directory.join("s")) };
    listeners.push(bind_unix(&socket).expect("a socket"));
    println!("{port}");
    let options = ServeOptions { capacity: Capacity::new(connections, Capacity::REQUESTS), ..ServeOptions::default() };
    let api = Api::new(State::new(broker, metrics.clone()));
    serve(listeners, api, guard, metrics, options, CancellationToken::new()).await;
}

/// A server, while it lives.
struct Server {
    process: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Server {
    fn start(connections: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let mut process =
            own().arg("server").arg(directory.path()).arg(connections.to_string()).spawn().expect("itself");
        let mut line = String::new();
        let out = process.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("its port");
        Self { process, directory, port: line.trim().parse().expect("a port") }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    fn own_user(&self) -> Way {
        Way::Socket(self.socket())
    }

    /// Where it is the attackers' party as well.
    fn tcp(&self) -> Way {
        let token = std::fs::read_to_string(self.directory.path().join("token")).expect("a token");
        Way::Tcp(self.port, format!("host: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\n", self.port, token.trim()))
    }

    /// Resident memory in MB.
    fn memory(&self) -> f64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap_or_default();
        let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
        pages * 4_096.0 / 1e6
    }

    /// Attackers of that kind, as another user. What they came to, they print.
    fn attack(&self, kind: &str, count: usize, seconds: u64, more: &str) -> Child {
        let mut attackers = own();
        attackers.arg("attacker").arg(kind).arg(self.socket()).arg(self.port.to_string());
        attackers.arg(count.to_string()).arg(seconds.to_string()).arg(more);
        if rustix::process::getuid().is_root() {
            attackers.uid(ATTACKER).gid(ATTACKER);
        }
        attackers.spawn().expect("itself")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn own() -> Command {
    let mut own = Command::new(std::env::current_exe().expect("its path"));
    own.stdout(Stdio::piped()).current_dir("/");
    own
}

/// Ways to ask.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

// ---- the good client

/// How it comes.
#[derive(Clone)]
enum Way {
    Socket(PathBuf),
    /// With lines that tell whom it asks, and who it is.
    Tcp(u16, String),
}

impl Way {
    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(port, _) => Box::new(TcpStream::connect(("127.0.0.1", *port)).await?),
        })
    }

    fn lines(&self) -> &str {
        match self {
            Self::Socket(_) => "host: x\r\n",
            Self::Tcp(_, lines) => lines,
        }
    }
}

/// What the good client met.
#[derive(Default)]
struct Met {
    /// By what they were.
    errors: BTreeMap<String, u64>,
    took: Vec<Duration>,
}

/// Some five hundred reads a second over four connections, one of which is new each time, until it is told to stop.
async fn good(way: Way, over: CancellationToken) -> Met {
    let mut clients = JoinSet::new();
    for which in 0..4_usize {
        let (way, over) = (way.clone(), over.clone());
        clients.spawn(async move {
            let (mut met, mut stream): (Met, Option<Box<dyn Stream>>) = (Met::default(), None);
            let mut ticks = interval(Duration::from_millis(8));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for n in 0_usize.. {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = over.cancelled() => break,
                }
                let began = Instant::now();
                let asked = timeout(Duration::from_secs(5), async {
                    let mut open = match stream.take().filter(|_| which > 0) {
                        Some(stream) => stream,
                        None => way.connect().await?,
                    };
                    let path = format!("/v1/vaults/pay/secrets/secret-{}", n % NAMES);
                    let status = ask(&mut *open, &path, way.lines()).await?;
                    stream = Some(open);
                    Ok::<_, std::io::Error>(status)
                });
                let error = match asked.await {
                    Ok(Ok(200)) => {
                        met.took.push(began.elapsed());
                        continue;
                    }
                    Ok(Ok(status)) => status.to_string(),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "no answer".to_owned(),
                };
                let kept = if which > 0 { "kept" } else { "new" };
                *met.errors.entry(format!("{kept}: {error}")).or_default() += 1;
                stream = None;
            }
            met
        });
    }
    let mut all = Met::default();
    while let Some(met) = clients.join_next().await {
        let met = met.expect("a client that ends");
        for (error, count) in met.errors {
            *all.errors.entry(error).or_default() += count;
        }
        all.took.extend(met.took);
    }
    all
}

async fn ask(stream: &mut (impl Stream + ?Sized), path: &str, lines: &str) -> std::io::Result<u16> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{lines}\r\n").as_bytes()).await?;
    answer(stream).await
}

/// Reads one answer; its status.
async fn answer(stream: &mut (impl Stream + ?Sized)) -> std::io::Result<u16> {
    let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
    loop {
        let more = stream.read(&mut buffer[filled..]).await?;
        if more == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        filled += more;
        let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        if filled >= end + 4 + length(&buffer[..end]) {
            return Ok(status(&buffer));
        }
    }
}

fn length(head: &[u8]) -> usize {
    let Some(at) = memchr::memmem::find(head, b"content-length: ") else { return 0 };
    let digits = head[at + 16..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

fn status(head: &[u8]) -> u16 {
    std::str::from_utf8(&head[9..12]).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

// ---- attackers

/// `KIND SOCKET PORT COUNT SECONDS MORE`
async fn attacker(args: &[String]) {
    let (kind, socket, port) = (args[0].clone(), PathBuf::from(&args[1]), number(&args[2]));
    let (count, seconds, more) = (number(&args[3]), number(&args[4]), args[5].clone());
    let until = Instant::now() + Duration::from_secs(seconds as u64);
    let tally = Arc::new(Tally::default());
    let mut all = JoinSet::new();
    for which in 0..count {
        let (kind, socket, more, tally) = (kind.clone(), socket.clone(), more.clone(), Arc::clone(&tally));
        all.spawn(async move {
            while Instant::now() < until {
                let over_tcp = kind == "silent-tcp";
                let connected: std::io::Result<Box<dyn Stream>> = if over_tcp {
                    let port = u16::try_from(port).expect("a port");
                    TcpStream::connect(("127.0.0.1", port)).await.map(|stream| Box::new(stream) as _)
                } else {
                    UnixStream::connect(&socket).await.map(|stream| Box::new(stream) as _)
                };
                let Ok(stream) = connected else {
                    sleep(Duration::from_millis(5)).await;
                    continue;
                };
                tally.connected.fetch_add(1, Ordering::Relaxed);
                let _ = tokio::time::timeout_at(until, attack(&kind, which, stream, &more, &tally, until)).await;
            }
        });
    }
    while all.join_next().await.is_some() {}
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let mut refused = tally.refused_took.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    refused.sort_unstable();
    println!(
        "{} {} {} {} {} {}",
        load(&tally.connected),
        load(&tally.answered),
        load(&tally.refused),
        load(&tally.missing),
        percentile(&refused, 50).as_micros(),
        percentile(&refused, 99).as_micros()
    );
}

#[derive(Default)]
struct Tally {
    connected: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    missing: AtomicU64,
    /// Names asked for.
    names: AtomicU64,
    refused_took: std::sync::Mutex<Vec<Duration>>,
}

impl Tally {
    fn count(&self, status: u16, took: Duration) {
        match status {
            200 => self.answered.fetch_add(1, Ordering::Relaxed),
            404 => self.missing.fetch_add(1, Ordering::Relaxed),
            _ => {
                self.refused_took.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(took);
                self.refused.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// One connection's attack, until it is closed upon.
async fn attack(
    kind: &str,
    which: usize,
    mut stream: Box<dyn Stream>,
    more: &str,
    tally: &Tally,
    until: Instant,
) -> std::io::Result<()> {
    match kind {
        // A third says nothing, a third half a head, a third a byte each second.
        "silent" | "silent-tcp" => {
            if which % 3 == 1 {
                stream.write_all(b"GET /v1/vaults/pay/secrets/secret-1 HTTP/1.1\r\nHost: ").await?;
            }
            let mut byte = [0];
            loop {
                if which % 3 == 2 {
                    stream.write_all(b"G").await?;
                }
                if let Ok(read) = timeout(Duration::from_secs(1), stream.read(&mut byte)).await
                    && read? == 0
                {
                    return Ok(());
                }
            }
        }
        "idle" => {
            let status = ask(&mut *stream, "/v1/vaults/pay/secrets/secret-1", "host: x\r\n").await?;
            tally.count(status, Duration::ZERO);
            let _ = stream.read(&mut [0]).await?;
            Ok(())
        }
        "closed" | "search" | "missing" | "forced" => loop {
            let path = match kind {
                "closed" | "forced" => format!("/v1/vaults/pay/secrets/secret-{}", which % NAMES),
                "search" => "/v1/search?q=nmbr99&match=fuzzy".to_owned(),
                _ => {
                    let n = tally.names.fetch_add(1, Ordering::Relaxed);
                    if n >= more.parse().unwrap_or(u64::MAX) {
                        sleep(until - Instant::now()).await;
                        return Ok(());
                    }
                    format!("/v1/vaults/pay/secrets/missing-{n}")
                }
            };
            let began = Instant::now();
            let lines = if kind == "forced" { "host: x\r\ncache-control: no-cache\r\n" } else { "host: x\r\n" };
            let status = ask(&mut *stream, &path, lines).await?;
            tally.count(status, began.elapsed());
        },
        // Requests leave at their rate, whether answers come or not.
        "open" => {
            let (mut read, mut write) = tokio::io::split(stream);
            let rate: f64 = more.parse().unwrap_or(1.0);
            let head = format!("GET /v1/vaults/pay/secrets/secret-{} HTTP/1.1\r\nhost: x\r\n\r\n", which % NAMES);
            let asking = async {
                let mut ticks = interval(Duration::from_millis(10));
                let mut due = 0.0;
                loop {
                    ticks.tick().await;
                    due += rate / 100.0;
                    let now = due as usize;
                    due -= now as f64;
                    write.write_all(head.repeat(now).as_bytes()).await?;
                }
            };
            let reading = async {
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let more = read.read(&mut buffer).await?;
                    if more == 0 {
                        return Ok::<(), std::io::Error>(());
                    }
                    let answers = memchr::memmem::find_iter(&buffer[..more], b"HTTP/1.1 200").count();
                    tally.answered.fetch_add(answers as u64, Ordering::Relaxed);
                }
            };
            let asking: std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> = Box::pin(asking);
            tokio::select! {
                asked = asking => asked,
                read = reading => read,
            }
        }
        other => panic!("no such attack: {other}"),
    }
}

// ---- all of it

/// Runs that attack beside the good client, and prints a line. What the attackers came to.
async fn beside(name: &str, server: &Server, attack: Option<Child>, seconds: u64) -> Vec<u64> {
    beside_by(server.own_user(), name, server, attack, seconds).await
}

async fn beside_by(way: Way, name: &str, server: &Server, attack: Option<Child>, seconds: u64) -> Vec<u64> {
    let before = server.memory();
    let over = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(good(way, over.clone()));
    let (mut peak, end) = (before, Instant::now() + Duration::from_secs(seconds));
    while Instant::now() < end {
        sleep(Duration::from_millis(50)).await;
        peak = peak.max(server.memory());
    }
    over.cancel();
    let mut met = running.join_next().await.expect("the good client").expect("that ends");
    met.took.sort_unstable();
    let told = match attack {
        Some(attack) => {
            let output = attack.wait_with_output().expect("attackers that end");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        }
        None => Vec::new(),
    };
    sleep(Duration::from_millis(500)).await;
    println!(
        "{name:<38} {:>6} {:>6} {:>8.2} {:>8.2} {:>8.2}   {:>6.1} {:>6.1} {:>6.1}",
        met.took.len(),
        met.errors.values().sum::<u64>(),
        millis(percentile(&met.took, 50)),
        millis(percentile(&met.took, 99)),
        millis(met.took.last().copied().unwrap_or_default()),
        before,
        peak,
        server.memory()
    );
    for (error, count) in &met.errors {
        println!("    {count} × {error}");
    }
    told
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `floods`: those who hold connections alone.
async fn everything(only: Option<&str>) {
    println!("                                        the good client: reads, errors, ms          server's memory, MB");
    println!("                                        reads errors      p50      p99      max   before   peak  after");
    let server = Server::start(Capacity::CONNECTIONS);
    beside("alone", &server, None, 3).await;
    let told =
        beside("5,000 silent or slow, on the socket", &server, Some(server.attack("silent", 5_000, 10, "")), 10).await;
    println!("    they connected {} times to {} places", told[0], Capacity::CONNECTIONS);
    let told =
        beside("5,000 silent or slow, over TCP", &server, Some(server.attack("silent-tcp", 5_000, 10, "")), 10).await;
    println!("    they connected {} times", told[0]);
    let attack = server.attack("silent-tcp", 5_000, 10, "");
    let told = beside_by(server.tcp(), "5,000 silent, the good client over TCP", &server, Some(attack), 10).await;
    println!("    they connected {} times", told[0]);
    let told = beside("10,000 idle for 4,096 places", &server, Some(server.attack("idle", 10_000, 8, "")), 8).await;
    println!("    they connected {} times", told[0]);
    drop(server);
    if only == Some("floods") {
        return;
    }

    let server = Server::start(12_000);
    beside("alone", &server, None, 2).await;
    let before = server.memory();
    let attack = server.attack("idle", 10_000, 10, "");
    sleep(Duration::from_secs(5)).await;
    let each = (server.memory() - before) * 1e3 / 10_000.0;
    let told = beside("10,000 idle for 12,000 places", &server, Some(attack), 4).await;
    println!("    they connected {} times; {each:.1} KB for each", told[0]);
    drop(server);

    let server = Server::start(Capacity::CONNECTIONS);
    let told = beside("64 in a closed loop: the capacity", &server, Some(server.attack("closed", 64, 4, "")), 4).await;
    let capacity = told[1] as f64 / 4.0;
    let rate = capacity * 10.0 / 512.0;
    let attack = server.attack("open", 512, 8, &format!("{rate:.3}"));
    let told = beside("ten times that, in an open loop", &server, Some(attack), 8).await;
    println!(
        "    {capacity:.0} reads/s, then {:.0} reads/s: {:.2}",
        told[1] as f64 / 8.0,
        told[1] as f64 / 8.0 / capacity
    );
    let told = beside("1,000 at searches", &server, Some(server.attack("search", 1_000, 8, "")), 8).await;
    println!("    answered {}, refused {}: p50 {} µs, p99 {} µs", told[1], told[2], told[4], told[5]);
    let told =
        beside("64 at 1,000,000 missing names", &server, Some(server.attack("missing", 64, 30, "1000000")), 30).await;
    println!("    not found {}, refused {}: p50 {} µs, p99 {} µs", told[3], told[2], told[4], told[5]);
    let told = beside("64 at forced reads", &server, Some(server.attack("forced", 64, 6, "")), 6).await;
    println!("    answered {}", told[1]);
    beside("alone, afterwards", &server, None, 3).await;
}
