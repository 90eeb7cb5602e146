//! The best hits of very many, without sorting all of them.

use std::cmp::Ordering;

use super::cursor::Cursor;
use super::query::{Matching, Query, Sort, SortKey};
use super::segment::Segment;

/// In which order hits come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    By(Sort),
    /// Best first.
    Score,
}

/// A hit, before it is unpacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'s> {
    pub(super) number: Option<i64>,
    pub(super) name: &'s str,
    pub(super) vault: &'s str,
    pub(super) vault_index: usize,
    pub(super) row: usize,
    pub(super) score: u32,
}

/// The first hits after a cursor.
pub(super) struct Best<'s> {
    order: Order,
    limit: usize,
    after: Option<Place<'s>>,
    kept: Vec<Place<'s>>,
    /// Nothing at or after this can be among the first any more.
    bound: Option<Place<'s>>,
    /// Rows come by name: if hits do too, one that is past the bound ends its vault.
    closed: bool,
}

impl Order {
    pub(super) fn of(query: &Query) -> Self {
        match query.sort {
            Some(sort) => Self::By(sort),
            None if query.matching == Matching::Fuzzy && !query.text.is_empty() => Self::Score,
            None => Self::By(Sort { key: SortKey::Name, descending: false }),
        }
    }

    fn compare(self, a: &Place<'_>, b: &Place<'_>) -> Ordering {
        let by_name = || a.name.cmp(b.name);
        let by_vault = || a.vault.cmp(b.vault);
        match self {
            Self::Score => b.number.cmp(&a.number).then_with(by_name).then_with(by_vault),
            Self::By(Sort { key, descending }) => {
                let turned = |ordering: Ordering| if descending { ordering.reverse() } else { ordering };
                match key {
                    SortKey::Name => turned(by_name()).then_with(by_vault),
                    SortKey::Vault => turned(by_vault()).then_with(by_name),
                    SortKey::Expires | SortKey::Updated => match (a.number, b.number) {
                        (Some(a), Some(b)) => turned(a.cmp(&b)),
                        (Some(_), None) => Ordering::Less,
                        (None, Some(_)) => Ordering::Greater,
                        (None, None) => Ordering::Equal,
                    }
                    .then_with(by_name)
                    .then_with(by_vault),
                }
            }
        }
    }

    fn number(self, segment: &Segment, row: usize, score: u32) -> Option<i64> {
        match self {
            Self::Score => Some(i64::from(score)),
            Self::By(Sort { key, .. }) => match key {
                SortKey::Name | SortKey::Vault => None,
                SortKey::Expires => segment.expires(row),
                SortKey::Updated => segment.updated(row),
            },
        }
    }

    /// Whether, within a vault, rows in the order of names come in the order of hits.
    fn follows_rows(self) -> bool {
        match self {
            Self::Score => false,
            Self::By(Sort { key, descending }) => match key {
                SortKey::Name => !descending,
                SortKey::Vault => true,
                SortKey::Expires | SortKey::Updated => false,
            },
        }
    }
}

impl<'s> Best<'s> {
    pub(super) fn new(order: Order, limit: usize, after: Option<&'s Cursor>) -> Self {
        let after = after.map(|cursor| Place {
            number: cursor.number,
            name: &cursor.name,
            vault: &cursor.vault,
            vault_index: 0,
            row: 0,
            score: 0,
        });
        Self { order, limit, after, kept: Vec::new(), bound: None, closed: false }
    }

    /// The rows of another vault come now.
    pub(super) fn next_vault(&mut self) {
        self.closed = false;
    }

    /// Takes a row in if it can be among the first. False: no later row of this vault can, either.
    pub(super) fn offer(
        &mut self,
        segment: &'s Segment,
        row: usize,
        score: u32,
        (vault_index, vault): (usize, &'s str),
    ) -> bool {
        if self.closed {
            return false;
        }
        let number = self.order.number(segment, row, score);
        let place = Place { number, name: segment.name(row), vault, vault_index, row, score };
        if self.bound.as_ref().is_some_and(|bound| self.order.compare(&place, bound) != Ordering::Less) {
            self.closed = self.order.follows_rows();
            return !self.closed;
        }
        if self.after.as_ref().is_some_and(|after| self.order.compare(&place, after) != Ordering::Greater) {
            return true;
        }
        self.kept.push(place);
        // One more than asked for, to know whether there is a next page; twice that, so that cutting is rare.
        if self.kept.len() >= 2 * (self.limit + 1) {
            self.kept.select_nth_unstable_by(self.limit, |a, b| self.order.compare(a, b));
            self.kept.truncate(self.limit + 1);
            self.bound = self.kept.last().copied();
        }
        true
    }

    /// The same of a vault whose rows come under several addresses, or not all of them: each is looked at for itself.
    pub(super) fn offer_any(&mut self, segment: &'s Segment, row: usize, score: u32, vault: (usize, &'s str)) {
        self.closed = false;
        self.offer(segment, row, score, vault);
    }

    /// The hits in order, and whether there are more.
    pub(super) fn finish(mut self) -> (Vec<Place<'s>>, bool) {
        self.kept.sort_unstable_by(|a, b| self.order.compare(a, b));
        let more = self.kept.len() > self.limit;
        self.kept.truncate(self.limit);
        (self.kept, more)
    }
}
