//! What `exec` adds to the start of a program: `cargo bench --bench exec -- ROUNDS`, three hundred unless told otherwise. A
//! warm sidecar, twenty references, and the same program started alone, in turns.
//!
//! `cargo bench --bench exec -- storm`: how often a program is restarted whose secret is rotated a hundred times in a
//! minute, and how soon it has the last value.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, dead_code, unreachable_pub, reason = "a bench")]
#![allow(clippy::disallowed_methods, reason = "rotations come at a pace")]

#[path = "../tests/it/cli/process.rs"]
mod process;
mod table;

use std::process::{Command, Stdio};
use std::time::Duration;

use process::{Azure, SIDEKEY, Staying};
use table::{Figure, Goal};
use tokio::time::Instant;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "storm") {
        return storm();
    }
    start(words.iter().find_map(|word| word.parse().ok()).unwrap_or(300));
}

fn start(rounds: usize) {
    let azure = Azure::demo();
    for n in 0..20 {
        azure.set("pay-prod", &format!("bench-{n}"), &format!("the value of {n}"));
    }
    let (_serving, _) = azure.serve("");
    let mut under = Command::new(SIDEKEY);
    under.args(["exec", "--addr", &azure.socket(), "--", "/bin/true"]).env_clear();
    for n in 0..20 {
        under.env(format!("BENCH_{n}"), format!("secret://pay-prod/bench-{n}"));
    }
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
    let [with, without] = [with, without].map(|mut times| {
        times.sort_unstable();
        [1, 5, 9].map(|tenth| times[times.len() * tenth / 10].as_secs_f64() * 1e3)
    });
    println!("{rounds} rounds in ms, of ten the fastest, the median, and but for one the slowest");
    println!("alone                          {:6.2} {:6.2} {:6.2}", without[0], without[1], without[2]);
    println!("under exec, with 20 references {:6.2} {:6.2} {:6.2}", with[0], with[1], with[2]);
    let row = Figure::new("`exec` of 20 references from a warm sidecar", with[1], "ms");
    let more: Vec<_> = with.iter().zip(without).map(|(with, without)| with - without).collect();
    println!("more                           {:6.2} {:6.2} {:6.2}", more[0], more[1], more[2]);
    row.beside("the program alone", without[1]).row(Goal::MoreAtMost(5.0));
}

fn time(command: &mut Command) -> Duration {
    let began = Instant::now();
    assert!(command.status().unwrap().success());
    began.elapsed()
}

fn storm() {
    const ROTATIONS: u32 = 100;
    let azure = Azure::demo();
    azure.configure("[cache]\nlisting_interval = \"200ms\"");
    let (_serving, _) = azure.serve("");
    let mut command = Command::new(SIDEKEY);
    command.args(["exec", "--addr", &azure.socket(), "--watch", "restart", "--set", "A=pay-prod/db-password", "--"]);
    command.args(["/bin/sh", "-c", "echo \"value $A\"; exec sleep 1000"]).env_clear().stderr(Stdio::null());
    let mut running = Staying::start(command);
    running.read_until("value ");
    let began = Instant::now();
    let restarts = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=ROTATIONS {
                azure.set("pay-prod", "db-password", &format!("number {n}"));
                // Azure tells the second of a change: of two in one second, listings show one. The last is by itself.
                std::thread::sleep(Duration::from_millis(if n + 1 == ROTATIONS { 1_500 } else { 600 }));
            }
        });
        let mut restarts = Vec::new();
        loop {
            let value = running.read_until("value ");
            restarts.push(began.elapsed().as_secs());
            if value.trim() == format!("value number {ROTATIONS}") {
                return restarts;
            }
        }
    });
    println!("{ROTATIONS} rotations in a minute: {} restarts, after {restarts:?} seconds", restarts.len());
}
