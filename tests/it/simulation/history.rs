//! What happened in a simulated world: every call that the vaults saw, every reading that a client got.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard};

use super::plan::{Plan, Question};
use super::truth::{Ms, Version};

/// Whose value: a vault as one source sees it, the name, and the version if one was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub view: usize,
    pub name: usize,
    pub version: Option<u32>,
}

/// Who asks a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hand {
    /// Which process: they come one after the other.
    pub life: usize,
    /// Which broker; every one has its own flights.
    pub broker: usize,
}

/// The start of a process.
#[derive(Debug, Clone)]
pub struct Start {
    pub at: Ms,
    /// It was given what the one before had kept.
    pub warm: bool,
    /// What that was.
    pub kept: BTreeMap<Key, Kept>,
}

/// A value as it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kept {
    pub number: u32,
    pub updated: i64,
    /// When it was known to be true.
    pub since: Ms,
}

/// One read that a vault was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    pub key: Key,
    pub hand: Hand,
    pub start: Ms,
    /// `None`: the world ended before it.
    pub end: Option<Ms>,
    pub told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It gave this version, which looks so.
    Value { number: u32, updated: i64, tag: u32, enabled: bool },
    /// Its own word: the reason.
    Word(&'static str),
    /// Something that says nothing of the secret.
    Outage(&'static str),
    /// The caller gave up, or fell.
    Nothing,
}

/// One listing of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sweep {
    pub view: usize,
    pub hand: Hand,
    pub start: Ms,
    pub end: Option<Ms>,
    /// It came to its end, and did not fail.
    pub whole: bool,
    /// Why it failed.
    pub failure: Option<&'static str>,
    /// By name: the current version as it was shown.
    pub rows: Vec<(usize, u32, i64, u32, bool)>,
}

/// What one client was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub question: Question,
    pub asked: Ms,
    pub done: Ms,
    pub answer: Answer,
    /// Which deed it was.
    pub deed: usize,
    /// Which broker was asked.
    pub hand: Hand,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Secret { view: usize, number: u32, age: Ms, stale: Option<&'static str>, held: bool, true_value: bool },
    Failed(&'static str),
    WentAway,
}

#[derive(Debug, Default)]
pub struct Book {
    /// By life.
    pub starts: Vec<Start>,
    /// From when which broker served.
    pub serves: Vec<(Ms, Hand)>,
    pub calls: Vec<Call>,
    pub sweeps: Vec<Sweep>,
    pub readings: Vec<Reading>,
    /// Tasks that were left when all had ended.
    pub left: usize,
}

/// Written to while a world runs.
#[derive(Debug, Default)]
pub struct History(Mutex<Book>);

impl History {
    pub fn write(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub fn close(&self) -> Book {
        let mut book = std::mem::take(&mut *self.write());
        // Readers of one flight wake in an order that the runtime draws.
        book.readings.sort_by_key(|reading| (reading.done, reading.asked, reading.deed, reading.question.name));
        book
    }
}

impl Reading {
    /// The key it was read under, if it named one or was answered.
    pub fn key(&self) -> Option<Key> {
        let view = match (&self.answer, self.question.view) {
            (Answer::Secret { view, .. }, _) => *view,
            (Answer::Failed(_) | Answer::WentAway, view) => view?,
        };
        Some(Key { view, name: self.question.name, version: self.question.version })
    }
}

impl Book {
    /// A number that differs if anything happened otherwise.
    pub fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.calls, &self.sweeps, self.left).hash(&mut hasher);
        format!("{:?} {:?}", self.readings, self.starts).hash(&mut hasher);
        hasher.finish()
    }

    /// What happened to that key around that time, a line each, oldest first.
    pub fn excerpt(&self, plan: &Plan, key: Option<Key>, at: Ms, last: usize) -> String {
        let mut lines: Vec<(Ms, String)> = Vec::new();
        let of = |other: Key| key.is_none_or(|key| key.view == other.view && key.name == other.name);
        for call in self.calls.iter().filter(|call| of(call.key) && call.start <= at) {
            let end = call.end.map_or("…".into(), seconds);
            lines.push((call.start, format!("call {:?} {:?} until {end}: {:?}", call.hand, call.key, call.told)));
        }
        for sweep in self.sweeps.iter().filter(|sweep| key.is_none_or(|key| key.view == sweep.view)) {
            let end = sweep.end.map_or("…".into(), seconds);
            let rows = sweep.rows.iter().filter(|row| key.is_none_or(|key| row.0 == key.name)).collect::<Vec<_>>();
            let text = format!("list {:?} {} until {end}: whole {} {rows:?}", sweep.hand, sweep.view, sweep.whole);
            lines.push((sweep.start, text));
        }
        for reading in self.readings.iter().filter(|reading| reading.key().is_none_or(of)) {
            let Question { view, name, version, steer, .. } = reading.question;
            let text = format!(
                "asked {:?} {view:?}/{name}@{version:?} {}{:?}{} until {}: {:?}",
                reading.hand,
                if steer.no_cache { "no-cache " } else { "" },
                steer.max_age,
                if steer.only_if_cached { " only-if-cached" } else { "" },
                seconds(reading.done),
                reading.answer
            );
            lines.push((reading.asked, text));
        }
        if let Some(key) = key {
            for (from, state) in &plan.truth(key.view, key.name).states {
                lines.push((*from, format!("TRUTH {:?}", state.last().map(shown))));
            }
        }
        for start in &self.starts {
            let kept = key.and_then(|key| start.kept.get(&key));
            lines.push((start.at, format!("START warm {} {kept:?}", start.warm)));
        }
        lines.retain(|(when, _)| *when <= at);
        lines.sort_by_key(|(when, _)| *when);
        let mut text = String::new();
        for fault in &plan.faults {
            let _ = writeln!(text, "  {fault:?}");
        }
        for (when, line) in &lines[lines.len().saturating_sub(last)..] {
            let _ = writeln!(text, "  {} {line}", seconds(*when));
        }
        text
    }
}

fn shown(version: &Version) -> (u32, i64, u32, bool) {
    (version.number, version.updated, version.tag, version.enabled)
}

pub fn seconds(at: Ms) -> String {
    format!("{:.3}", at as f64 / 1000.0)
}
