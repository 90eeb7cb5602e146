//! A vault that does not answer is tried by one call at a time, after waits that grow; everybody else is told at once
//! what the last one met.

use std::time::Duration;

use crate::clock::Moment;
use crate::vaults::VaultError;

/// Outages in a row that open the circuit.
const OUTAGES: u32 = 3;
/// Between two probes: at most this, doubled each time, up to the cap.
const FIRST: Duration = Duration::from_secs(1);
/// With the time over which those who were not asked come back (30 s, in the cache), all is fresh again
/// within the 60 s that a back-off may last.
const CAP: Duration = Duration::from_secs(30);
/// The least, so that chance makes no loop.
const LEAST: Duration = Duration::from_millis(100);

/// By which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All is well, as far as is known.
    Open,
    /// It alone tries whether the vault answers again.
    Probe,
}

/// What a call tells of the vault's reach.
#[derive(Debug)]
pub(super) enum Sign {
    /// It spoke, whatever it said.
    Answered,
    /// It did not.
    Outage(VaultError),
    /// Nothing is known: the call was given up, signing in failed, or the answer was another's.
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// Outages in a row.
    outages: u32,
    last: Option<VaultError>,
    /// Probes that failed in a row.
    probes: u32,
    probing: bool,
    /// No probe before then.
    next: Moment,
}

impl Circuit {
    pub(super) fn is_closed(&self) -> bool {
        self.outages < OUTAGES
    }

    /// Whether a call may go now.
    ///
    /// # Errors
    /// What the last one met, and how long it will be until the next may go, about.
    pub(super) fn check(&self, now: Moment) -> Result<Way, (VaultError, Duration)> {
        let Some(last) = self.last.as_ref().filter(|_| !self.is_closed()) else { return Ok(Way::Open) };
        if self.probing {
            return Err((last.clone(), FIRST));
        }
        if now < self.next {
            return Err((last.clone(), self.next - now));
        }
        Ok(Way::Probe)
    }

    /// As [`Circuit::check`], and the call goes.
    pub(super) fn enter(&mut self, now: Moment) -> Result<Way, (VaultError, Duration)> {
        let way = self.check(now)?;
        self.probing |= way == Way::Probe;
        Ok(way)
    }

    /// That call is over. True if it was the one that opened the circuit, or closed it.
    pub(super) fn ended(&mut self, way: Way, sign: Sign, now: Moment, chance: impl FnOnce() -> f64) -> bool {
        let was_closed = self.is_closed();
        if way == Way::Probe {
            self.probing = false;
        }
        match sign {
            Sign::Answered => *self = Self { probing: self.probing, ..Self::default() },
            Sign::Outage(error) => {
                self.outages = self.outages.saturating_add(1);
                self.last = Some(error);
                if way == Way::Probe {
                    self.probes = self.probes.saturating_add(1);
                }
                if way == Way::Probe || was_closed && !self.is_closed() {
                    self.next = now + self.wait(chance());
                }
            }
            // A probe that told nothing must not be followed by another one at once.
            Sign::Nothing if way == Way::Probe => self.next = now + self.wait(chance()),
            Sign::Nothing => {}
        }
        was_closed != self.is_closed()
    }

    /// Full jitter.
    fn wait(&self, chance: f64) -> Duration {
        FIRST.saturating_mul(2u32.saturating_pow(self.probes)).min(CAP).mul_f64(chance).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vaults::VaultErrorKind;

    fn outage() -> Sign {
        Sign::Outage(VaultError::new(VaultErrorKind::TimedOut, "silence"))
    }

    #[test]
    fn three_outages_in_a_row_open_it_and_one_probe_at_a_time_goes_after_waits_that_grow() {
        let mut now = Moment::now();
        let mut circuit = Circuit::default();
        for sign in [outage(), outage(), Sign::Answered, outage(), outage()] {
            let way = circuit.enter(now).unwrap();
            assert!(!circuit.ended(way, sign, now, || 1.0), "not three in a row");
        }
        assert!(circuit.ended(Way::Open, outage(), now, || 1.0));
        let mut waits = Vec::new();
        for _ in 0..7 {
            let (_, wait) = circuit.check(now).unwrap_err();
            waits.push(wait.as_secs());
            now = now + wait;
            assert_eq!(circuit.enter(now).unwrap(), Way::Probe);
            assert!(circuit.enter(now).is_err(), "one at a time");
            circuit.ended(Way::Probe, outage(), now, || 1.0);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        now = now + CAP;
        let probe = circuit.enter(now).unwrap();
        circuit.ended(probe, Sign::Nothing, now, || 1.0);
        assert!(
            circuit.check(now).is_err(),
            "a probe that told nothing has not closed it, nor may another follow at once"
        );
        now = now + CAP;
        let probe = circuit.enter(now).unwrap();
        assert!(circuit.ended(probe, Sign::Answered, now, || 1.0));
        assert_eq!(circuit.enter(now).unwrap(), Way::Open);
    }
}
