//! What `exec` adds to the start of a program: `cargo bench --bench exec -- ROUNDS`, three hundred unless told otherwise. A
//! warm sidecar, twenty references, and the same program started alone, in turns; medians.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, dead_code, unreachable_pub, reason = "a bench")]

#[path = "../tests/it/cli/process.rs"]
mod process;

use std::process::Command;
use std::time::Duration;

use process::{Azure, SIDEKEY};
use tokio::time::Instant;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(300);
    let azure = Azure::demo();
    let (_serving, _) = azure.serve("");
    let names: Vec<String> = (0..20).map(|n| format!("bench-{n}")).collect();
    let mut under = Command::new(SIDEKEY);
    under.args(["exec", "--addr", &azure.socket(), "--", "/bin/true"]).env_clear();
    for name in &names {
        // Different addresses of one secret would be one reference: fields of one document are twenty.
        under.env(name, format!("secret://pay-prod/bench#/{name}"));
    }
    let fields: Vec<String> = names.iter().map(|name| format!("\"{name}\":\"value of {name}\"")).collect();
    azure.set("pay-prod", "bench", &format!("{{{}}}", fields.join(",")));
    let mut alone = Command::new("/bin/true");
    alone.env_clear();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..rounds + 10 {
        let pair = (time(&mut under), time(&mut alone));
        // The first are for whatever is cold.
        if round >= 10 {
            with.push(pair.0);
            without.push(pair.1);
        }
    }
    let (with, without) = (median(with), median(without));
    println!(
        "{rounds} rounds: alone {without:.2} ms, under exec with 20 references {with:.2} ms, {:.2} ms more",
        with - without
    );
}

fn time(command: &mut Command) -> Duration {
    let began = Instant::now();
    assert!(command.status().unwrap().success());
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
