//! Many seeds on all cores, and what they have covered.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::fault::Kind;
use super::plan::Plan;
use super::simulate;

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub calls: u64,
    pub readings: u64,
    /// Virtual time lived through.
    pub lived: u64,
    /// How many worlds had both kinds active at once, for kinds of a lower and a higher index.
    pub pairs: Vec<Vec<u64>>,
    /// Seeds that broke a rule, with their story; at most a few.
    pub failures: Vec<(u64, String, &'static str)>,
}

/// One seed in so many is lived through twice, to see that it is the same history.
const TWICE: u64 = 50;

/// Runs these seeds on that many threads, until one of them has met `enough` failures.
pub fn run(seeds: Range<u64>, threads: usize, enough: usize) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicUsize::new(0);
    let whole = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Tally { pairs: vec![vec![0; Kind::ALL.len()]; Kind::ALL.len()], ..Tally::default() };
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.load(Ordering::Relaxed) >= enough {
                        break;
                    }
                    own.take(seed);
                    failed.fetch_max(own.failures.len(), Ordering::Relaxed);
                }
                whole.lock().unwrap().add(own);
            });
        }
    });
    let mut whole = whole.into_inner().unwrap();
    whole.failures.sort();
    whole
}

/// How to look at one seed again.
pub fn again(seed: u64) -> String {
    format!("cargo bench --bench simulation -- --seed {seed}")
}

impl Tally {
    fn take(&mut self, seed: u64) {
        let (plan, book, broken) = simulate(seed);
        self.seeds += 1;
        self.calls += book.calls.len() as u64;
        self.readings += book.readings.len() as u64;
        self.lived += plan.end;
        for (one, other) in pairs(&plan) {
            self.pairs[one][other] += 1;
        }
        let again_the_same = !seed.is_multiple_of(TWICE) || simulate(seed).1.print() == book.print();
        if !again_the_same {
            self.failures.push((
                seed,
                format!("seed {seed} is another history each time"),
                "0 the same seed is the same history",
            ));
        }
        if let Some(broken) = broken {
            let story = book.excerpt(&plan, broken.key, broken.at, 40);
            let text = format!(
                "seed {seed} breaks \"{}\" at {} ms, {:?}: {}\n{story}again: {}",
                broken.rule,
                broken.at,
                broken.key,
                broken.what,
                again(seed)
            );
            self.failures.push((seed, text, broken.rule));
        }
    }

    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.calls += other.calls;
        self.readings += other.readings;
        self.lived += other.lived;
        self.failures.extend(other.failures);
        self.pairs.resize(other.pairs.len(), vec![0; other.pairs.len()]);
        for (own, other) in self.pairs.iter_mut().zip(&other.pairs) {
            for (own, other) in own.iter_mut().zip(other) {
                *own += other;
            }
        }
    }

    /// Pairs of kinds that were never active at once.
    pub fn missing_pairs(&self) -> Vec<(Kind, Kind)> {
        let all = 0..Kind::ALL.len();
        let pairs = all.clone().flat_map(|one| (one + 1..all.end).map(move |other| (one, other)));
        pairs
            .filter(|(one, other)| self.pairs[*one][*other] == 0)
            .map(|(one, other)| (Kind::ALL[one], Kind::ALL[other]))
            .collect()
    }
}

/// The kinds that are active at once in that world, wherever they touch the same vault.
fn pairs(plan: &Plan) -> BTreeSet<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    for (n, one) in plan.faults.iter().enumerate() {
        for other in &plan.faults[n + 1..] {
            let meet = one.from < other.to && other.from < one.to;
            let same = one.vault.is_none() || other.vault.is_none() || one.vault == other.vault;
            if meet && same && one.kind != other.kind {
                let (one, other) = (one.kind as usize, other.kind as usize);
                pairs.insert((one.min(other), one.max(other)));
            }
        }
    }
    pairs
}
