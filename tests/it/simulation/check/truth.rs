//! Whether what was served was true.

use std::collections::BTreeMap;

use super::super::fault::Kind;
use super::super::history::{Answer, Told};
use super::super::truth::SECOND;
use super::{Broken, Case, broken};

/// 1. Every value served was the vault's own, of that very name and version, at some time before.
pub(super) fn values_are_the_vaults_own(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for reading in &of.readings {
            let Answer::Secret { number, true_value, .. } = reading.answer else { continue };
            let mut states = case.plan.truth(key.view, key.name).during(0, reading.done);
            let existed = states.any(|state| state.iter().any(|version| version.number == number));
            if !true_value || !existed || key.version.is_some_and(|version| version != number) {
                return Err(broken("1 values are the vault's own", reading.done, *key, format!("{reading:?}")));
            }
        }
    }
    Ok(())
}

/// 2. What was served was the truth at the time that its age tells, or later; earlier by what replicas lagged then.
///
/// Not where two versions have one stamp and replicas lag by more than they may, or the vault's clock was set back so that
/// it told the same second twice: no listing can tell them apart.
pub(super) fn ages_are_true(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        let truth = case.plan.truth(key.view, key.name);
        let vault = case.vault(*key);
        let blind = case.plan.ever(Kind::Lag, vault) || case.plan.ever(Kind::ClockStep, vault);
        if blind && !truth.is_orderly() {
            continue;
        }
        for reading in &of.readings {
            let Answer::Secret { number, age, .. } = reading.answer else { continue };
            let since = reading.done.saturating_sub(age);
            // A replica is chosen when the answer begins; a listing may take long to come to that name.
            let lag = case.lag(vault, since, reading.done.min(since + 60 * SECOND));
            let mut states = truth.during(since.saturating_sub(lag), reading.done);
            let was_true = states.any(|state| match key.version {
                Some(version) => state.iter().any(|known| known.number == version),
                None => state.last().is_some_and(|known| known.number == number),
            });
            if !was_true {
                let what = format!("it was not the truth at {since} nor later: {reading:?}");
                return Err(broken("2 ages are true", reading.done, *key, what));
            }
        }
    }
    Ok(())
}

/// 2. An age counts from the start of an upstream read that told that version, or of a whole listing that showed what
///    such a read had told; from nothing else.
pub(super) fn ages_restart_on_proof_alone(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for reading in &of.readings {
            let Answer::Secret { number, age, .. } = reading.answer else { continue };
            let since = reading.done.saturating_sub(age);
            let gave = |call: &&&super::Call| matches!(call.told, Told::Value { number: told, .. } if told == number);
            let read = of.calls.iter().filter(gave).any(|call| call.start == since && call.ended_by(reading.done));
            let shown_as = |row: (u32, i64, u32, bool)| {
                of.calls.iter().filter(gave).any(|call| {
                    let Told::Value { updated, tag, enabled, .. } = call.told else { return false };
                    call.start <= since
                        && call.ended_by(reading.done)
                        && (updated, tag, enabled) == (row.1, row.2, row.3)
                })
            };
            let proved = || {
                let mut sweeps = case.sweeps[key.view].iter();
                key.version.is_none()
                    && sweeps.any(|sweep| {
                        sweep.start == since
                            && sweep.end.is_some_and(|end| end <= reading.done)
                            && sweep.row(key.name).is_some_and(shown_as)
                    })
            };
            if !read && !proved() {
                let what = format!("nothing proved it at {since}: {reading:?}");
                return Err(broken("2 ages restart on proof alone", reading.done, *key, what));
            }
        }
    }
    Ok(())
}

/// 3. Of two readings of one key, the second asked after the first was answered, the second is no older version.
///
/// Not where the vault's own word came between them, or the first had outlived `max_stale`; nor where stamps do not tell
/// the versions apart. A process that starts anew knows what was kept and no more: it may go back to that, which is up to
/// some seconds old, but not behind it.
pub(super) fn versions_never_go_back(case: &Case<'_>) -> Result<(), Broken> {
    let max_stale = case.plan.broker.cache.max_stale.as_millis() as u64;
    for (key, of) in case.keys.iter().filter(|(key, _)| key.version.is_none()) {
        if !case.plan.truth(key.view, key.name).is_orderly() {
            continue;
        }
        let served = |reading: &super::Reading| match reading.answer {
            Answer::Secret { number, age, .. } => Some((number, reading.done.saturating_sub(age))),
            Answer::Failed(_) | Answer::WentAway => None,
        };
        for (life, start) in case.book.starts.iter().enumerate() {
            // Readings are in the order of their end; the newest version that was served by a time decides.
            let mut newest: Option<(u32, u64, u64)> =
                start.kept.get(key).map(|kept| (kept.number, kept.since, start.at));
            let mut pending: Vec<(u64, u32, u64)> = Vec::new();
            let readings = of.readings.iter().filter(|reading| reading.hand.life == life);
            let mut all: Vec<_> = readings.filter_map(|reading| Some((*reading, served(reading)?))).collect();
            all.sort_by_key(|(reading, _)| reading.asked);
            let mut by_end = all.clone();
            by_end.sort_by_key(|(reading, _)| reading.done);
            let mut ended = by_end.iter().peekable();
            for (reading, (number, _)) in &all {
                while let Some((earlier, (number, since))) = ended.next_if(|(earlier, _)| earlier.done < reading.asked)
                {
                    pending.push((earlier.done, *number, *since));
                }
                for (done, number, since) in pending.drain(..) {
                    if newest.is_none_or(|(best, _, _)| number >= best) {
                        newest = Some((number, since, done));
                    }
                }
                let Some((best, since, done)) = newest else { continue };
                if *number >= best {
                    continue;
                }
                let word = of.calls.iter().filter(|call| call.hand.life == life).any(|call| {
                    call.is_word() && call.end.is_some_and(|end| end >= since) && call.start <= reading.done
                });
                let outlived = reading.done >= since + max_stale;
                if word || outlived {
                    newest = None;
                    continue;
                }
                let what = format!("version {best} was served at {done}, now {reading:?}");
                return Err(broken("3 versions never go back", reading.done, *key, what));
            }
        }
    }
    Ok(())
}

/// 3. Of two readings of one key and version, the second asked after the first was answered, the second knows no less: what
///    it tells was known to be true no earlier. Of one process; the next one begins with what was kept.
pub(super) fn knowledge_never_goes_back(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        let told = |reading: &super::Reading| match reading.answer {
            Answer::Secret { number, age, .. } => Some((number, reading.done.saturating_sub(age))),
            Answer::Failed(_) | Answer::WentAway => None,
        };
        for (life, start) in case.book.starts.iter().enumerate() {
            let readings = of.readings.iter().filter(|reading| reading.hand.life == life);
            let by_end: Vec<_> = readings.filter_map(|reading| Some((*reading, told(reading)?))).collect();
            let mut by_start = by_end.clone();
            by_start.sort_by_key(|(reading, _)| reading.asked);
            let mut ended = by_end.iter().peekable();
            let mut known: BTreeMap<u32, u64> =
                start.kept.get(key).map(|kept| (kept.number, kept.since)).into_iter().collect();
            for (reading, (number, since)) in &by_start {
                while let Some((_, (number, since))) = ended.next_if(|(earlier, _)| earlier.done < reading.asked) {
                    let latest = known.entry(*number).or_default();
                    *latest = (*latest).max(*since);
                }
                if let Some(before) = known.get(number).filter(|before| since < *before) {
                    let what = format!("it was known to be true at {before} before, now {reading:?}");
                    return Err(broken("3 knowledge never goes back", reading.done, *key, what));
                }
            }
        }
    }
    Ok(())
}
