//! One form for what the benchmarks show, so that `figures` can put all of it into one table: a row says what was measured,
//! what it came to, what a yardstick came to in the same run, and whether that is what we want. And the cores that a
//! server and those who ask it do not share.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Runtime};

/// What a line starts with that is a row.
pub const START: &str = "| ";
/// The first lines of the table.
pub const HEAD: [&str; 2] = ["| what | ours | yardstick, same run | ratio | goal | met |", "|---|---|---|---|---|---|"];

/// What was measured.
#[derive(Debug, Clone)]
pub struct Figure {
    what: String,
    ours: f64,
    unit: &'static str,
    yardstick: Option<(String, f64)>,
    remark: String,
}

/// What we want of it.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Ours is at most that.
    AtMost(f64),
    /// Ours is at least that share of the yardstick.
    ShareAtLeast(f64),
    /// Ours is at most that many times the yardstick.
    TimesAtMost(f64),
    /// Ours is at most the yardstick and that.
    MoreAtMost(f64),
    /// It is told, and nothing more.
    None,
}

impl Figure {
    pub fn new(what: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self { what: what.into(), ours, unit, yardstick: None, remark: String::new() }
    }

    /// In milliseconds.
    pub fn time(what: impl Into<String>, ours: Duration) -> Self {
        Self::new(what, milliseconds(ours), "ms")
    }

    /// What another came to in the same run.
    #[must_use]
    pub fn beside(mut self, name: impl Into<String>, value: f64) -> Self {
        self.yardstick = Some((name.into(), value));
        self
    }

    /// What did not go as it should, if anything did: said beside the figure.
    #[must_use]
    pub fn failed(mut self, answers: u64) -> Self {
        if answers > 0 {
            self.remark = format!(", {answers} failed");
        }
        self
    }

    /// Prints the row.
    pub fn row(&self, goal: Goal) {
        let beside = self.yardstick.as_ref().map(|(_, value)| *value);
        let ratio = beside.map(|beside| self.ours / beside);
        let (wanted, met) = match goal {
            Goal::AtMost(most) => (format!("≤ {}", number(most, self.unit)), Some(self.ours <= most)),
            Goal::ShareAtLeast(least) => (format!("≥ {least:.2} of it"), ratio.map(|ratio| ratio >= least)),
            Goal::TimesAtMost(most) => (format!("≤ {most:.1} × it"), ratio.map(|ratio| ratio <= most)),
            Goal::MoreAtMost(more) => {
                (format!("≤ {} over it", number(more, self.unit)), beside.map(|beside| self.ours - beside <= more))
            }
            Goal::None => (String::new(), None),
        };
        let yardstick = self.yardstick.as_ref();
        println!(
            "{START}{} | {}{} | {} | {} | {wanted} | {} |",
            self.what,
            number(self.ours, self.unit),
            self.remark,
            yardstick.map_or_else(String::new, |(name, value)| format!("{name}: {}", number(*value, self.unit))),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            met.map_or("", |met| if met && self.remark.is_empty() { "yes" } else { "no" }),
        );
    }
}

/// Three digits that mean something, with commas in what is large.
fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let parts: Vec<&str> =
        whole.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).expect("digits")).collect();
    // What is exact needs no zeros after it.
    let rest = rest.trim_end_matches('0').trim_end_matches('.');
    format!("{}{rest} {unit}", parts.join(","))
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The one in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    at(values, 0.5)
}

/// The one that so large a share of them does not exceed.
pub fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// Two sets of cores, of those that this process may run on: one for a server and one for those who ask it. On one core
/// they are the same.
#[derive(Debug, Clone)]
pub struct Cores {
    pub server: Vec<usize>,
    pub askers: Vec<usize>,
}

impl Cores {
    /// As nearly half of them each as can be.
    pub fn halves() -> Self {
        let all = mine();
        let (server, askers) = all.split_at(all.len() / 2);
        let or_all = |half: &[usize]| if half.is_empty() { all.clone() } else { half.to_vec() };
        Self { server: or_all(server), askers: or_all(askers) }
    }
}

/// Keeps the calling thread, and those that it starts, on these cores.
pub fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).expect("cores that this process may run on");
}

/// Threads for as many cores, each kept on one of its own: two of them on one core while another idles is a slice of the
/// scheduler, milliseconds, for one request in a thousand, and says nothing of a server. What they start to block is kept so too.
pub fn runtime(cores: &[usize]) -> Runtime {
    let (own, next) = (cores.to_vec(), AtomicUsize::new(0));
    let mut builder = Builder::new_multi_thread();
    let each = move || pin(&[own[next.fetch_add(1, Ordering::Relaxed) % own.len()]]);
    builder.worker_threads(cores.len()).on_thread_start(each).enable_all();
    builder.build().expect("a runtime")
}

/// The cores that this process may run on.
pub fn mine() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("the system tells");
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// What the figures hold for: the processor, its cores, the kernel, and how busy it all is.
#[derive(Debug)]
pub struct Machine;

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model =
            cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        write!(
            f,
            "{} cores of {}, Linux {}, {} processes wanted to run in the last minute",
            mine().len(),
            model.unwrap_or("an unknown processor"),
            kernel.trim(),
            load.split(' ').next().unwrap_or("?")
        )
    }
}
