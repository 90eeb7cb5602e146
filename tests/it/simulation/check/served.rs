//! Whether what is held is served, for as long as it may be, and becomes fresh again.

use super::super::fault::Kind;
use super::super::history::{Answer, Hand, Told};
use super::super::plan::{Deed, TAIL};
use super::super::truth::{Ms, SECOND};
use super::{Broken, Call, Case, Key, Of, Reading, broken};

/// 4. A plain read of what is held takes no time and gives it: from the end of the read that brought it, or the start of
///    the process that was given it by the one before, until
///    `max_stale` after that read began, whatever goes wrong. Only the vault's own word ends it earlier, told twice, the
///    second time at least `confirm_after` later.
pub(super) fn what_is_held_is_served_at_once(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        let by_end = by_end(of);
        let mut ended = by_end.iter().peekable();
        let (mut hand, mut hold) = (Hand::default(), Hold::default());
        let mut readings: Vec<_> = of.readings.iter().filter(|reading| reading.question.is_plain()).collect();
        readings.sort_by_key(|reading| (reading.hand.broker, reading.asked));
        for reading in readings {
            // A resolve that its process was killed under is nobody's answer.
            if reading.question.view.is_none() || reading.answer == Answer::WentAway {
                continue;
            }
            if reading.hand != hand {
                (hand, hold) = (reading.hand, Hold::restored(case, *key, reading.hand.life));
                ended = by_end.iter().peekable();
            }
            while let Some(call) = ended.next_if(|call| call.end.is_some_and(|end| end < reading.asked)) {
                // What its predecessors in this process were told is handed on.
                if call.hand.life == hand.life && call.hand.broker <= hand.broker {
                    hold.take(case, call);
                }
            }
            let until = hold.until;
            let given = matches!(reading.answer, Answer::Secret { held: true, .. });
            // A resolve is over when its slowest reference is.
            let resolve = matches!(case.plan.deeds[reading.deed].1, Deed::Resolve(_));
            let at_once = resolve || reading.done == reading.asked;
            if reading.asked < until && !(given && at_once) {
                let what = format!("held until {until}, yet {reading:?}");
                return Err(broken("4 what is held is served at once", reading.done, *key, what));
            }
        }
    }
    Ok(())
}

/// What a process must hold under one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// Until when it must be served.
    pub(super) until: Ms,
    /// Since when it is known to be true, at least.
    pub(super) since: Ms,
    /// When it was first denied since it was read.
    denied: Option<Ms>,
    /// When the last question began that was answered.
    latest: Ms,
    /// The newest stamp.
    newest: i64,
}

impl Default for Hold {
    fn default() -> Self {
        Self { until: 0, since: 0, denied: None, latest: 0, newest: i64::MIN }
    }
}

impl Hold {
    /// At the start of that life: what was kept of the one before.
    pub(super) fn restored(case: &Case<'_>, key: Key, life: usize) -> Self {
        let Some(kept) = case.book.starts[life].kept.get(&key) else { return Self::default() };
        let until = kept.since + case.plan.broker.cache.max_stale.as_millis() as Ms;
        Self { until, since: kept.since, denied: None, latest: kept.since, newest: kept.updated }
    }

    /// After that call of its process has ended.
    pub(super) fn take(&mut self, case: &Case<'_>, call: &Call) {
        let cache = &case.plan.broker.cache;
        match call.told {
            Told::Value { updated, .. } => {
                // An older answer, or one to an older question, changes nothing.
                if call.start >= self.latest && updated >= self.newest {
                    self.until = self.until.max(call.start + cache.max_stale.as_millis() as Ms);
                    self.since = self.since.max(call.start);
                    self.denied = None;
                }
                self.latest = self.latest.max(call.start);
                self.newest = self.newest.max(updated);
            }
            Told::Word(_) => {
                self.latest = self.latest.max(call.start);
                let listed = || first_absence(case, call, call.end.unwrap_or(call.start));
                let first = self.denied.or_else(listed).unwrap_or(call.start).min(call.start);
                self.denied = Some(first);
                if call.start >= first + cache.confirm_after.as_millis() as Ms {
                    self.until = 0;
                }
            }
            Told::Outage(_) | Told::Nothing => {}
        }
    }
}

/// The calls that have ended, by their end.
pub(super) fn by_end<'a>(of: &Of<'a>) -> Vec<&'a Call> {
    let mut by_end: Vec<_> = of.calls.iter().copied().filter(|call| call.end.is_some()).collect();
    by_end.sort_by_key(|call| call.end);
    by_end
}

/// When the first listing of that call's process began that did not show its name, or showed it disabled, of those that
/// ended by that time. It may have been shown again since; that takes nothing back before it is read.
fn first_absence(case: &Case<'_>, call: &Call, by: Ms) -> Option<Ms> {
    let key = call.key;
    let absent = |sweep: &&&super::Sweep| match sweep.row(key.name) {
        None => true,
        Some((.., enabled)) => !enabled && key.version.is_none(),
    };
    let ours = case.sweeps[key.view].iter().filter(|sweep| sweep.hand.life == call.hand.life);
    let ended = ours.filter(|sweep| sweep.end.is_some_and(|end| end <= by));
    ended.filter(absent).map(|sweep| sweep.start).min()
}

/// 4. Nothing is served past `max_stale`, nor past its life where that is longer.
pub(super) fn nothing_is_served_past_its_time(case: &Case<'_>) -> Result<(), Broken> {
    let cache = &case.plan.broker.cache;
    let most = cache.max_stale.max(cache.ttl.mul_f64(1.2)).as_millis() as Ms;
    for (key, of) in &case.keys {
        for reading in &of.readings {
            let Answer::Secret { age, .. } = reading.answer else { continue };
            // What is told together with others is told when all are there.
            let waited = reading.done - reading.asked;
            if age > most + waited {
                return Err(broken("4 nothing is served past its time", reading.done, *key, format!("{reading:?}")));
            }
        }
    }
    Ok(())
}

/// 8. Within one back-off cap and one interval of listings after all is well, every value in use is fresh and the vault's
///    own; its stamps telling versions apart.
pub(super) fn all_is_fresh_again_soon(case: &Case<'_>) -> Result<(), Broken> {
    let interval = case.plan.catalog.listing_interval.as_millis() as Ms;
    let soon = case.plan.healed + 60 * SECOND + interval + 15 * SECOND;
    debug_assert!(soon < case.plan.healed + TAIL + interval);
    for (key, of) in case.keys.iter().filter(|(key, _)| key.version.is_none()) {
        let truth = case.plan.truth(key.view, key.name);
        let Some(current) = truth.at(case.plan.end).last() else { continue };
        // A vault may ask to be left alone for up to five minutes; its listings wait for so long.
        let throttled = case.plan.faults.iter().filter(|fault| fault.kind == Kind::Throttled);
        let asked_for = throttled.map(|fault| fault.level.clamp(0, 300) as Ms * SECOND).max().unwrap_or(0);
        let soon = soon + asked_for;
        for reading in of.readings.iter().filter(|reading| reading.asked > soon && reading.question.is_plain()) {
            if reading.question.view.is_none() || !in_use(of, reading.asked) || !known(case, key.view) {
                continue;
            }
            let well = match reading.answer {
                Answer::Secret { number, stale, .. } => {
                    let seldom = stale == Some("expired") && !is_busy(case, of, reading);
                    (stale.is_none() || seldom) && (number == current.number || !truth.is_orderly())
                        || matches!(stale, Some("older-version" | "changed" | "denied-once")) && !truth.is_orderly()
                }
                Answer::Failed(_) => false,
                Answer::WentAway => continue,
            };
            if !well {
                let what = format!("all is well since {}, yet {reading:?}", case.plan.healed);
                return Err(broken("8 all is fresh again soon", reading.done, *key, what));
            }
        }
    }
    Ok(())
}

/// Whether it was read at least every 25 s for a while: renewals run ahead of such readers.
fn in_use(of: &Of<'_>, at: Ms) -> bool {
    let asked = |from: Ms, to: Ms| of.readings.iter().any(|reading| from <= reading.asked && reading.asked < to);
    (1..4).all(|n| asked(at.saturating_sub(n * 26 * SECOND), at.saturating_sub((n - 1) * 26 * SECOND)))
}

/// Whether what was read had been read before, in the part of its life in which that leads to a renewal.
fn is_busy(case: &Case<'_>, of: &Of<'_>, read: &Reading) -> bool {
    let part = case.plan.broker.cache.ttl.as_millis() as Ms / 2;
    let since = |reading: &Reading| match reading.answer {
        Answer::Secret { age, .. } => Some((reading.done.saturating_sub(age), age)),
        Answer::Failed(_) | Answer::WentAway => None,
    };
    let of_this = since(read).map(|(since, _)| since);
    of.readings.iter().filter_map(|reading| since(reading)).any(|(since, age)| Some(since) == of_this && age <= part)
}

/// A source that never finished a round in time knows its vaults only when the next one has ended.
fn known(case: &Case<'_>, view: usize) -> bool {
    let vault = case.plan.views[view].vault;
    ![Kind::DiscoveryFails, Kind::DiscoveryLies, Kind::DiscoveryHangs]
        .iter()
        .any(|kind| case.plan.faults.iter().any(|fault| fault.kind == *kind))
        || case
            .keys
            .keys()
            .any(|key| key.view == view && case.plan.views[key.view].vault == vault && has_calls(case, *key))
}

/// In the last life: what an earlier one knew may not have been kept.
fn has_calls(case: &Case<'_>, key: Key) -> bool {
    let last = case.book.starts.len() - 1;
    case.keys[&key].calls.iter().any(|call| call.hand.life == last && call.start < case.plan.healed)
}
