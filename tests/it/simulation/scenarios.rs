//! Worlds that are not drawn but made, each for one question.

use std::collections::BTreeMap;
use std::time::Duration;

use sidekey::broker::BrokerOptions;
use sidekey::budget::BudgetOptions;
use sidekey::cache::CacheOptions;
use sidekey::catalog::CatalogOptions;

use super::clients;
use super::dice::Dice;
use super::fault::{Fault, Kind};
use super::history::{Answer, Book, Key};
use super::plan::{Deed, Plan, Question, View};
use super::truth::{MINUTE, Ms, SECOND, Secret};

/// One vault of so many names, all of them old; nothing goes wrong and nobody asks.
fn quiet(names: usize, end: Ms) -> Plan {
    let old = |_| Secret::live(Vec::new(), true, |_| 1_790_000_000, &mut Dice::of(0, &[]));
    Plan {
        seed: 0,
        broker: BrokerOptions::default(),
        catalog: CatalogOptions::default(),
        budget: BudgetOptions::default(),
        vaults: vec![(0..names).map(old).collect()],
        views: vec![View { source: 0, vault: 0 }],
        faults: Vec::new(),
        deeds: Vec::new(),
        healed: 0,
        end,
    }
}

/// What an outage of a vault was like for its readers.
#[derive(Debug)]
pub struct Outage {
    pub readings: usize,
    /// Readings that got no value, or waited for it.
    pub unserved: usize,
    /// Readings whose age was not the time since their value was last read upstream.
    pub untrue: usize,
    /// Readings past their time to live that did not say so.
    pub unmarked: usize,
    /// The greatest age told.
    pub oldest: Ms,
    /// The most calls of one second during the outage, listings left aside.
    pub peak_during: usize,
    pub calls_during: usize,
    /// The most calls of one second after it.
    pub peak_after: usize,
    /// How long after it the last value was fresh again.
    pub recovered: Ms,
}

/// A vault of 50 names, each read every 30 s, is down for so many hours.
pub fn outage(hours: u64) -> Outage {
    const NAMES: usize = 50;
    let (from, to) = (10 * MINUTE, 10 * MINUTE + hours * 60 * MINUTE);
    let mut plan = quiet(NAMES, to + 15 * MINUTE);
    plan.broker.cache =
        CacheOptions { max_stale: Duration::from_secs((hours + 24) * 3_600), ..CacheOptions::default() };
    plan.faults = vec![Fault { kind: Kind::Refused, vault: None, from, to, level: 1 }];
    plan.healed = to;
    for name in 0..NAMES {
        let first = name as Ms * 30 * SECOND / NAMES as Ms + 5 * SECOND;
        let times = (first..plan.end).step_by(30_000);
        plan.deeds.extend(times.map(|at| (at, Deed::Read(Question::of(0, name)))));
    }
    plan.deeds.sort_by_key(|(at, _)| *at);
    let book = clients::live(plan);
    report(&book, from, to)
}

fn report(book: &Book, from: Ms, to: Ms) -> Outage {
    let mut last_read: BTreeMap<Key, Ms> = BTreeMap::new();
    for call in book.calls.iter().filter(|call| call.start < from && call.told != super::history::Told::Nothing) {
        last_read.insert(call.key, call.start);
    }
    let proved = book.sweeps.iter().filter(|sweep| sweep.whole && sweep.start < from).map(|sweep| sweep.start).max();
    let mut outage = Outage {
        readings: 0,
        unserved: 0,
        untrue: 0,
        unmarked: 0,
        oldest: 0,
        peak_during: 0,
        calls_during: 0,
        peak_after: 0,
        recovered: 0,
    };
    for reading in book.readings.iter().filter(|reading| reading.asked >= from) {
        let Answer::Secret { age, stale, held, .. } = reading.answer else {
            outage.unserved += 1;
            continue;
        };
        if reading.asked >= to {
            if stale.is_some() {
                outage.recovered = outage.recovered.max(reading.asked - to);
            }
            continue;
        }
        outage.readings += 1;
        outage.unserved += usize::from(!held || reading.done > reading.asked);
        outage.oldest = outage.oldest.max(age);
        let read = reading.key().and_then(|key| last_read.get(&key)).copied().max(proved);
        outage.untrue += usize::from(Some(reading.done - age) != read);
        outage.unmarked += usize::from(stale.is_none() && age > 360 * SECOND);
    }
    let peak = |from: Ms, to: Ms| {
        let mut by_second: BTreeMap<Ms, usize> = BTreeMap::new();
        for call in book.calls.iter().filter(|call| (from..to).contains(&call.start)) {
            *by_second.entry(call.start / SECOND).or_default() += 1;
        }
        (by_second.values().copied().max().unwrap_or(0), by_second.values().sum())
    };
    (outage.peak_during, outage.calls_during) = peak(from, to);
    outage.peak_after = peak(to, Ms::MAX).0;
    outage
}

/// How many calls 10,000 readers of one name cost who come at once: of a name that is there and not held, and of one
/// that is not there.
pub fn stampede() -> [usize; 2] {
    [0, 1].map(|name| {
        let mut plan = quiet(1, MINUTE);
        plan.vaults[0].push(Secret { states: vec![(0, Vec::new())] });
        plan.deeds = vec![(10 * SECOND, Deed::Read(Question::of(0, name))); 10_000];
        let book = clients::live(plan);
        let told = book.readings.iter().filter(|reading| match reading.answer {
            Answer::Secret { true_value, .. } => name == 0 && true_value,
            Answer::Failed(reason) => name == 1 && reason == "secret-not-found",
            Answer::WentAway => false,
        });
        assert_eq!(told.count(), 10_000);
        book.calls.len()
    })
}
