//! The rules that every history must keep, each in words beside its code. A rule says exactly where it does not apply;
//! what a world cannot make false is not excepted.

mod budget;
mod calls;
mod denials;
mod restarts;
mod served;
mod truth;

use std::collections::BTreeMap;

use super::fault::Kind;
use super::history::{Book, Call, Key, Reading, Sweep, Told};
use super::plan::Plan;
use super::truth::Ms;

/// A rule that was broken, where, and when.
#[derive(Debug, Clone)]
pub struct Broken {
    pub rule: &'static str,
    pub at: Ms,
    pub key: Option<Key>,
    pub what: String,
}

type Rule = fn(&Case<'_>) -> Result<(), Broken>;

/// The first broken rule, if any.
pub fn check(plan: &Plan, book: &Book) -> Option<Broken> {
    let case = Case::new(plan, book);
    let rules: [Rule; 18] = [
        truth::values_are_the_vaults_own,
        truth::ages_are_true,
        truth::ages_restart_on_proof_alone,
        truth::versions_never_go_back,
        truth::knowledge_never_goes_back,
        served::what_is_held_is_served_at_once,
        served::nothing_is_served_past_its_time,
        served::all_is_fresh_again_soon,
        restarts::what_was_restored_is_told_so,
        restarts::what_is_held_is_kept,
        denials::denials_end_within_a_minute,
        denials::refusals_are_the_vaults_own_and_young,
        calls::one_call_at_a_time,
        calls::insisting_reaches_the_vault_and_not_too_often,
        calls::renewals_are_few_and_nothing_is_left,
        budget::budgets_are_kept,
        budget::few_at_once,
        budget::one_probe_at_a_time,
    ];
    rules.iter().find_map(|rule| rule(&case).err())
}

/// A history, by key.
struct Case<'a> {
    plan: &'a Plan,
    book: &'a Book,
    keys: BTreeMap<Key, Of<'a>>,
    /// Listings that came to their end, by view, by their end.
    sweeps: Vec<Vec<&'a Sweep>>,
}

/// What happened under one key.
#[derive(Default)]
struct Of<'a> {
    /// By their start.
    calls: Vec<&'a Call>,
    /// By when they were done.
    readings: Vec<&'a Reading>,
}

impl<'a> Case<'a> {
    fn new(plan: &'a Plan, book: &'a Book) -> Self {
        let mut keys: BTreeMap<Key, Of<'a>> = BTreeMap::new();
        for call in &book.calls {
            keys.entry(call.key).or_default().calls.push(call);
        }
        for reading in &book.readings {
            if let Some(key) = reading.key() {
                keys.entry(key).or_default().readings.push(reading);
            }
        }
        let mut sweeps: Vec<Vec<&Sweep>> = vec![Vec::new(); plan.views.len()];
        for sweep in book.sweeps.iter().filter(|sweep| sweep.whole) {
            sweeps[sweep.view].push(sweep);
        }
        for of in &mut sweeps {
            of.sort_by_key(|sweep| sweep.end);
        }
        Self { plan, book, keys, sweeps }
    }

    fn vault(&self, key: Key) -> usize {
        self.plan.views[key.view].vault
    }

    /// The greatest lag of that vault's replicas between these times.
    fn lag(&self, vault: usize, from: Ms, to: Ms) -> Ms {
        let lags = self.plan.faults.iter().filter(|fault| {
            fault.kind == Kind::Lag && fault.vault.is_none_or(|of| of == vault) && fault.from <= to && from <= fault.to
        });
        lags.map(|fault| fault.level as Ms).max().unwrap_or(0)
    }

    /// How long the process stood still between these times, alone or with its machine.
    fn frozen(&self, from: Ms, to: Ms) -> Ms {
        let freezes = self.plan.faults.iter().filter(|fault| matches!(fault.kind, Kind::Freeze | Kind::Suspend));
        freezes.map(|fault| fault.to.min(to).saturating_sub(fault.from.max(from))).sum()
    }
}

impl Case<'_> {
    /// The time before `to` since when the process was awake for so long.
    fn awake(&self, long: Ms, to: Ms) -> Ms {
        let mut since = to.saturating_sub(long);
        for _ in 0..4 {
            since = to.saturating_sub(long + self.frozen(since, to));
        }
        since
    }
}

fn broken(rule: &'static str, at: Ms, key: Key, what: impl Into<String>) -> Broken {
    Broken { rule, at, key: Some(key), what: what.into() }
}

impl Call {
    fn ended_by(&self, at: Ms) -> bool {
        self.end.is_some_and(|end| end <= at)
    }

    fn is_value(&self) -> bool {
        matches!(self.told, Told::Value { .. })
    }

    fn is_word(&self) -> bool {
        matches!(self.told, Told::Word(_))
    }
}

impl Sweep {
    fn row(&self, name: usize) -> Option<(u32, i64, u32, bool)> {
        self.rows.iter().find(|row| row.0 == name).map(|row| (row.1, row.2, row.3, row.4))
    }
}
