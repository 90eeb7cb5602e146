//! How many cached reads a second the API answers, over TCP with a token and over the unix socket, against a bare hyper
//! server that returns the same bytes in the same run. Rounds are interleaved, medians are told: take the ratios, not
//! the figures. Beside them the processor time that the server's threads took for a request, the kernel's part included:
//! what others do on the machine changes it less. Over the socket also with an audit, into a file in the working directory.
//! `cargo bench --bench hits` takes about 40 seconds; `cargo bench --bench hits --features
//! rustix/use-libc-auxv -- --instructions` counts what one read costs instead (valgrind hides the kernel's own auxv).
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr, reason = "it is a program that prints")]

mod contenders;
mod instructions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroizing_alloc::ZeroAlloc;

/// As the program has it. The bare servers have it too: what it costs them is part of neither ratio.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const CONNECTIONS: usize = 64;
const NAMES: usize = 100;
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_millis(750);
/// Of the server's threads.
const SERVER: &str = "server";

/// Where a server is, and what is sent to it.
#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

struct Contender {
    name: &'static str,
    place: Place,
    requests: Arc<Vec<Vec<u8>>>,
    rates: Vec<f64>,
    /// Microseconds of the server's threads for one request.
    costs: Vec<f64>,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => race(),
        ["--instructions"] => instructions::print(),
        ["--ask", at, count] => instructions::run(at.parse().expect("a place"), count.parse().expect("a count")),
        _ => eprintln!("expected nothing, or --instructions"),
    }
}

/// All of them in turn, as fast as they can.
fn race() {
    let workers = std::thread::available_parallelism().map_or(2, |cores| (cores.get() / 2).max(1));
    let runtime = |name| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(workers).thread_name(name).enable_all().build().expect("a runtime")
    };
    let (server, client) = (runtime(SERVER), runtime("client"));
    keep_awake(&client, workers);
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let mut contenders = contenders::start(&server, &client, directory.path());
    println!(
        "{CONNECTIONS} connections, {NAMES} names, {workers} server threads, {ROUNDS} rounds of {} ms each",
        ROUND.as_millis()
    );
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let before = spent();
            let (requests, rate) = client.block_on(load(&contender.place, &contender.requests));
            if round > 0 {
                contender.rates.push(rate);
                contender.costs.push((spent() - before).as_secs_f64() * 1e6 / f64::from(requests));
            }
        }
    }
    let rates: Vec<f64> = contenders.iter_mut().map(|contender| median(&mut contender.rates)).collect();
    let costs: Vec<f64> = contenders.iter_mut().map(|contender| median(&mut contender.costs)).collect();
    for (contender, (rate, cost)) in contenders.iter().zip(rates.iter().zip(&costs)) {
        println!("{:<28} {rate:>9.0} requests/s {cost:>6.2} µs of the processor", contender.name);
    }
    for (what, ours, other) in [
        ("sidekey of bare hyper, TCP", 1, 0),
        ("sidekey of bare hyper, unix", 3, 2),
        ("audited, of not audited", 4, 3),
        ("required, of not audited", 5, 3),
    ] {
        let (rate, cost) = (rates[ours] / rates[other], costs[other] / costs[ours]);
        println!("{what:<28} {rate:>9.2} by requests/s {cost:>6.2} by the processor");
    }
}

/// The client's threads never sleep: to wake them would cost the server as much as a third of an answer, and a slower server,
/// which finds them asleep more often, more than a faster one.
fn keep_awake(client: &tokio::runtime::Runtime, workers: usize) {
    for _ in 0..workers {
        client.spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
    }
}

/// What the server's threads, and those that write the audit, have taken of the processor so far.
fn spent() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux tells of threads");
    let of = |thread: PathBuf| -> Option<u64> {
        let name = std::fs::read_to_string(thread.join("comm")).ok()?;
        let told = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        if [SERVER, "audit"].contains(&name.trim_end()) { told.split(' ').next()?.parse().ok() } else { None }
    };
    Duration::from_nanos(threads.filter_map(|thread| of(thread.ok()?.path())).sum())
}

/// Requests over all connections in one round, and how many they were a second.
async fn load(place: &Place, requests: &Arc<Vec<Vec<u8>>>) -> (u32, f64) {
    let mut clients = JoinSet::new();
    let began = Instant::now();
    for first in 0..CONNECTIONS {
        let requests = Arc::clone(requests);
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await.expect("a connection");
                stream.set_nodelay(true).expect("an option");
                clients.spawn(async move { ask(stream, &requests, first, |_| began.elapsed() < ROUND).await });
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.expect("a connection");
                clients.spawn(async move { ask(stream, &requests, first, |_| began.elapsed() < ROUND).await });
            }
        }
    }
    let mut count = 0;
    while let Some(done) = clients.join_next().await {
        count += done.expect("a client that ends");
    }
    (count, f64::from(count) / began.elapsed().as_secs_f64())
}

/// Asks one after the other while it is told to; how often.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    requests: &[Vec<u8>],
    first: usize,
    goes_on: impl Fn(u32) -> bool,
) -> u32 {
    let mut buffer = vec![0; 4_096];
    let mut count = 0;
    while goes_on(count) {
        let request = &requests[(first + count as usize) % requests.len()];
        stream.write_all(request).await.expect("a request goes out");
        let (head, length) = read(&mut stream, &mut buffer).await;
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..head + length]));
        count += 1;
    }
    count
}

/// Every secret once, so that all are held.
async fn warm(place: &Place, requests: &[Vec<u8>]) {
    let Place::Tcp(address) = place else { panic!("asked over TCP") };
    let stream = TcpStream::connect(address).await.expect("a connection");
    ask(stream, requests, 0, |asked| (asked as usize) < requests.len()).await;
}

/// Reads one answer; the lengths of its head and its body.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        let more = stream.read(&mut buffer[filled..]).await.expect("an answer");
        assert!(more > 0, "the server closed");
        filled += more;
        let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let head = end + 4;
        let at = memchr::memmem::find(&buffer[..head], b"content-length: ").expect("a length") + 16;
        let digits = buffer[at..head].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        if filled >= head + length {
            return (head, length);
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
