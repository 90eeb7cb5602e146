//! How many cached reads a second the API answers, over TCP with a token and over the unix socket, against a bare hyper
//! server that returns the same bytes in the same run. Rounds are interleaved, medians are told: take the ratios, not
//! the figures. Beside them the processor time that the server's threads took for a request, the kernel's part included:
//! what others do on the machine changes it less. Over the socket also with an audit, into a file in the working directory.
//! `cargo bench --bench hits` takes about 40 seconds; `cargo bench --bench hits --features
//! rustix/use-libc-auxv -- --instructions` counts what one read costs instead (valgrind hides the kernel's own auxv).
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr, reason = "it is a program that prints")]

#[path = "../asking/mod.rs"]
mod asking;
mod contenders;
mod instructions;
#[path = "../table/mod.rs"]
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use asking::{Place, ask, connect};
use table::{Cores, Figure, Goal, median, pin};
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
    // Neither takes the other's cores. What the server starts beside its runtime stays on those of this thread.
    let cores = Cores::halves();
    let workers = cores.server.len();
    pin(&cores.server);
    let runtime = |name, cores: Vec<usize>| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(cores.len()).thread_name(name).on_thread_start(move || pin(&cores));
        builder.enable_all().build().expect("a runtime")
    };
    let (server, client) = (runtime(SERVER, cores.server), runtime("client", cores.askers));
    keep_awake(&client, workers);
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let contenders = contenders::start(&server, &client, directory.path());
    // Of each: requests a second, and the microseconds that the server's threads took for one.
    let mut rounds: Vec<(Vec<f64>, Vec<f64>)> = contenders.iter().map(|_| Default::default()).collect();
    println!(
        "{CONNECTIONS} connections, {NAMES} names, {workers} server threads, {ROUNDS} rounds of {} ms each",
        ROUND.as_millis()
    );
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for (contender, (rates, costs)) in contenders.iter().zip(&mut rounds) {
            let before = spent();
            let (requests, rate) = client.block_on(load(&contender.place, &contender.requests));
            if round > 0 {
                rates.push(rate);
                costs.push((spent() - before).as_secs_f64() * 1e6 / f64::from(requests));
            }
        }
    }
    let medians = rounds.iter_mut().map(|(rates, costs)| (median(rates), median(costs)));
    let (rates, costs): (Vec<_>, Vec<_>) = medians.unzip();
    for (contender, (rate, cost)) in contenders.iter().zip(rates.iter().zip(&costs)) {
        println!("{:<30} {rate:>9.0} requests/s {cost:>6.2} µs of the processor", contender.name);
    }
    for (what, ours, other) in [
        ("sidekey of bare hyper, TCP", 1, 0),
        ("sidekey of bare hyper, unix", 3, 2),
        ("audited, of not audited", 5, 3),
        ("required, of not audited", 6, 3),
    ] {
        let (rate, cost) = (rates[ours] / rates[other], costs[other] / costs[ours]);
        println!("{what:<30} {rate:>9.2} by requests/s {cost:>6.2} by the processor");
    }
    for (what, goal, ours, bare) in [
        ("TCP, token and metrics on", 0.8, 1, 0),
        ("the unix socket, metrics on", 0.75, 3, 2),
        ("the unix socket, audited", 0.75, 5, 4),
    ] {
        let what = format!("held values over {what}, {CONNECTIONS} connections, {workers} cores");
        Figure::new(what, rates[ours], "/s").beside("bare hyper", rates[bare]).row(Goal::ShareAtLeast(goal));
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
        let mut stream = connect(place).await;
        clients.spawn(async move { ask(&mut *stream, &requests, first, |_| began.elapsed() < ROUND).await });
    }
    let mut count = 0;
    while let Some(done) = clients.join_next().await {
        count += done.expect("a client that ends");
    }
    (count, f64::from(count) / began.elapsed().as_secs_f64())
}
