//! Whether a vault's own word counts: a denial ends what is held, and nothing but one says 'not found'.

use super::super::fault::Kind;
use super::super::history::{Answer, Told};
use super::super::truth::{Ms, SECOND};
use super::budget::held_back;
use super::{Broken, Case, broken};

/// A denial must have ended what is held by then.
const MINUTE: Ms = 60 * SECOND;

/// 5. A value is no longer served a minute after its vault first denied it and was seen to: by a read, or by a listing
///    without it. Not where the vault did not answer meanwhile, or had to be left alone, or took the denial back. What a
///    process has kept does not tell of a denial that was not confirmed yet, nor of the last seconds: after a restart the
///    minute counts from the first denial that the new process meets.
pub(super) fn denials_end_within_a_minute(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for reading in &of.readings {
            let Answer::Secret { age, .. } = reading.answer else { continue };
            let known = reading.done.saturating_sub(age);
            let at = reading.done;
            if at < MINUTE {
                continue;
            }
            let ours = || of.calls.iter().filter(|call| call.hand.life == reading.hand.life);
            let last_given = ours().filter(|call| call.is_value() && call.start <= at).map(|call| call.start).max();
            let kept = || case.book.starts[reading.hand.life].kept.get(key).map(|kept| kept.since);
            let Some(last_given) = last_given.or_else(kept) else { continue };
            let calls = || ours().filter(|call| call.start > last_given && call.start <= at);
            let by_read = calls().filter(|call| call.is_word()).filter_map(|call| call.end).min();
            let absent = |sweep: &&&super::Sweep| match sweep.row(key.name) {
                None => true,
                Some((.., enabled)) => !enabled && key.version.is_none(),
            };
            let sweeps = case.sweeps[key.view].iter().filter(|sweep| sweep.hand.life == reading.hand.life);
            let sweeps = sweeps.filter(|sweep| sweep.start > last_given);
            let by_listing = sweeps.filter(absent).filter_map(|sweep| sweep.end).min();
            let Some(first) = [by_read, by_listing].into_iter().flatten().min() else { continue };
            let frozen = case.frozen(first, at);
            if at <= first + MINUTE + frozen || known > first {
                continue;
            }
            let answers = calls().filter(|call| call.start >= first).all(|call| call.is_word());
            let pending =
                ours().any(|call| call.start <= at && call.end.is_none_or(|end| end > first) && !call.is_word());
            if answers && !pending && !held_back(case, case.vault(*key), first, at) {
                let what = format!("denied at {first}, and {reading:?}");
                return Err(broken("5 denials end within a minute", at, *key, what));
            }
        }
    }
    Ok(())
}

/// 9. A named vault's 'not found', 'disabled' or 'denied' is its own word, told to this reader or no longer ago than
///    such words are remembered; and 'not found' not after a listing has shown the name. A name that no vault was asked
///    for is not missing if one has held it for longer than listings may be old.
pub(super) fn refusals_are_the_vaults_own_and_young(case: &Case<'_>) -> Result<(), Broken> {
    let remembered = case.plan.broker.cache.negative_ttl.mul_f64(1.2).as_millis() as Ms;
    for (key, of) in &case.keys {
        for reading in &of.readings {
            let Answer::Failed(reason) = reading.answer else { continue };
            let words: &[&str] = match reason {
                "secret-not-found" | "version-not-found" => &["not-found"],
                "secret-disabled" => &["disabled"],
                "denied-by-rbac" => &["denied-by-rbac"],
                _ => continue,
            };
            // A word is not kept: the process that tells it was told it.
            let told = of.calls.iter().filter(|call| call.hand.life == reading.hand.life).filter(|call| {
                let now_or_remembered = call.ended_by(reading.done)
                    && (call.end >= Some(reading.asked) || reading.asked <= call.start + remembered);
                now_or_remembered && matches!(call.told, Told::Word(word) if words.contains(&word))
            });
            let Some(latest) = told.map(|call| call.start).max() else {
                let what = format!("the vault did not say so lately: {reading:?}");
                return Err(broken("9 refusals are the vault's own", reading.done, *key, what));
            };
            let shown = case.sweeps[key.view].iter().rev().find(|sweep| {
                // What a successor lists that does not serve yet is none of this broker's.
                sweep.start >= latest
                    && sweep.hand.life == reading.hand.life
                    && sweep.hand.broker <= reading.hand.broker
                    && sweep.end.is_some_and(|end| end < reading.asked)
                    && sweep.row(key.name).is_some()
            });
            // One that joined a read under way is told what became of that.
            let remembered = reading.done == reading.asked;
            if let Some(sweep) = shown.filter(|_| remembered && reason == "secret-not-found" && key.version.is_none()) {
                let what = format!("a listing at {} showed it: {reading:?}", sweep.start);
                return Err(broken("9 a listing ends a miss", reading.done, *key, what));
            }
        }
    }
    let interval = case.plan.catalog.listing_interval.as_millis() as Ms;
    // Short listings and false words are lies that nobody can see through.
    let liars = [Kind::ListShort, Kind::DiscoveryLies, Kind::FalseMiss];
    if case.plan.faults.iter().any(|fault| liars.contains(&fault.kind)) {
        return Ok(());
    }
    for reading in case.book.readings.iter().filter(|reading| reading.question.view.is_none()) {
        if reading.answer != Answer::Failed("secret-not-found") || reading.question.version.is_some() {
            continue;
        }
        for view in 0..case.plan.views.len() {
            let vault = case.plan.views[view].vault;
            let lag = case.lag(vault, 0, reading.done);
            let since = case.awake(3 * interval + 2 * MINUTE + lag + remembered, reading.asked);
            let since = since.saturating_sub(case.frozen(reading.asked, reading.done));
            let mut states = case.plan.truth(view, reading.question.name).during(since, reading.done);
            if since > 0 && states.all(|state| !state.is_empty()) {
                let key = super::Key { view, name: reading.question.name, version: None };
                return Err(broken("9 what is there is not missing", reading.done, key, format!("{reading:?}")));
            }
        }
    }
    Ok(())
}
