//! Search over 100,000 and 1,000,000 names in 500 vaults, through the public face of the catalog: how long the first page
//! takes, beside one scan of all names in one buffer that finds the same; what the names take in memory; and what a
//! listing costs that brings nothing new, or one thing.
//!
//! `cargo bench --bench search [-- WORD] [--names N]`: only the modes with that word in their names, over so many names.

#![allow(clippy::print_stdout, missing_docs, reason = "a benchmark prints")]

mod estate;
#[path = "../table/mod.rs"]
mod table;

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memchr::memmem::Finder;
use rustix::time::{ClockId, clock_gettime};
use sidekey::catalog::{Catalog, Query};
use sidekey::secret::{SecretName, VaultName};
use table::{Figure, Goal, at, median, milliseconds};
use tokio::time::Instant;
use zeroizing_alloc::ZeroAlloc;

/// As the program has it: what a search frees is wiped.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// How long each mode is measured.
const BUDGET: Duration = Duration::from_millis(500);
/// Listings of one vault that are measured.
const LISTINGS: usize = 101;

type Parameters<'p> = &'p [(&'p str, &'p str)];

/// What is wanted of a mode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quick,
    Slow,
    /// Told for itself.
    Other,
}

const MODES: &[(Kind, &str, Parameters<'_>)] = &[
    (Kind::Other, "everything", &[]),
    (Kind::Other, "everything, newest first", &[("sort", "-updated")]),
    (Kind::Other, "everything, backwards", &[("sort", "-name")]),
    (Kind::Quick, "substring, rare", &[("q", "00-42-")]),
    (Kind::Quick, "substring, 2.5 %", &[("q", "redis")]),
    (Kind::Quick, "substring, 12.5 %", &[("q", "password")]),
    (Kind::Quick, "substring, none", &[("q", "absent")]),
    (Kind::Quick, "exact", &[("q", "orders-redis-password-7-42"), ("match", "exact")]),
    (Kind::Quick, "prefix", &[("q", "orders-re"), ("match", "prefix")]),
    (Kind::Quick, "glob, prefix", &[("q", "orders-*"), ("match", "glob")]),
    (Kind::Quick, "glob, two parts", &[("q", "orders-*-password-*"), ("match", "glob")]),
    (Kind::Quick, "glob, class", &[("q", "orders-*-[0-4]?"), ("match", "glob")]),
    (Kind::Quick, "glob, vaults", &[("q", "redis"), ("vault", "vault-1*")]),
    (Kind::Quick, "tag", &[("tag", "team=team-7")]),
    (Kind::Quick, "tag and substring", &[("tag", "team=team-7"), ("q", "redis")]),
    (Kind::Other, "expires within 30 days", &[("expires_within", "30d"), ("sort", "expires")]),
    (Kind::Slow, "regex", &[("q", "^orders-.*-[0-9]{2}$"), ("match", "regex")]),
    (Kind::Slow, "regex, unanchored", &[("q", "red.s-(token|key)"), ("match", "regex")]),
    (Kind::Slow, "fuzzy", &[("q", "redpw"), ("match", "fuzzy")]),
    (Kind::Slow, "fuzzy, long", &[("q", "ordersredispassword"), ("match", "fuzzy")]),
    (Kind::Slow, "fuzzy, one letter", &[("q", "e"), ("match", "fuzzy")]),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let told = |flag: &str| words.iter().skip_while(|word| *word != flag).nth(1)?.parse::<usize>().ok();
    if let Some(names) = told("--memory") {
        return memory(names).await;
    }
    let word = words.first().filter(|word| !word.starts_with('-')).cloned().unwrap_or_default();
    let sizes = told("--names").map_or_else(|| vec![100_000, 1_000_000], |names| vec![names]);
    for names in sizes {
        modes(names, &word).await;
        if word.is_empty() {
            let mut itself = Command::new(std::env::current_exe().expect("itself"));
            assert!(itself.args(["--memory", &names.to_string()]).status().expect("a start").success());
            updates(names).await;
        }
    }
}

async fn modes(names: usize, word: &str) {
    let before = Instant::now();
    let catalog = estate::listed(estate::vaults(names)).await;
    println!("\n{names} names in {} vaults, made and listed in {:.0?}", estate::VAULTS, before.elapsed());
    println!(
        "{:26} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7}",
        "first page of 100, µs", "p50", "p99", "CPU p50", "CPU p99", "hits", "rounds"
    );
    let buffer: String = estate::vaults(names)
        .iter()
        .flat_map(|vault| (0..names / estate::VAULTS).map(|s| vault.name(s) + "\n"))
        .collect();
    let mut worst: [Option<(f64, f64, &str)>; 2] = [None; 2];
    let mut rows = Vec::new();
    for (kind, mode, parameters) in MODES.iter().filter(|(_, mode, _)| mode.contains(word)) {
        let search = || {
            let query = Query::from_parameters(parameters.iter().copied()).expect("a query");
            let page = catalog.search(&query).expect("an answer");
            assert!(page.complete);
            page.total
        };
        let (p99, used) = measure(mode, search);
        if *kind != Kind::Other {
            let slot = &mut worst[usize::from(*kind == Kind::Slow)];
            // By what the processor had to do: that is the same on a busy machine.
            if slot.is_none_or(|(_, most, _)| used > most) {
                *slot = Some((p99, used, mode));
            }
        }
        if let (true, [("q", needle)]) = (mode.starts_with("substring"), parameters) {
            let (scan, _) = measure("  one scan of one buffer", || scan(&buffer, needle));
            rows.push(Figure::new(format!("search of {names} names, {mode}, p99"), p99, "ms").beside("one scan", scan));
        }
    }
    holders(&catalog);
    println!();
    rows.iter().for_each(|row| row.row(Goal::None));
    let goals = if names > 100_000 { [4.0, 60.0] } else { [0.5, 8.0] };
    for ((worst, goal), family) in worst.iter().zip(goals).zip(["substring, glob, tag", "regex, fuzzy"]) {
        let Some((p99, used, mode)) = worst else { continue };
        let what = format!(
            "search of {names} names in {} vaults: {family}; p99 of the slowest ({mode}; of the processor {used:.2} ms)",
            estate::VAULTS
        );
        Figure::new(what, *p99, "ms").row(Goal::AtMost(goal));
    }
}

/// What no search can do without: every name that holds the needle is found, once, and it is told which it is.
fn scan(buffer: &str, needle: &str) -> usize {
    let (finder, names) = (Finder::new(needle), buffer.as_bytes());
    let (mut from, mut found) = (0, Vec::new());
    while let Some(place) = finder.find(&names[from..]) {
        found.push(from + place);
        from += place + memchr::memchr(b'\n', &names[from + place..]).expect("every name ends");
    }
    black_box(found).len()
}

fn holders(catalog: &Catalog) {
    let name: SecretName = "orders-redis-password-7-42".parse().expect("a name");
    measure("which vaults hold it", || catalog.holders(&name).held_by.len());
}

/// Prints what one takes, in real time and in that of the processor, which others' work changes less; the p99 of both in
/// milliseconds.
fn measure(mode: &str, mut act: impl FnMut() -> usize) -> (f64, f64) {
    let (mut real, mut processor) = (Vec::new(), Vec::new());
    let mut total = 0;
    let start = Instant::now();
    while start.elapsed() < BUDGET {
        let (before, used) = (Instant::now(), used());
        total = act();
        real.push(before.elapsed().as_secs_f64() * 1e6);
        processor.push((self::used() - used) * 1e6);
    }
    let rounds = real.len();
    let [p50, p99] = [0.5, 0.99].map(|share| at(&mut real, share));
    let [cpu50, cpu99] = [0.5, 0.99].map(|share| at(&mut processor, share));
    println!("{mode:26} {p50:>9.1} {p99:>9.1} {cpu50:>9.1} {cpu99:>9.1} {total:>8} {rounds:>7}");
    (p99 / 1e3, cpu99 / 1e3)
}

/// Seconds that this thread has had of a processor.
fn used() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// In a process of its own, which has done nothing else.
async fn memory(names: usize) {
    let vaults = estate::vaults(names);
    let before = resident();
    let catalog = estate::listed(vaults).await;
    let (rows, all) = (catalog.heap_bytes() as f64 / 1e6, resident());
    println!("{names} names: {rows:.1} MB packed; resident: {before:.1} MB without them, {all:.1} MB with them");
    let goal = if names > 100_000 { 300.0 } else { 40.0 };
    Figure::new(format!("memory of a process that has listed {names} names"), all, "MB").row(Goal::AtMost(goal));
}

/// What a listing of one vault of many costs, against the same vault by itself.
async fn updates(names: usize) {
    let secrets = names / estate::VAULTS;
    for (what, step) in [("nothing new", 0), ("one change", 1)] {
        let mut medians = [0.0; 2];
        for (vaults, median_of) in
            [estate::vaults(names), vec![estate::Made::new(0, secrets)]].into_iter().zip(&mut medians)
        {
            let first = std::sync::Arc::clone(&vaults[0]);
            let catalog = estate::listed(vaults).await;
            let name: VaultName = "vault-000".parse().expect("a name");
            let mut took = Vec::new();
            for _ in 0..LISTINGS {
                first.moved.fetch_add(step, Ordering::Relaxed);
                let before = Instant::now();
                catalog.refresh(Some(&name)).await;
                took.push(milliseconds(before.elapsed()));
            }
            *median_of = median(&mut took);
        }
        let [of_many, alone] = medians;
        let what = format!("a listing of {secrets} names with {what}, one vault of {}", estate::VAULTS);
        Figure::new(what, of_many, "ms").beside("the vault alone", alone).row(Goal::None);
    }
}

/// Megabytes that the process holds in memory now.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells");
    let kib: f64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number");
    kib * 1024.0 / 1e6
}
