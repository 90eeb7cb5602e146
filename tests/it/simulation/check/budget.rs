//! Whether the vault's budget is kept. Applies to worlds whose sources stand behind budgets: [`Plan::budget`] tells.

use super::super::fault::Kind;
use super::super::history::Told;
use super::super::plan::Budget;
use super::super::truth::{Ms, SECOND};
use super::{Broken, Case, Key, broken};

const WINDOW: Ms = 10 * SECOND;

/// 7. In any ten seconds a vault sees no more calls than its budget and its burst; and none at all while its gate is
///    closed: from a 429 until the time that it told, or a second if it told none, and never longer than five minutes.
pub(super) fn budgets_are_kept(case: &Case<'_>) -> Result<(), Broken> {
    let Some(Budget { per_window, burst }) = case.plan.budget else { return Ok(()) };
    for view in 0..case.plan.views.len() {
        let calls = case.book.calls.iter().filter(|call| call.key.view == view).map(|call| call.start);
        let sweeps = case.book.sweeps.iter().filter(|sweep| sweep.view == view).map(|sweep| sweep.start);
        let mut starts: Vec<Ms> = calls.chain(sweeps).collect();
        starts.sort_unstable();
        let key = Key { view, name: 0, version: None };
        for (n, first) in starts.iter().enumerate() {
            if starts.get(n + per_window + burst).is_some_and(|last| *last < first + WINDOW) {
                return Err(broken("7 budgets are kept", *first, key, "more calls in ten seconds than the budget"));
            }
        }
        for call in case.book.calls.iter().filter(|call| call.key.view == view) {
            let (Told::Outage("throttled"), Some(end)) = (call.told, call.end) else { continue };
            let vault = case.plan.views[view].vault;
            let told = case.plan.active(Kind::Throttled, vault, call.start).map_or(-1, |fault| fault.level);
            let opens = end + told.clamp(1, 300) as Ms * SECOND;
            if let Some(early) = starts.iter().find(|start| **start > end && **start < opens) {
                let what = format!("a 429 at {end} closed the gate until {opens}");
                return Err(broken("7 no call while the gate is closed", *early, key, what));
            }
        }
    }
    Ok(())
}
