//! What was told lately: bounded, in order, and by secret.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Event, Kind};
use crate::secret::{SecretName, VaultName, Version};

/// Events kept for those who come back: some hundred bytes each.
pub(super) const KEPT: usize = 4_096;

/// The last events, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Ring {
    past: VecDeque<Past>,
    /// The number of the last event.
    head: u64,
    /// By `source:vault` and name, the number of the last event.
    last: HashMap<(VaultName, SecretName), u64>,
}

#[derive(Debug)]
struct Past {
    event: Arc<Event>,
    stamp: Option<u64>,
}

/// What was last told of a secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last<'a> {
    pub(super) kind: Kind,
    pub(super) version: Option<&'a Version>,
    /// Of the attributes that it had.
    pub(super) stamp: Option<u64>,
}

impl Ring {
    /// The number of the last event.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The number of the oldest that is still there; one past the head if there is none.
    fn oldest(&self) -> u64 {
        self.head + 1 - self.past.len() as u64
    }

    pub(super) fn push(&mut self, event: Event, stamp: Option<u64>) {
        if self.past.len() == KEPT {
            self.forget_oldest();
        }
        self.head += 1;
        if let Some(name) = &event.name {
            self.last.insert((event.id.clone(), name.clone()), self.head);
        }
        self.past.push_back(Past { event: Arc::new(event), stamp });
    }

    /// The events after that number, with their numbers. `None`: some of them are no longer there, or it is none of
    /// ours.
    pub(super) fn after(&self, number: u64) -> Option<impl Iterator<Item = (u64, &Arc<Event>)>> {
        if number > self.head {
            return None;
        }
        let skip = usize::try_from((number + 1).checked_sub(self.oldest())?).ok()?;
        Some((number + 1..).zip(self.past.iter().skip(skip).map(|past| &past.event)))
    }

    /// What was last told of a secret, if that is still there.
    pub(super) fn last(&self, vault: &VaultName, name: &SecretName) -> Option<Last<'_>> {
        let number = self.last.get(&(vault.clone(), name.clone()))?;
        let past = self.past.get(usize::try_from(number - self.oldest()).ok()?)?;
        Some(Last { kind: past.event.kind, version: past.event.version.as_ref(), stamp: past.stamp })
    }

    fn forget_oldest(&mut self) {
        let number = self.oldest();
        let Some(Past { event, .. }) = self.past.pop_front() else { return };
        if let Some(name) = &event.name {
            let key = (event.id.clone(), name.clone());
            if self.last.get(&key) == Some(&number) {
                self.last.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> Event {
        Event {
            kind: Kind::Changed,
            vault: "v".parse().unwrap(),
            name: Some(name.parse().unwrap()),
            version: None,
            reason: None,
            at: time::OffsetDateTime::UNIX_EPOCH,
            id: "s:v".parse().unwrap(),
            echo: None,
        }
    }

    #[test]
    fn what_falls_out_is_known_to_have_fallen_out_and_nothing_of_it_stays() {
        let mut ring = Ring::default();
        assert!(ring.after(0).unwrap().next().is_none() && ring.after(1).is_none());
        for n in 0..KEPT + 3 {
            ring.push(event(&format!("n{n}")), Some(n as u64));
        }
        assert_eq!(ring.last.len(), KEPT);
        assert!(ring.after(0).is_none() && ring.after(2).is_none() && ring.after(u64::MAX).is_none());
        let all: Vec<u64> = ring.after(3).unwrap().map(|(number, _)| number).collect();
        assert_eq!((all.len(), all[0], all[KEPT - 1]), (KEPT, 4, ring.head()));
        assert_eq!(ring.after(ring.head() - 1).unwrap().count(), 1);
        assert_eq!(ring.after(ring.head()).unwrap().count(), 0);
        let of = |name: &str| ring.last(&"s:v".parse().unwrap(), &name.parse().unwrap()).map(|last| last.stamp);
        assert_eq!((of("n2"), of("n3"), of("n4098")), (None, Some(Some(3)), Some(Some(4_098))));
    }
}
