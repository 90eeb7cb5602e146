//! Whoever is not let in leaves a line in the audit too, and it costs nothing to be one: of each party a few are told in a
//! minute, and then, in one line, how many more there were. So a flood of them fills no disk, and pushes no read out of
//! the files that are kept.
//!
//! Must never happen: a line of a caller who was let in left out; a refusal that neither a line nor a count tells of; memory
//! that grows with who comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::room::Party;
use crate::access::audit::LeftOut;

/// Of each party, in each [`PERIOD`].
const TOLD: u64 = 20;
/// From one count to the next.
pub(super) const PERIOD: Duration = Duration::from_secs(60);
/// So many parties are counted by themselves; all others together.
const PARTIES: usize = 64;

/// Refusals since the last count. A cheap handle.
#[derive(Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<HashMap<Option<Party>, Count>>>);

#[derive(Default)]
struct Count {
    met: u64,
    /// When the first one was left out.
    since: Option<OffsetDateTime>,
}

impl Strangers {
    /// Whether one more refusal of that party has a line of its own. If not, it is counted.
    pub(super) fn tells(&self, party: Party) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_one_more = counts.len() >= PARTIES && !counts.contains_key(&Some(party));
        let count = counts.entry((!is_one_more).then_some(party)).or_default();
        count.met += 1;
        let tells = count.met <= TOLD;
        if !tells {
            count.since.get_or_insert_with(OffsetDateTime::now_utc);
        }
        tells
    }

    /// What was left out since this was asked last.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let told = |(party, count): (Option<Party>, Count)| {
            let (uid, from) = party.map_or((None, None), Party::told);
            Some(LeftOut { since: count.since?, lines: count.met.saturating_sub(TOLD), uid, from })
        };
        counts.into_iter().filter_map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_party_some_are_told_and_the_others_are_counted() {
        let strangers = Strangers::default();
        let address = Party::of_address([192, 0, 2, 7].into());
        for (party, more) in [(Party::User(7), 3), (address, 0), (Party::Nobody, 100)] {
            let told = (0..TOLD + more).filter(|_| strangers.tells(party)).count() as u64;
            assert_eq!(told, TOLD, "{party:?}");
        }
        let mut left = strangers.left_out();
        left.sort_by_key(|left| left.lines);
        let told: Vec<_> = left.iter().map(|left| (left.lines, left.uid, left.from)).collect();
        assert_eq!(told, [(3, Some(7), None), (100, None, None)]);
        assert!(strangers.left_out().is_empty() && strangers.tells(Party::User(7)), "each period begins anew");
        assert!((0..TOLD).all(|_| strangers.tells(address)) && !strangers.tells(address));
        assert_eq!(strangers.left_out()[0].from, Some([192, 0, 2, 7].into()));
    }

    #[test]
    fn of_very_many_parties_the_later_ones_are_counted_together_and_none_is_forgotten() {
        let strangers = Strangers::default();
        let parties = 10_000_u32;
        let told = (0..parties).filter(|user| strangers.tells(Party::User(*user))).count() as u64;
        assert_eq!(told, PARTIES as u64 + TOLD);
        assert!(strangers.0.lock().unwrap().len() <= PARTIES + 1);
        let left: u64 = strangers.left_out().iter().map(|left| left.lines).sum();
        assert_eq!(told + left, u64::from(parties));
    }
}
