//! What a listing told: for those above who hold values, or watch.

use std::sync::Arc;

use super::segment::Segment;
use crate::clock::Moment;
use crate::secret::{Metadata, SecretName, VaultName};
use crate::vaults::VaultError;

/// A listing of one vault that has ended.
#[derive(Debug)]
pub struct Listing {
    /// `source:vault`.
    pub vault: VaultName,
    /// When it began: what happened later may be missing from it.
    pub began: Moment,
    /// Why the listing before failed, if it did.
    pub failed_before: Option<VaultError>,
    /// Why this one failed, if it did. It tells nothing of any secret then.
    pub failure: Option<VaultError>,
    pub(super) before: Option<Arc<Segment>>,
    pub(super) after: Option<Arc<Segment>>,
}

/// How a secret differs from what the listing before showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added(Metadata),
    /// It is no longer there.
    Removed(SecretName),
    /// Its attributes moved, and with them, perhaps, its value.
    Changed {
        /// As it was.
        before: Metadata,
        /// As it is.
        after: Metadata,
    },
}

impl Listing {
    /// What it showed of a secret. `None` of a listing that failed means nothing.
    #[must_use]
    pub fn metadata(&self, name: &SecretName) -> Option<Metadata> {
        let after = self.after.as_ref()?;
        Some(after.metadata(after.find(name.as_str())?))
    }

    /// Everything it showed, by name; nothing if it failed.
    pub fn all(&self) -> impl Iterator<Item = Metadata> + '_ {
        self.after.iter().flat_map(|after| (0..after.len()).map(|row| after.metadata(row)))
    }

    /// Whether it is the first whole one.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.failure.is_none() && self.before.is_none()
    }

    /// How it differs from the last whole listing, by name. Nothing if one of them is missing: a first listing adds
    /// nothing, it begins.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Vec::new() };
        if Arc::ptr_eq(before, after) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let (mut old, mut new) = (0, 0);
        // Both are in the order of names.
        while old < before.len() || new < after.len() {
            let order = match (old < before.len(), new < after.len()) {
                (true, true) => before.name(old).cmp(after.name(new)),
                (true, false) => std::cmp::Ordering::Less,
                (false, _) => std::cmp::Ordering::Greater,
            };
            match order {
                std::cmp::Ordering::Less => changes.push(Change::Removed(before.metadata(old).name)),
                std::cmp::Ordering::Greater => changes.push(Change::Added(after.metadata(new))),
                std::cmp::Ordering::Equal => {
                    let (before, after) = (before.metadata(old), after.metadata(new));
                    if before != after {
                        changes.push(Change::Changed { before, after });
                    }
                }
            }
            old += usize::from(order.is_le());
            new += usize::from(order.is_ge());
        }
        changes
    }
}
