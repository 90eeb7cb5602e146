//! Whether the vault's budget is kept. Azure counts by vault, whichever source asks.
//!
//! A budget is a process's own: what was spent, a closed gate and an open circuit are forgotten when it is killed.

use std::collections::VecDeque;

use super::super::fault::Kind;
use super::super::history::Told;
use super::super::truth::{Ms, SECOND};
use super::{Broken, Case, Key, broken};

const WINDOWS: [Ms; 2] = [SECOND, 10 * SECOND];
/// Outages in a row that open a circuit.
const OUTAGES: usize = 3;
/// A call that was given up after that long was not answered.
const SILENCE: Ms = 5 * SECOND;

/// One call of a vault: a read, or a listing as a whole.
#[derive(Debug, Clone, Copy)]
struct Asked {
    view: usize,
    life: usize,
    start: Ms,
    end: Option<Ms>,
    sign: Sign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It spoke, at the end or before it.
    Answered,
    Throttled,
    Outage,
    /// Says nothing.
    Nothing,
    /// It may have been any of these.
    Unclear,
}

fn asked(case: &Case<'_>, vault: usize) -> Vec<Asked> {
    let ours = |view: usize| case.plan.views[view].vault == vault;
    let calls = case.book.calls.iter().filter(|call| ours(call.key.view)).map(|call| {
        let sign = match call.told {
            Told::Value { .. } | Told::Word(_) => Sign::Answered,
            Told::Outage(reason) => of_reason(reason),
            // Given up early it says nothing; else it was silent, or fell.
            Told::Nothing if call.end.is_some_and(|end| end < call.start + SILENCE) => Sign::Nothing,
            Told::Nothing => Sign::Unclear,
        };
        Asked { view: call.key.view, life: call.hand.life, start: call.start, end: call.end, sign }
    });
    let sweeps = case.book.sweeps.iter().filter(|sweep| ours(sweep.view)).map(|sweep| {
        let sign = match sweep.failure {
            None if sweep.whole => Sign::Answered,
            Some(reason) if sweep.rows.is_empty() || reason == "throttled" => of_reason(reason),
            None if sweep.rows.is_empty() && sweep.end.is_some_and(|end| end < sweep.start + SILENCE) => Sign::Nothing,
            // It gave some rows first, or was silent, or fell.
            Some(_) | None => Sign::Unclear,
        };
        Asked { view: sweep.view, life: sweep.hand.life, start: sweep.start, end: sweep.end, sign }
    });
    let mut all: Vec<Asked> = calls.chain(sweeps).collect();
    all.sort_by_key(|asked| asked.start);
    all
}

/// The same by process.
fn by_life(case: &Case<'_>, vault: usize) -> Vec<Vec<Asked>> {
    let all = asked(case, vault);
    let of = |life| all.iter().filter(|asked| asked.life == life).copied().collect();
    (0..case.book.starts.len()).map(of).collect()
}

fn of_reason(reason: &str) -> Sign {
    match reason {
        "throttled" => Sign::Throttled,
        "denied-by-rbac" => Sign::Answered,
        "sign-in-failed" | "malformed-answer" => Sign::Nothing,
        _ => Sign::Outage,
    }
}

/// Whether that vault could not be asked, or did not answer, at some time in between: a 429 keeps it closed for up to six
/// minutes, an outage its circuit open for half of one.
pub(super) fn held_back(case: &Case<'_>, vault: usize, from: Ms, to: Ms) -> bool {
    asked(case, vault).iter().any(|asked| {
        let lasts = match asked.sign {
            Sign::Throttled => 360 * SECOND,
            Sign::Outage | Sign::Unclear => 31 * SECOND,
            Sign::Answered | Sign::Nothing => return false,
        };
        asked.end.is_none_or(|end| end + lasts >= from) && asked.start <= to
    })
}

/// 7. In any second and in any ten a vault sees no more calls than its budget and its burst; and none at all while its gate is
///    closed: from a 429 until the time that it told, or a second if it told none, and never longer than five minutes.
pub(super) fn budgets_are_kept(case: &Case<'_>) -> Result<(), Broken> {
    let budget = &case.plan.budget;
    for (vault, all) in
        (0..case.plan.vaults.len()).flat_map(|vault| by_life(case, vault).into_iter().map(move |all| (vault, all)))
    {
        for (window, (n, first)) in
            WINDOWS.into_iter().flat_map(|window| all.iter().enumerate().map(move |at| (window, at)))
        {
            let most = budget.reads_per_second as usize * (window / SECOND) as usize + budget.burst as usize;
            if all.get(n + most).is_some_and(|last| last.start < first.start + window) {
                let what = format!("more than {most} calls in {window} ms");
                return Err(broken("7 budgets are kept", first.start, key(first), what));
            }
        }
        for refused in all.iter().filter(|asked| asked.sign == Sign::Throttled) {
            let Some(end) = refused.end else { continue };
            // Which of several was told is not known; nor when within a listing it was.
            let told = case.plan.faults.iter().filter(|fault| {
                fault.is_active(Kind::Throttled, vault, refused.start)
                    || fault.is_active(Kind::Throttled, vault, end - 5)
            });
            let told = told.map(|fault| fault.level).min().unwrap_or(-1);
            let opens = end + told.clamp(1, 300) as Ms * SECOND;
            let after = all.partition_point(|asked| asked.start <= end);
            if let Some(early) = all.get(after).filter(|asked| asked.start < opens) {
                let what = format!("a 429 at {end} closed the gate until {opens}");
                return Err(broken("7 no call while the gate is closed", early.start, key(early), what));
            }
        }
    }
    Ok(())
}

/// 7. No more calls are under way at once than there may be.
pub(super) fn few_at_once(case: &Case<'_>) -> Result<(), Broken> {
    for vault in 0..case.plan.vaults.len() {
        let calls = case.book.calls.iter().filter(|call| case.plan.views[call.key.view].vault == vault);
        let mut running: VecDeque<Ms> = VecDeque::new();
        for call in calls {
            running.retain(|end| *end > call.start);
            running.push_back(call.end.unwrap_or(Ms::MAX));
            if running.len() > case.plan.budget.calls_at_once {
                let what = format!("{} calls at once", running.len());
                return Err(broken("7 few at once", call.start, call.key, what));
            }
        }
    }
    Ok(())
}

/// 7. After three outages in a row, until it answers again, a vault is asked by one call at a time. Calls that were under
///    way already end first.
pub(super) fn one_probe_at_a_time(case: &Case<'_>) -> Result<(), Broken> {
    for by_start in (0..case.plan.vaults.len()).flat_map(|vault| by_life(case, vault)) {
        let mut by_end: Vec<_> = by_start.iter().filter_map(|asked| Some((asked.end?, *asked))).collect();
        by_end.sort_by_key(|(end, _)| *end);
        let mut outages = 0;
        for (n, (opened, asked)) in by_end.iter().enumerate() {
            outages = match asked.sign {
                Sign::Outage => outages + 1,
                Sign::Nothing => outages,
                Sign::Answered | Sign::Throttled | Sign::Unclear => 0,
            };
            // Open since then, until it speaks.
            if outages != OUTAGES || asked.sign != Sign::Outage {
                continue;
            }
            let speaks = |sign| matches!(sign, Sign::Answered | Sign::Throttled | Sign::Unclear);
            // When it spoke is not known of a listing: its first row may have come long before its end.
            let until = by_end[n + 1..].iter().filter(|(_, next)| speaks(next.sign));
            let until = until.map(|(_, next)| next.start.max(*opened));
            let until = until.min().unwrap_or(Ms::MAX);
            let within: Vec<_> = by_start.iter().filter(|asked| *opened < asked.start && asked.start < until).collect();
            if let Some(pair) = within.windows(2).find(|pair| pair[0].end.is_none_or(|end| end > pair[1].start)) {
                let what = format!("the circuit is open since {opened}, and {:?} is not over", pair[0]);
                return Err(broken("7 one probe at a time", pair[1].start, key(pair[1]), what));
            }
        }
    }
    Ok(())
}

fn key(asked: &Asked) -> Key {
    Key { view: asked.view, name: 0, version: None }
}
