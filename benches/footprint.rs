//! What the sidecar costs the pod that it stands in: memory when idle, with values held, with many names known and after
//! a burst of connections; how soon it answers; how large its binary is. The real binary as a process of its own, the
//! fake Azure in another.
//!
//! `cargo bench --bench footprint [-- BINARY]` measures the binary of this build, or that one: what ships is built by
//! `deploy/build.sh`, which tells where it is.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, says where it stops, and waits for processes"
)]

#[path = "table/mod.rs"]
mod table;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use table::{Figure, Goal, median, milliseconds};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::time::Instant;

const EMULATOR: &str = env!("CARGO_BIN_EXE_sidekey");
const VALUES: usize = 1_000;
const VALUE_BYTES: usize = 200;
/// Vaults, and secrets in each.
const NAMES: (usize, usize) = (250, 400);
const CONNECTIONS: usize = 1_000;
const BURSTS: usize = 5;
const STARTS: usize = 9;
const READERS: usize = 16;
const READS: u32 = 5_000;
/// How far Azure is where it is not next door.
const AWAY: Duration = Duration::from_millis(20);
/// What a process does behind an answer is done by then.
const SETTLE: Duration = Duration::from_secs(2);
const YARDSTICK: &str = "--yardstick";

fn main() {
    let told: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, socket] = told.as_slice()
        && flag == YARDSTICK
    {
        return bare(socket);
    }
    let binary = told.iter().find(|word| !word.starts_with('-')).map_or_else(|| EMULATOR.into(), PathBuf::from);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let size = fs::metadata(&binary).unwrap().len() as f64 / 1e6;
    println!("{}: {size:.1} MB", binary.display());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cores} cores; memory in MB; PSS is shared with the emulator where that is the same binary; own: heap and stacks,"
    );
    println!("without the pages of the binary, which the system can drop\n");

    println!("{:<46} {:>7} {:>7} {:>7} {:>7}", "memory", "RSS", "PSS", "own", "peak");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bare.sock");
    let itself = std::env::current_exe().unwrap();
    let yardstick = Process::new(Command::new(itself).arg(YARDSTICK).arg(&socket), socket);
    until(|| yardstick.get("/"));
    let bare_idle = yardstick.tell("bare tokio and hyper, one answer given");
    yardstick.burst("/");
    let bare_after = yardstick.tell(&format!("  after {BURSTS} bursts of {CONNECTIONS} connections"));
    let bare_rate = yardstick.rate("/");
    drop(yardstick);

    let none = Azure::start("");
    let sidecar = none.serve(&binary);
    let idle = sidecar.tell("sidekey, no vault");
    drop((sidecar, none));

    let azure = Azure::start(&values());
    let sidecar = azure.serve(&binary);
    sidecar.tell(&format!("sidekey, 1 vault, {VALUES} names known"));
    for number in 0..VALUES {
        assert!(sidecar.get(&value(number)), "{number} cannot be read");
    }
    let held = sidecar.tell(&format!("  {VALUES} values of {VALUE_BYTES} bytes held"));
    sidecar.burst(&value(0));
    let after = sidecar.tell(&format!("  after {BURSTS} bursts of {CONNECTIONS} connections"));
    let rate = sidecar.rate(&value(0));
    drop(sidecar);

    let many = Azure::start(&names());
    let sidecar = many.serve(&binary);
    let known = sidecar.tell(&format!("sidekey, {} names known", NAMES.0 * NAMES.1));
    drop((sidecar, many));

    // What an allocator that saves memory must not cost. The yardstick runs on the allocator of this build.
    println!("\n{:<46} {rate:>7.0} a second", format!("held values, {READERS} connections to the socket"));
    println!("{:<46} {bare_rate:>7.0} a second", "bare tokio and hyper, a shorter answer");
    println!("\nfrom the start of the process, median of {STARTS}");
    let (answer, first) = azure.start_times(&binary);
    let far = Azure::away(&values(), AWAY);
    let (_, found) = far.start_times(&binary);
    far.name_the_vault();
    let (_, named) = far.start_times(&binary);
    println!("{:<46} {answer:>7.1} ms", "to the first answer on the socket");
    println!("{:<46} {first:>7.1} ms", "to the first value (sign-in, discovery, read)");
    let away = AWAY.as_millis();
    println!("{:<46} {found:>7.1} ms", format!("  the same, all of Azure {away} ms away"));
    println!("{:<46} {named:>7.1} ms\n", "  of a vault that the configuration names");

    let bare = "bare tokio and hyper";
    Figure::new("memory, idle", idle, "MB").beside(bare, bare_idle).row(Goal::AtMost(12.0));
    Figure::new(format!("memory, {VALUES} values of {VALUE_BYTES} bytes"), held, "MB").row(Goal::AtMost(14.0));
    let bursts = format!("memory after {BURSTS} bursts of {CONNECTIONS} connections");
    Figure::new(bursts, after, "MB").beside(bare, bare_after).row(Goal::AtMost(20.0));
    Figure::new(format!("memory, {} names", NAMES.0 * NAMES.1), known, "MB").row(Goal::AtMost(40.0));
    Figure::new("start to the first answer", answer, "ms").row(Goal::AtMost(20.0));
    Figure::new("start to the first value, nothing far away", first, "ms").row(Goal::None);
    Figure::new(format!("start to the first value of a vault that is found, {away} ms away"), found, "ms")
        .beside("token, discovery and read", 3.0 * milliseconds(AWAY))
        .row(Goal::MoreAtMost(20.0));
    Figure::new(format!("start to the first value of a vault that is named, {away} ms away"), named, "ms")
        .beside("token and read", 2.0 * milliseconds(AWAY))
        .row(Goal::MoreAtMost(20.0));
    Figure::new("the binary", size, "MB").row(Goal::AtMost(10.0));
}

/// The least that any server of this kind is: what of the memory is not ours to save.
fn bare(socket: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async {
                let answer = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok")))) });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
}

/// A process with a socket, ended when it is dropped.
struct Process {
    child: Child,
    socket: PathBuf,
}

impl Process {
    fn new(command: &mut Command, socket: PathBuf) -> Self {
        Self { child: command.stdin(Stdio::null()).spawn().unwrap(), socket }
    }

    /// Whether that is answered with 200 on a connection of its own.
    fn get(&self, path: &str) -> bool {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return false };
        ask(&mut stream, path)
    }

    /// So many connections at the same time, all answered, then closed; several times, as each may leave its own behind.
    fn burst(&self, path: &str) {
        for _ in 0..BURSTS {
            let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| UnixStream::connect(&self.socket).unwrap()).collect();
            let told: Vec<_> = streams.chunks_mut(CONNECTIONS / 8).collect();
            std::thread::scope(|scope| {
                for part in told {
                    scope.spawn(|| assert!(part.iter_mut().all(|stream| ask(stream, path))));
                }
            });
            drop(streams);
            // They are gone on the other side too before the next come.
            std::thread::sleep(SETTLE / 10);
        }
    }

    /// Answers a second, the best of three rounds, each reader on a connection that stays.
    fn rate(&self, path: &str) -> f64 {
        let round = || {
            let began = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..READERS {
                    scope.spawn(|| {
                        let mut stream = UnixStream::connect(&self.socket).unwrap();
                        (0..READS).for_each(|_| assert!(ask(&mut stream, path)));
                    });
                }
            });
            f64::from(READS) * READERS as f64 / began.elapsed().as_secs_f64()
        };
        (0..3).map(|_| round()).fold(0.0, f64::max)
    }

    /// Its resident memory, in MB.
    fn tell(&self, what: &str) -> f64 {
        std::thread::sleep(SETTLE);
        let pid = self.child.id();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // Not Private_Dirty: pages of a binary that was just written are dirty too.
        let [rss, pss, own] = ["Rss:", "Pss:", "Anonymous:"].map(|key| megabytes(&rollup, key));
        println!("{what:<46} {rss:>7.1} {pss:>7.1} {own:>7.1} {:>7.1}", megabytes(&status, "VmHWM:"));
        rss
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn megabytes(text: &str, key: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}

/// One request on a connection that stays open.
fn ask(stream: &mut UnixStream, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = [0; 4_096];
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A fake Azure in a process of its own, and what a sidecar needs to reach it.
struct Azure {
    child: Child,
    folder: TempDir,
}

const CLIENT: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const TENANT: &str = "11111111-1111-4111-8111-111111111111";

impl Azure {
    fn start(vaults: &str) -> Self {
        Self::away(vaults, Duration::ZERO)
    }

    /// That takes so long to answer anything.
    fn away(vaults: &str, latency: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let estate = format!(
            "[[tenant]]\nid = \"{TENANT}\"\n[[app]]\nname = \"reader\"\nid = \"{CLIENT}\"\nsecret = [{{ value = \"s\" }}]\n\
             [[subscription]]\nid = \"aaaa0000-0000-4000-8000-00000000000a\"\nname = \"s\"\n[[grant]]\napp = \"reader\"\n\
             subscriptions = [\"*\"]\n[[grant]]\napp = \"reader\"\nvaults = [\"*\"]\nrights = [\"get\", \"list\"]\n{vaults}"
        );
        fs::write(path("estate.toml"), estate).unwrap();
        fs::write(path("client-secret"), "s").unwrap();
        let mut command = Command::new(EMULATOR);
        command.args(["emulator", "--listen", "127.0.0.1:0", "--estate"]).arg(path("estate.toml"));
        command.args(["--latency", &format!("{}ms", latency.as_millis())]);
        command.arg("--ca-out").arg(path("ca.pem")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let to = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("no emulator: {line}"));
        let config = format!(
            "[listen]\nsocket = \"s.sock\"\n[[source]]\ntenant_id = \"{TENANT}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret_file = \"client-secret\"\nca_file = \"ca.pem\"\nresolve = {{ \"login.microsoftonline.com\" = \
             \"{to}\", \"management.azure.com\" = \"{to}\", \"*.vault.azure.net\" = \"{to}\" }}\n"
        );
        fs::write(path("sidekey.toml"), config).unwrap();
        Self { child, folder }
    }

    fn sidecar(&self, binary: &Path) -> Process {
        let socket = self.folder.path().join("s.sock");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(self.folder.path().join("sidekey.toml"));
        Process::new(command.env_clear().stderr(Stdio::null()), socket)
    }

    /// A sidecar that has listed everything.
    fn serve(&self, binary: &Path) -> Process {
        let sidecar = self.sidecar(binary);
        until(|| sidecar.get("/readyz"));
        sidecar
    }

    /// From now on, the vault need not be found.
    fn name_the_vault(&self) {
        let path = self.folder.path().join("sidekey.toml");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(path, config + "vaults = [\"https://pay.vault.azure.net\"]\n").unwrap();
    }

    /// To the first answer, and to the first value: medians, in milliseconds.
    fn start_times(&self, binary: &Path) -> (f64, f64) {
        let once = |_| {
            let began = Instant::now();
            let sidecar = self.sidecar(binary);
            until(|| sidecar.get("/livez"));
            let live = began.elapsed();
            until(|| sidecar.get(&value(0)));
            (milliseconds(live), milliseconds(began.elapsed()))
        };
        let (mut answers, mut values): (Vec<_>, Vec<_>) = (0..STARTS).map(once).unzip();
        (median(&mut answers), median(&mut values))
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value(number: usize) -> String {
    format!("/v1/vaults/pay/secrets/secret-{number}")
}

/// A vault with values.
fn values() -> String {
    let mut text = "[[vault]]\nname = \"pay\"\nsubscription = \"s\"\n".to_owned();
    for number in 0..VALUES {
        let value = "x".repeat(VALUE_BYTES);
        writeln!(text, "[[vault.secret]]\nname = \"secret-{number}\"\nvalue = \"{value}\"").unwrap();
    }
    text
}

/// Vaults with many names.
fn names() -> String {
    let (vaults, secrets) = NAMES;
    format!(
        "[[vault]]\nname = \"bench-{{}}\"\ncount = {vaults}\nsubscription = \"s\"\n[[vault.bulk]]\n\
         pattern = \"service-{{}}-db-password\"\ncount = {secrets}\ntags = {{ team = \"pay\" }}\n"
    )
}
