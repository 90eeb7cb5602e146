//! All figures in one table: runs the other benchmarks one after the other, shows what they print, and then their rows
//! under one head. Takes about ten minutes beside building.
//!
//! `cargo bench --locked --bench figures [-- NAME…]`: all of them, or those of these names. On a machine with other work to
//! do, ratios mean something and times do not: the load is told before and after.

#![allow(missing_docs, clippy::print_stdout, reason = "printing is what it is for")]

mod table;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use table::{HEAD, Machine, START};

/// In this order: first what others' heat and memory would change the most.
const BENCHMARKS: [&str; 6] = ["hits", "latency", "search", "first_listing", "footprint", "exec"];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &&str| names.is_empty() || names.iter().any(|one| one == name);
    let before = Machine.to_string();
    println!("{before}");
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for name in BENCHMARKS.into_iter().filter(wanted) {
        println!("\n=== {name}");
        match run(name) {
            Some(more) => rows.extend(more),
            None => failed.push(name),
        }
    }
    println!("\n{before}; {Machine}\n\n{}", HEAD.join("\n"));
    rows.iter().for_each(|row| println!("{row}"));
    failed.iter().for_each(|name| println!("{START}{name} | failed | | | | no |"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The rows that a benchmark prints; `None` if it fails.
fn run(name: &str) -> Option<Vec<String>> {
    let mut command = cargo(&["bench", "--locked", "--bench", name]);
    if name == "latency" {
        // As what ships: where a clock can be paused, a search takes a thread more.
        command.arg("--no-default-features");
    }
    command.arg("--");
    if name == "footprint" {
        // What ships is measured, not what is built for benchmarks.
        command.arg(shipped()?);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    let mut rows = Vec::new();
    for line in BufReader::new(child.stdout.take()?).lines().map_while(Result::ok) {
        println!("{line}");
        if line.starts_with(START) {
            rows.push(line);
        }
    }
    child.wait().is_ok_and(|status| status.success()).then_some(rows)
}

fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// The binary as it is built for a release.
fn shipped() -> Option<PathBuf> {
    let mut build = Command::new("deploy/build.sh");
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().ok()?;
    let told = String::from_utf8(built.stdout).ok()?;
    built.status.success().then(|| PathBuf::from(told.trim()))
}
