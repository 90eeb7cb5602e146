//! Telling watchers what changes, never a value.
//!
//! - `hub` weighs what listings and reads show, and decides what is told, and when; `ring` keeps what was told lately;
//!   [`Watch`] is one watcher's place in it.
//!
//! What must never happen: a value in an event; a change told while a reader would still be given what was before it; one
//! change told twice; a change told to who may not read what changed; a watcher that missed something and is not told so; memory that grows with a slow watcher. For the
//! last two no watcher has a queue: each has a place in the one ring, and who falls behind it is told to read anew.

mod hub;
mod ring;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::catalog::{Pattern, Speaker};
use crate::rights::{Rights, Verb};
use crate::secret::{Reference, SecretName, VaultName, Version};
pub(super) use hub::Hub;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A secret has another value or other attributes.
    Changed,
    /// A secret is there that was not.
    Added,
    /// A secret is no longer served: it is gone, or sidekey may not read it any more; the reason tells which.
    Removed,
    /// A secret is there and disabled.
    Disabled,
    /// A vault can be listed that could not be, or the other way round, or for another reason.
    Vault,
}

/// Something that happened to a secret or a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// The vault's address.
    pub vault: VaultName,
    /// The secret; `None` of a vault.
    pub name: Option<SecretName>,
    /// The version that is served now, if it was read; a listing does not tell it.
    pub version: Option<Version>,
    /// Why a secret is no longer served, or a vault cannot be listed; a stable word for machines.
    pub reason: Option<&'static str>,
    /// When it was told.
    pub at: OffsetDateTime,
    /// `source:vault`.
    id: VaultName,
    /// The vault is one that another source has found too, and tells of.
    echo: Option<Speaker>,
}

/// Names an event, and the place behind it. Another run of the process has other ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    run: u64,
    number: u64,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What happened next.
    Event(EventId, Arc<Event>),
    /// Something may have been missed: what is watched is to be read anew. It goes on from here.
    Resync(EventId),
}

/// What one watcher wants to be told of; by default everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Secrets, and their vaults; none means all.
    pub patterns: Vec<Pattern>,
}

/// One watcher's place.
#[derive(Debug)]
pub struct Watch {
    hub: Hub,
    scope: Arc<Scope>,
    head: watch::Receiver<u64>,
    /// The last event that was passed.
    passed: u64,
    /// It asked to go on from where nobody knows.
    lost: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// Waits for the next. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Told {
        let hub = self.hub.clone();
        loop {
            // Before looking: what comes after that wakes us.
            self.head.borrow_and_update();
            if let Some(told) = hub.next(self) {
                return told;
            }
            // The sender lives in the hub, which is held here.
            let _ = self.head.changed().await;
        }
    }

    /// From where to go on later without a gap.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId { run: self.hub.run(), number: self.passed }
    }
}

/// What one watcher is told of: what it wants, as far as it may.
#[derive(Debug)]
struct Scope {
    filter: Filter,
    rights: Rights,
}

impl Scope {
    /// Under which of the vault's addresses the watcher is told of that event; `None`: not at all.
    fn shows<'e>(&self, event: &'e Event) -> Option<&'e VaultName> {
        let Filter { patterns } = &self.filter;
        if patterns.is_empty() {
            return self.shows_by(None, event);
        }
        let means = |pattern: &&Pattern| match &event.name {
            Some(name) => pattern.means(&event.vault, &event.id, name),
            None => pattern.covers(&event.vault, &event.id),
        };
        patterns.iter().filter(means).find_map(|pattern| self.shows_by(Some(pattern), event))
    }

    /// The same because of a pattern that means it, or of none, which means everything.
    fn shows_by<'e>(&self, pattern: Option<&Pattern>, event: &'e Event) -> Option<&'e VaultName> {
        // A name is watched by who may read it: what a stream tells of it, a read would. What a glob means must be there
        // to be found.
        let named = pattern.and_then(Pattern::name);
        let verbs: &[Verb] = if named.is_some() { &[Verb::Read] } else { &Verb::ALL };
        let name = named.as_ref().or(event.name.as_ref());
        let shown = |address: &'e VaultName, id: &'e VaultName| match name {
            Some(name) => self.rights.shows(verbs, address, id, name),
            None => self.rights.shows_vault(verbs, address, id),
        };
        // One change is told once, whoever else sees it; but who names the other source's view is told of that.
        let by_another = event.echo.as_ref().and_then(|speaker| shown(&speaker.address, &speaker.id));
        let names_it = pattern.and_then(Pattern::vault).is_some();
        if by_another.is_some() && !names_it { None } else { shown(&event.vault, &event.id) }
    }

    /// Whether the watcher is to be told of that secret, so that its value is read again for it.
    fn wants(&self, address: &VaultName, id: &VaultName, name: &SecretName) -> bool {
        let Self { filter: Filter { patterns }, rights } = self;
        let means = patterns.is_empty() || patterns.iter().any(|pattern| pattern.means(address, id, name));
        means && rights.shows(&[Verb::Read], address, id, name).is_some()
    }
}

impl Event {
    /// The same under another of the vault's addresses.
    fn shown_as(&self, address: &VaultName) -> Self {
        Self { vault: address.clone(), ..self.clone() }
    }

    /// The secret's address, without its version; `None` of a vault.
    #[must_use]
    pub fn reference(&self) -> Option<Reference> {
        self.name.clone().map(|name| Reference::new(self.vault.clone(), name))
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Changed, Self::Added, Self::Removed, Self::Disabled, Self::Vault];

    /// A stable word for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Disabled => "disabled",
            Self::Vault => "vault",
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.number)
    }
}

/// Not the id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no event's id")]
pub struct BadEventId;

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        let (run, number) = text.split_once('-').ok_or(BadEventId)?;
        let id = Self {
            run: u64::from_str_radix(run, 16).map_err(|_| BadEventId)?,
            number: number.parse().map_err(|_| BadEventId)?,
        };
        // Only as it was told: no signs, no other case.
        if id.to_string() == text { Ok(id) } else { Err(BadEventId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_only_as_it_was_told() {
        let id = EventId { run: 0x2a, number: 7 };
        assert_eq!(id.to_string(), "000000000000002a-7");
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in ["", "7", "-", "2a-7", "000000000000002A-7", "000000000000002a-+7", "000000000000002a-07", "x-7"] {
            assert_eq!(other.parse::<EventId>(), Err(BadEventId), "{other}");
        }
        assert_eq!(format!("000000000000002a-{}", u128::MAX).parse::<EventId>(), Err(BadEventId));
    }
}
