//! Whether a process that was killed lives on in the next one.

use super::super::history::{Answer, Told};
use super::super::truth::{Ms, SECOND};
use super::served::{Hold, by_end};
use super::{Broken, Case, broken};

/// 11. What was known before the process began, and not since, is told as such: never as fresh, nor as what is merely
///     due to be renewed.
pub(super) fn what_was_restored_is_told_so(case: &Case<'_>) -> Result<(), Broken> {
    for (key, of) in &case.keys {
        for reading in &of.readings {
            let Answer::Secret { age, stale, .. } = reading.answer else { continue };
            let known = reading.done.saturating_sub(age);
            if known < case.book.starts[reading.hand.life].at && matches!(stale, None | Some("expired" | "changed")) {
                let what = format!("known at {known}, before its process began: {reading:?}");
                return Err(broken("11 what was restored is told so", reading.done, *key, what));
            }
        }
    }
    Ok(())
}

/// How often what is held is looked at, to be kept.
const LOOK: Ms = 5 * SECOND;

/// 12. What a process held some seconds before it was killed, the next one holds, and knows as much of it. Confirmations by
///     listings may be lost, of up to five minutes: these are no reason of their own to keep it anew.
pub(super) fn what_is_held_is_kept(case: &Case<'_>) -> Result<(), Broken> {
    for (life, start) in case.book.starts.iter().enumerate().skip(1).filter(|(_, start)| start.warm) {
        let by = start.at.saturating_sub(LOOK + 1);
        // While it stood still it kept nothing.
        if case.frozen(by, start.at) > 0 {
            continue;
        }
        // A successor that was not ready yet keeps nothing.
        let served = case.book.serves.iter().filter(|(from, _)| *from <= by).map(|(_, hand)| hand.broker).max();
        let served = served.unwrap_or(0);
        for (key, of) in &case.keys {
            let mut hold = Hold::restored(case, *key, life - 1);
            let calls = by_end(of).into_iter().filter(|call| call.hand.life == life - 1 && call.hand.broker <= served);
            let (before, last): (Vec<_>, Vec<_>) = calls.partition(|call| call.end.is_some_and(|end| end <= by));
            for call in before {
                hold.take(case, call);
            }
            if hold.until <= start.at || last.iter().any(|call| matches!(call.told, Told::Word(_))) {
                continue;
            }
            if start.kept.get(key).is_none_or(|kept| kept.since < hold.since) {
                let what = format!("held since {}, and kept is {:?}", hold.since, start.kept.get(key));
                return Err(broken("12 what is held is kept", start.at, *key, what));
            }
        }
    }
    Ok(())
}
