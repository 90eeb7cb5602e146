//! What a simulated vault holds at every moment: written before the world begins, and never changed by it, so that the
//! checker can look up what was true when.

use super::dice::Dice;

/// Milliseconds of virtual time since the world began.
pub type Ms = u64;

pub const SECOND: Ms = 1_000;
pub const MINUTE: Ms = 60 * SECOND;

/// One version, as it is at some time. Later versions of a name have greater numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub number: u32,
    pub enabled: bool,
    /// Whole seconds, on the vault's own clock.
    pub created: i64,
    pub updated: i64,
    pub tag: u32,
}

/// A secret's life: from each moment on, its versions, oldest first; empty while it is not there.
#[derive(Debug, Clone, Default)]
pub struct Secret {
    pub states: Vec<(Ms, Vec<Version>)>,
}

/// What somebody does to a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Write,
    /// Its tags change, not its value.
    Touch,
    Delete,
    /// What was deleted comes back as it was.
    Recover,
    Disable,
    Enable,
}

impl Secret {
    /// Lives through these acts, in the order of time, on a clock that tells wall time in seconds.
    pub fn live(mut acts: Vec<(Ms, Act)>, present: bool, wall: impl Fn(Ms) -> i64, dice: &mut Dice) -> Self {
        acts.sort_by_key(|(at, _)| *at);
        let (mut number, mut touches) = (0, 0);
        let old = wall(0) - 86_400 * 30 - dice.within(0, 1_000) as i64;
        let version = |number, at| Version { number, enabled: true, created: at, updated: at, tag: 0 };
        let mut now: Vec<Version> = if present { vec![version(0, old)] } else { Vec::new() };
        let mut deleted: Vec<Version> = Vec::new();
        let mut secret = Self { states: vec![(0, now.clone())] };
        for (at, act) in acts {
            let second = wall(at);
            match (act, now.last_mut()) {
                (Act::Write, _) => {
                    number += 1;
                    now.push(version(number, second));
                    deleted.clear();
                }
                (Act::Touch, Some(last)) => {
                    touches += 1;
                    (last.tag, last.updated) = (touches, second);
                }
                (Act::Disable, Some(last)) => (last.enabled, last.updated) = (false, second),
                (Act::Enable, Some(last)) => (last.enabled, last.updated) = (true, second),
                (Act::Delete, Some(_)) => deleted = std::mem::take(&mut now),
                (Act::Recover, None) if !deleted.is_empty() => now = std::mem::take(&mut deleted),
                (Act::Touch | Act::Disable | Act::Enable | Act::Delete, None) | (Act::Recover, _) => continue,
            }
            secret.states.push((at, now.clone()));
        }
        secret
    }

    /// Its versions at that time.
    pub fn at(&self, at: Ms) -> &[Version] {
        let next = self.states.partition_point(|(from, _)| *from <= at);
        &self.states[next.max(1) - 1].1
    }

    /// The states that were true at some time of `from..=to`.
    pub fn during(&self, from: Ms, to: Ms) -> impl Iterator<Item = &[Version]> {
        let first = self.states.partition_point(|(at, _)| *at <= from).max(1) - 1;
        self.states[first..].iter().take_while(move |(at, _)| *at <= to || *at == 0).map(|(_, state)| &state[..])
    }

    /// Whether stamps tell its versions apart, in the order in which they were written.
    pub fn is_orderly(&self) -> bool {
        let shown = |state: &(Ms, Vec<Version>)| state.1.last().map(|last| (last.updated, last.number, last.tag));
        let all: Vec<_> = self.states.iter().filter_map(shown).collect();
        all.windows(2).all(|pair| pair[0].0 < pair[1].0 || pair[0] == pair[1])
    }
}
