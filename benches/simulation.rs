//! The simulation of the core over many seeds, on all cores: `cargo bench --bench simulation [-- --seeds N] [--from N]`.
//! `-- --first` stops at the first failure. `-- --seed N` lives through one seed and tells all that happened. Ends with an
//! error if a rule was broken, or if two kinds of faults were never active at once.
//! `-- --fleet N [--secrets 50] [--spread S] [--lives S] [--kept AGE]`: N sidecars that start together, with snapshots or
//! without. `-- --outage HOURS`: a vault that is down for so long.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a runner prints, and says where it stops"
)]

#[path = "../tests/it/simulation/mod.rs"]
mod simulation;

use std::process::ExitCode;
use std::time::Duration;

use simulation::fault::Kind;
use simulation::fleet::Start;
use simulation::{fleet, runner, scenarios, simulate};
use tokio::time::Instant;

fn main() -> ExitCode {
    if let Some(seed) = number("--seed") {
        return one(seed);
    }
    if let Some(hours) = number("--outage") {
        println!("{:#?}", scenarios::outage(hours));
        return ExitCode::SUCCESS;
    }
    if let Some(sidecars) = number("--fleet") {
        let (secrets, seconds) = (number("--secrets").unwrap_or(50), number("--lives").unwrap_or(300));
        let spread = Duration::from_secs(number("--spread").unwrap_or(1));
        let start = number("--kept").map_or(Start::Cold, |age| Start::Kept(Duration::from_secs(age)));
        println!(
            "{:#?}",
            fleet::restart(sidecars as usize, secrets as usize, start, spread, Duration::from_secs(seconds))
        );
        return ExitCode::SUCCESS;
    }
    let (from, seeds) = (number("--from").unwrap_or(0), number("--seeds").unwrap_or(100_000));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let began = Instant::now();
    let first = std::env::args().any(|arg| arg == "--first");
    let tally = runner::run(from..from + seeds, threads, if first { 1 } else { 20 });
    if let (true, Some((seed, _, rule))) = (first, tally.failures.first()) {
        println!("first: \"{rule}\" at seed {seed}, after {} seeds", tally.seeds);
        return ExitCode::FAILURE;
    }
    let took = began.elapsed().as_secs_f64();
    let days = tally.lived as f64 / 86_400_000.0;
    println!(
        "{} seeds in {took:.1} s on {threads} threads, {:.0} seeds/s: {days:.0} days lived, {} calls, {} readings",
        tally.seeds,
        tally.seeds as f64 / took,
        tally.calls,
        tally.readings
    );
    matrix(&tally);
    let missing = tally.missing_pairs();
    for (one, other) in &missing {
        println!("never at once: {} and {}", one.name(), other.name());
    }
    for (_, story, _) in tally.failures.iter().take(3) {
        println!("\n{story}");
    }
    let mut rules: Vec<_> = tally.failures.iter().map(|(seed, _, rule)| (*rule, *seed)).collect();
    rules.sort_unstable();
    for (rule, seed) in &rules {
        println!("broken: {rule}: seed {seed}");
    }
    let covered = missing.is_empty() || seeds < 100_000;
    let outage = scenarios::outage(72);
    println!("\na vault that is down for 72 hours, 50 values read every 30 s: {outage:#?}");
    let served = (outage.unserved, outage.untrue, outage.unmarked) == (0, 0, 0);
    let recovered = outage.recovered <= 62_000 && outage.peak_after <= 12;
    if rules.is_empty() && covered && served && recovered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64) -> ExitCode {
    let (plan, book, broken) = simulate(seed);
    let (key, at) = broken.as_ref().map_or((None, u64::MAX), |broken| (broken.key, broken.at + 3_000));
    println!("{:?} {:?}\n{}", plan.broker, plan.catalog, book.excerpt(&plan, key, at, usize::MAX));
    match broken {
        None => {
            println!("seed {seed} breaks no rule");
            ExitCode::SUCCESS
        }
        Some(broken) => {
            println!("seed {seed} breaks {broken:?}");
            ExitCode::FAILURE
        }
    }
}

/// In how many worlds each pair of kinds was active at once.
fn matrix(tally: &runner::Tally) {
    println!("worlds in which both were active at once, on one vault:");
    for (row, kind) in Kind::ALL.iter().enumerate() {
        let cells = (0..row).map(|column| format!("{:>5}", tally.pairs[column][row])).collect::<String>();
        println!("{row:>3} {:<22}{cells}", kind.name());
    }
}

fn number(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.next()?;
    args.next()?.parse().ok()
}
