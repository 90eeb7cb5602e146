//! One vault's budget: what a call must pass before it may go, and what is learnt from how it ends.
//!
//! In this order: a turn (so that those who wait for the rest are few), the gate, the vault's rate, the subscription's
//! rate, the circuit. The last is decided without a pause after it, and the gate is looked at again after every pause:
//! what passes is true at the moment when the call goes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::BudgetOptions;
use super::bucket::Rate;
use super::circuit::{Circuit, Sign, Way};
use super::gate::Gate;
use super::tap::{Lane, Tap};
use super::turns::{Turn, Turns};
use crate::clock::Moment;
use crate::metrics::{Metrics, Refusal, VaultState};
use crate::vaults::asked::goes_out;
use crate::vaults::{VaultError, VaultErrorKind};

/// The longest that a reader waits for the gate or a token.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much longer a page of a listing waits for a token: nobody waits for it, and readers that use all of the rate must
/// not end listings.
const LISTING_PATIENCE: Duration = Duration::from_secs(18);
/// The least rate that 429s bring a vault down to. A fleet for which that is too much is spread further by its gates.
const LEAST_PER_SECOND: f64 = 0.2;
/// A call that was given up after that long was not answered.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Allowance {
    tap: Tap,
    turns: Arc<Turns>,
    calls_at_once: usize,
    state: Mutex<State>,
    /// What draws are made from.
    seed: u64,
}

#[derive(Debug)]
struct State {
    gate: Gate,
    circuit: Circuit,
    draws: u64,
}

/// Who makes a call, for the metrics: the vault's id as one source sees it, and `get`, `list` or `versions`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) vault: &'a str,
    pub(super) endpoint: &'static str,
}

impl Allowance {
    pub(super) fn new(key: &str, options: &BudgetOptions) -> Self {
        let mut hasher = DefaultHasher::new();
        (options.seed, key).hash(&mut hasher);
        let calls_at_once = options.calls_at_once.max(1);
        let rate = Rate::new(options.reads_per_second, options.burst);
        let floor = (LEAST_PER_SECOND / rate.per_second).min(1.0);
        Self {
            tap: Tap::new(rate),
            turns: Turns::new(calls_at_once),
            calls_at_once,
            state: Mutex::new(State { gate: Gate::new(floor), circuit: Circuit::default(), draws: 0 }),
            seed: hasher.finish(),
        }
    }

    /// Waits until a call may go. It goes when this returns, and [`Pass::end`] is told how it ended.
    ///
    /// # Errors
    /// It may not, for a while: nothing was asked.
    pub(super) async fn admit<'a>(
        self: &'a Arc<Self>,
        caller: Caller<'a>,
        lane: Lane,
        subscription: &Tap,
    ) -> Result<Pass<'a>, VaultError> {
        let soon = Instant::now() + PATIENCE;
        let until = if lane == Lane::Listing { soon + LISTING_PATIENCE } else { soon };
        let refuse = |refusal: Refusal, error: VaultError| {
            caller.metrics.held_back(caller.vault, refusal);
            Err(error)
        };
        // Those who have no chance do not stand in line.
        let now = Moment::now();
        if let Err((error, wait)) = self.state().circuit.check(now) {
            return refuse(Refusal::Circuit, error.not_asked(wait));
        }
        if let Some(left) = self.closed_beyond(soon) {
            return refuse(Refusal::Gate, closed(left));
        }
        let turn = self.turns.take().await;
        loop {
            if let Some(left) = self.closed_beyond(soon) {
                return refuse(Refusal::Gate, closed(left));
            }
            let left = self.state().gate.left(Moment::now());
            if let Some(left) = left {
                sleep(left).await;
                continue;
            }
            match self.tokens(lane, subscription, until).await {
                Ok(true) => caller.metrics.waited(caller.vault),
                Ok(false) => {}
                Err(wait) => return refuse(Refusal::Rate, spent(wait)),
            }
            let mut state = self.state();
            let now = Moment::now();
            if state.gate.left(now).is_some() {
                drop(state);
                self.give_back(subscription);
                continue;
            }
            let entered = state.circuit.enter(now);
            drop(state);
            return match entered {
                Ok(way) => {
                    goes_out();
                    Ok(Pass { allowance: self, caller, way, began: now, _turn: turn, over: false })
                }
                Err((error, wait)) => {
                    self.give_back(subscription);
                    refuse(Refusal::Circuit, error.not_asked(wait))
                }
            };
        }
    }

    /// A token of the vault and one of its subscription, or neither.
    async fn tokens(&self, lane: Lane, subscription: &Tap, until: Instant) -> Result<bool, Duration> {
        let waited = self.tap.take(lane, || self.state().gate.share(Moment::now()), until).await?;
        match subscription.take(lane, || 1.0, until).await {
            Ok(also) => Ok(waited || also),
            Err(wait) => {
                self.tap.give_back();
                Err(wait)
            }
        }
    }

    /// A token that was taken was not used.
    pub(super) fn give_back(&self, subscription: &Tap) {
        self.tap.give_back();
        subscription.give_back();
    }

    /// A call was made that nobody asked for here.
    pub(super) fn charge(&self, subscription: &Tap) {
        self.tap.charge(self.state().gate.share(Moment::now()));
        subscription.charge(1.0);
    }

    /// What a call's end tells.
    pub(super) fn learn(&self, vault: &str, way: Way, began: Moment, outcome: Result<(), &VaultError>) {
        let now = Moment::now();
        let mut state = self.state();
        let State { gate, circuit, draws } = &mut *state;
        let mut chance = || {
            *draws += 1;
            let mut hasher = DefaultHasher::new();
            (self.seed, *draws).hash(&mut hasher);
            (hasher.finish() % 10_001) as f64 / 10_000.0
        };
        // What the identity service said, or did not, is none of the vault's.
        let word = outcome.err().filter(|error| !error.is_of_sign_in()).map(VaultError::kind);
        if let Some(VaultErrorKind::Throttled { retry_after }) = word {
            if gate.refused(began, now, *retry_after, &mut chance) {
                let seconds = gate.left(now).unwrap_or_default().as_secs();
                let percent = (gate.share(now) * 100.0).ceil() as u32;
                if gate.begins() {
                    tracing::warn!(%vault, seconds, percent, "throttled: left alone, then asked for a part of its budget");
                } else {
                    tracing::debug!(%vault, seconds, percent, "still throttled: left alone");
                }
            }
            self.tap.drain(gate.opens());
        }
        let sign = sign(outcome);
        if matches!((&sign, outcome), (Sign::Answered, Ok(())))
            || outcome.is_err_and(|error| error.kind().is_authoritative())
        {
            gate.answered(began, now);
            if gate.is_over(now) {
                tracing::info!(%vault, "no longer throttled");
            }
        }
        if circuit.ended(way, sign, now, &mut chance) {
            match outcome.err().filter(|_| !circuit.is_closed()) {
                // Not that it does not answer: a firewall does.
                Some(error) => tracing::warn!(%vault, reason = error.reason(), "fails each time: tried now and then"),
                None => tracing::info!(%vault, "answers again"),
            }
        }
        let size = self.size(gate, now);
        drop(state);
        self.turns.resize(size);
    }

    /// As it is now, for the metrics.
    pub(super) fn told(&self) -> VaultState {
        let state = self.state();
        let now = Moment::now();
        VaultState {
            gate_closed_for: state.gate.left(now).unwrap_or_default(),
            circuit_open: !state.circuit.is_closed(),
            calls_at_once: self.turns.size(),
        }
    }

    fn size(&self, gate: &Gate, now: Moment) -> usize {
        // A listing that waits must leave a turn to reads.
        ((self.calls_at_once as f64 * gate.share(now)) as usize).max(2.min(self.calls_at_once))
    }

    /// How long the gate stays closed, if that is longer than until then.
    fn closed_beyond(&self, until: Instant) -> Option<Duration> {
        let left = self.state().gate.left(Moment::now())?;
        (Instant::now() + left > until).then_some(left)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    allowance: &'a Allowance,
    caller: Caller<'a>,
    way: Way,
    began: Moment,
    _turn: Turn,
    over: bool,
}

impl Pass<'_> {
    /// It ended so.
    pub(super) fn end(mut self, outcome: Result<(), &VaultError>) {
        self.over = true;
        self.caller.metrics.upstream(self.caller.vault, self.caller.endpoint, word(outcome));
        self.allowance.learn(self.caller.vault, self.way, self.began, outcome);
    }

    /// Nothing had to be asked after all.
    pub(super) fn unused(mut self, subscription: &Tap) {
        self.over = true;
        self.allowance.give_back(subscription);
        let sign = Sign::Nothing;
        self.allowance.state().circuit.ended(self.way, sign, Moment::now(), || 0.0);
    }
}

impl Drop for Pass<'_> {
    /// It was given up, or fell.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let silent = VaultError::new(VaultErrorKind::TimedOut, "the vault did not answer within the time allowed");
        let outcome = if self.began.elapsed() >= SILENCE { Err(silent) } else { Ok(()) };
        let Caller { metrics, vault, endpoint } = self.caller;
        metrics.upstream(vault, endpoint, outcome.as_ref().map_or_else(VaultError::reason, |()| "given-up"));
        match outcome {
            Err(silent) => self.allowance.learn(vault, self.way, self.began, Err(&silent)),
            Ok(()) => {
                self.allowance.state().circuit.ended(self.way, Sign::Nothing, Moment::now(), || 0.5);
            }
        }
    }
}

/// What a call tells of its vault's reach.
fn sign(outcome: Result<(), &VaultError>) -> Sign {
    let Err(error) = outcome else { return Sign::Answered };
    if error.is_of_sign_in() {
        return Sign::Nothing;
    }
    match error.kind() {
        VaultErrorKind::NotFound
        | VaultErrorKind::Disabled
        | VaultErrorKind::Denied(_)
        | VaultErrorKind::Throttled { .. } => Sign::Answered,
        VaultErrorKind::TimedOut | VaultErrorKind::Unavailable(_) => Sign::Outage(error.clone()),
        VaultErrorKind::Unauthenticated { .. } | VaultErrorKind::Malformed => Sign::Nothing,
    }
}

pub(super) fn word(outcome: Result<(), &VaultError>) -> &'static str {
    outcome.map_or_else(VaultError::reason, |()| "ok")
}

fn closed(left: Duration) -> VaultError {
    let told = "the vault throttles, and is left alone until it may be asked again";
    VaultError::new(VaultErrorKind::Throttled { retry_after: Some(left) }, told).not_asked(left)
}

fn spent(wait: Duration) -> VaultError {
    let told = "more is asked of the vault than its budget allows";
    VaultError::new(VaultErrorKind::Throttled { retry_after: Some(wait) }, told).not_asked(wait)
}
