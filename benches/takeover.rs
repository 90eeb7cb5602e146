//! Sidecars that take the socket over from each other while callers read: `cargo bench --bench takeover -- ROUNDS`, a
//! thousand unless told otherwise. In each, a new process becomes ready, takes the socket over, and the old one is ended
//! by SIGTERM. Ends with 1 if any read failed.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, dead_code, unreachable_pub, reason = "a bench")]

#[path = "../tests/it/cli/process.rs"]
mod process;
#[path = "../tests/it/cli/relay.rs"]
mod relay;

use std::process::ExitCode;

use process::Azure;
use relay::{Load, round};

fn main() -> ExitCode {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000);
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let (mut serving, _) = azure.serve("");
    let load = Load::on(&azure.socket(), "pay-prod", "db-password", "Autumn-2026-staple");
    let began = tokio::time::Instant::now();
    for done in 1..=rounds {
        serving = round(&azure, serving);
        if done % 100 == 0 {
            println!("{done} rounds after {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let figures = load.end();
    assert_eq!(serving.stop(), Some(0));
    println!(
        "{rounds} rounds in {seconds:.0} s: {} reads over {} connections, {} failed",
        figures.reads,
        figures.connections,
        figures.failed.len()
    );
    for why in figures.failed.iter().take(20) {
        println!("  {why}");
    }
    if figures.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
