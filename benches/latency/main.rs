//! How long a held value takes at half of the rate that the server can do: beside a bare hyper server at the same rate, and
//! while the server does everything else that it does (stale values, searches, listings, a vault that is down) beside the
//! same server at hits alone. Requests go out when they are due, whatever became of those before, and are timed from then; what
//! is told is the round in the middle.
//!
//! `cargo bench --no-default-features --bench latency` takes two minutes; without the emulator, as what ships.
#![allow(missing_docs, clippy::print_stdout, reason = "it is a program that prints")]

#[path = "../asking/mod.rs"]
mod asking;
#[path = "../hits/contenders.rs"]
mod contenders;
mod load;
mod mixed;
#[path = "../table/mod.rs"]
mod table;

use std::sync::Arc;
use std::time::Duration;

use table::{Cores, Figure, Goal, pin, runtime};
use zeroizing_alloc::ZeroAlloc;

use load::{Rounds, paced, top_rate};

/// As the program has it, and the bare server with it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const CONNECTIONS: usize = 64;
const NAMES: usize = 100;
const ROUNDS: usize = 25;
const ROUND: Duration = Duration::from_secs(1);

fn main() {
    let cores = Cores::halves();
    // What the server starts beside its runtime stays on those of this thread.
    pin(&cores.server);
    println!("server on cores {:?}, askers on {:?}; {CONNECTIONS} connections", cores.server, cores.askers);
    bare(&cores);
    mixed::measure(&cores);
}

/// Bare hyper's latencies and ours, in turns.
fn bare(cores: &Cores) {
    let (server, client) = (runtime(&cores.server), runtime(&cores.askers));
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let mut contenders = contenders::start(&server, &client, directory.path());
    contenders.truncate(2);
    // Both at half of what ours can do.
    let of = |contender: &contenders::Contender| -> Vec<f64> {
        (0..3).map(|_| client.block_on(top_rate(&contender.place, &contender.requests))).collect()
    };
    // The bare one is asked as much, to be as warm.
    let [_, mut rates] = [0, 1].map(|at| of(&contenders[at]));
    let rate = table::median(&mut rates) / 2.0;
    println!("{rate:.0} requests/s to each");
    let mut all = [Rounds::default(), Rounds::default()];
    for _ in 0..ROUNDS {
        for (contender, rounds) in contenders.iter().zip(&mut all) {
            let requests = Arc::clone(&contender.requests);
            rounds.push(client.block_on(paced(&contender.place, rate, move |n| (true, requests[n % NAMES].clone()))));
        }
    }
    let [bare, ours] = all;
    print(contenders[0].name, &bare);
    print(contenders[1].name, &ours);
    Figure::new("p99.9 of a hit over TCP at half of the top rate", ours.at(0.999), "ms")
        .beside("bare hyper", bare.at(0.999))
        .failed(ours.failed() + bare.failed())
        .row(Goal::TimesAtMost(1.3));
}

fn print(name: &str, rounds: &Rounds) {
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| rounds.at(share));
    println!(
        "{name:<28} {:>8} answers, {} failed; ms: p50 {p50:.3}, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}",
        rounds.answers(),
        rounds.failed()
    );
}
