//! Whether the vault is asked as seldom as it may be, and as often as it must.

use super::super::history::{Answer, Told};
use super::super::plan::Question;
use super::super::truth::{Ms, SECOND};
use super::{Broken, Case, broken};

/// Renewals of one key in a minute, at most: a life of 16 s makes four, listings that show changes and the first steps of
/// a back-off the others.
const RENEWALS: usize = 18;

/// 6. At most one call per key is under way, unless a reader insisted on another after it began. Of one broker: while a
///    successor is getting ready, both keep what they hold true.
pub(super) fn one_call_at_a_time(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for (n, call) in of.calls.iter().enumerate() {
            let before = of.calls[..n].iter().filter(|other| other.hand == call.hand);
            let running = before.filter(|other| other.end.is_none_or(|end| end > call.start));
            let Some(latest) = running.map(|other| other.start).max() else { continue };
            let insisted = case.book.readings.iter().any(|reading| {
                let question = reading.question;
                let same = question.name == key.name && question.version == key.version;
                same && question.insists()
                    && question.view.is_none_or(|view| view == key.view)
                    && latest <= reading.asked + waits(&question) + case.frozen(reading.asked, call.start)
                    && reading.asked <= call.start
            });
            if !insisted {
                let what = format!("a call began while one of {latest} ran, and nobody insisted");
                return Err(broken("6 one call at a time", call.start, *key, what));
            }
        }
    }
    Ok(())
}

/// How long a reader that insists may have waited for its floor, or for its vault's turn, before its call began.
const WAIT: Ms = 16 * SECOND;

/// A read of any vault may have come to this one after others.
fn waits(question: &Question) -> Ms {
    if question.view.is_none() { 4 * WAIT } else { WAIT }
}

/// 6. A reader that insists is answered by a call that began after it asked; and insisting makes one call a second, no
///    more: of calls that began within a second, all but one are other readers' or renewals: one that was due, one for
///    what a listing told.
pub(super) fn insisting_reaches_the_vault_and_not_too_often(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for reading in of.readings.iter().filter(|reading| reading.question.insists()) {
            let answered = match reading.answer {
                Answer::Secret { .. } => true,
                Answer::Failed(reason) => ["secret-not-found", "secret-disabled", "denied-by-rbac"].contains(&reason),
                Answer::WentAway => false,
            };
            let reached = of.calls.iter().any(|call| call.start >= reading.asked && call.ended_by(reading.done));
            if answered && !reached {
                let what = format!("no call began after it asked: {reading:?}");
                return Err(broken("6 insisting reaches the vault", reading.done, *key, what));
            }
        }
        // Those who wait for their vault's turn, or its budget, come together when it is free.
        let budget = &case.plan.budget;
        let calls = if budget.calls_at_once < 8 || budget.burst < 100 { &[][..] } else { &of.calls[..] };
        for (n, first) in calls.iter().enumerate() {
            let within = calls[n..].iter().take_while(|call| call.start < first.start + SECOND);
            // Of one broker: the next one does not know what this one asked in its last second.
            let calls = within.filter(|call| call.hand == first.hand).count();
            let others = if calls <= 3 { 0 } else { plain_askers(case, *key, first.start, first.start + SECOND) };
            if calls > 3 + others {
                let what = format!("{calls} calls within a second, of {others} who did not insist");
                return Err(broken("6 insisting has a floor", first.start, *key, what));
            }
        }
    }
    Ok(())
}

fn plain_askers(case: &Case<'_>, key: super::Key, from: Ms, to: Ms) -> usize {
    let asked = case.book.readings.iter().filter(|reading| {
        let question = reading.question;
        // A read of any vault may come to this one after others.
        let slack = if question.view.is_none() { 60 * SECOND } else { 0 };
        question.name == key.name
            && question.version == key.version
            && !question.insists()
            && question.view.is_none_or(|view| view == key.view)
            && reading.asked + slack >= from
            && reading.asked < to
    });
    asked.count()
}

/// 7. A key is renewed a few times a minute at most, whatever goes wrong; all other calls are some reader's. And when all
///    has ended, nothing is left running.
pub(super) fn renewals_are_few_and_nothing_is_left(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for (n, first) in of.calls.iter().enumerate() {
            let minute = first.start + 60 * SECOND;
            let Some(last) = of.calls.get(n + RENEWALS).filter(|call| call.start < minute) else { continue };
            let calls = of.calls[n..].iter().take_while(|call| call.start < minute);
            // Of one broker: the next process begins its back-offs anew, and a successor renews what it holds beside the
            // one that it follows until it is ready.
            let calls = calls.filter(|call| call.hand == first.hand).count();
            let waited = case.book.readings.iter().filter(|reading| {
                let question = reading.question;
                question.name == key.name
                    && question.version == key.version
                    && question.view.is_none_or(|view| view == key.view)
                    && reading.asked + waits(&question) >= first.start
                    && reading.asked < minute
                    && !matches!(reading.answer, Answer::Secret { held: true, .. })
            });
            let waited = waited.count();
            if calls > waited + RENEWALS {
                let what = format!("{calls} calls in a minute, of {waited} readers who waited; the last {last:?}");
                return Err(broken("7 renewals are few", first.start, *key, what));
            }
        }
    }
    let hangs = case.book.calls.iter().find(|call| call.end.is_none() && matches!(call.told, Told::Nothing));
    if case.book.left > 0 || hangs.is_some() {
        let key = hangs.map_or(super::Key { view: 0, name: 0, version: None }, |call| call.key);
        let what = format!("{} tasks are left, {hangs:?}", case.book.left);
        return Err(broken("10 nothing is left", case.plan.end, key, what));
    }
    Ok(())
}
