//! A listing that is coming in, beside what is known of its vault. What it tells that is known already is compared and let
//! go: a listing that brings nothing new, as nearly all do, is never held and never packed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::segment::Segment;
use crate::secret::{Metadata, SecretName};

/// The rows told so far.
pub(super) struct Incoming {
    known: Option<Arc<Segment>>,
    /// Which rows of it were told again, unchanged.
    again: Vec<bool>,
    /// How many those are.
    same: usize,
    /// Where the next row is, if they come in the same order.
    next: usize,
    /// What was told and is not known so, as it was told last.
    new: BTreeMap<SecretName, Metadata>,
}

impl Incoming {
    /// Nothing is told yet.
    pub(super) fn beside(known: Option<Arc<Segment>>) -> Self {
        let again = vec![false; known.as_ref().map_or(0, |known| known.len())];
        Self { known, again, same: 0, next: 0, new: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, row: Metadata) {
        match self.place_of(&row) {
            Some(place) => {
                self.same += usize::from(!std::mem::replace(&mut self.again[place], true));
                self.next = place + 1;
                self.new.remove(&row.name);
            }
            None => drop(self.new.insert(row.name.clone(), row)),
        }
    }

    /// How many secrets were told.
    pub(super) fn len(&self) -> usize {
        self.same + self.new.len()
    }

    /// All that was told. What is known, itself, if that is the same.
    pub(super) fn packed(self) -> Arc<Segment> {
        let Self { known, again, same, next: _, new } = self;
        let Some(known) = known else { return Arc::new(Segment::pack(new.into_values().collect())) };
        if new.is_empty() && same == known.len() {
            return known;
        }
        let again = again.iter().enumerate().filter(|(_, again)| **again).map(|(row, _)| known.metadata(row));
        // Of a name that was told both ways, what is new was told last.
        Arc::new(Segment::pack(again.chain(new.into_values()).collect()))
    }

    /// Where what is known has exactly that.
    fn place_of(&self, row: &Metadata) -> Option<usize> {
        let known = self.known.as_ref()?;
        if self.next < known.len() && known.is(self.next, row) {
            return Some(self.next);
        }
        known.find(row.name.as_str()).filter(|place| known.is(*place, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Metadata {
        Metadata::new(name.parse().unwrap())
    }

    fn disabled(name: &str) -> Metadata {
        Metadata { enabled: false, ..named(name) }
    }

    fn after(known: &Arc<Segment>, told: impl IntoIterator<Item = Metadata>) -> Arc<Segment> {
        let mut incoming = Incoming::beside(Some(Arc::clone(known)));
        told.into_iter().for_each(|row| incoming.take(row));
        incoming.packed()
    }

    #[test]
    fn what_is_known_is_kept_in_whatever_order_and_however_often_it_is_told() {
        let known = Arc::new(Segment::pack(vec![named("a"), disabled("b"), named("c")]));
        for told in [["a", "b", "c", "c"], ["c", "b", "a", "a"], ["b", "a", "b", "c"]] {
            let told = told.map(|name| if name == "b" { disabled(name) } else { named(name) });
            assert!(Arc::ptr_eq(&known, &after(&known, told)));
        }
    }

    #[test]
    fn what_is_new_gone_or_changed_is_as_if_nothing_had_been_known() {
        let known = Arc::new(Segment::pack(vec![named("a"), named("b"), named("c")]));
        for told in [
            vec![named("a"), named("b")],
            vec![named("a"), disabled("b"), named("c"), named("d")],
            vec![named("0"), named("c"), named("a")],
            vec![],
            // Told twice: the last counts.
            vec![named("a"), disabled("b"), named("b"), named("c")],
            vec![named("b"), disabled("b"), named("c")],
        ] {
            assert_eq!(*after(&known, told.clone()), Segment::pack(told));
        }
    }
}
