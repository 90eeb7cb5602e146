use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Unanswered;
use crate::clock::Moment;
use crate::secret::{Reference, Secret, SecretName, VaultName, Version};

/// What a reader asks for: an address, and how fresh the answer must be.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `None`: whichever vault has it.
    pub vault: Option<VaultName>,
    /// The secret's name.
    pub name: SecretName,
    /// `None`: the current one.
    pub version: Option<Version>,
    /// What the reader accepts from the cache.
    pub steer: Steer,
}

/// What a reader accepts from the cache; the default is whatever is fresh. RFC 9111's request directives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steer {
    /// Read upstream now, joining no read that began earlier (`no-cache`).
    pub no_cache: bool,
    /// Nothing older than this (`max-age`).
    pub max_age: Option<Duration>,
    /// Nothing that is not held (`only-if-cached`).
    pub only_if_cached: bool,
}

impl From<&Reference> for Ask {
    fn from(reference: &Reference) -> Self {
        Self {
            vault: reference.vault.clone(),
            name: reference.name.clone(),
            version: reference.version.clone(),
            steer: Steer::default(),
        }
    }
}

/// What a get answers: the secret, where it was found, and how old the knowledge is.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The address of the vault that holds it.
    pub vault: VaultName,
    /// The secret; one copy, shared by all its readers.
    pub secret: Arc<Secret>,
    /// Time since the value was last known to be true: since an upstream read of it began, or a listing that proved it
    /// unchanged.
    pub age: Duration,
    /// What is left of its time to live, in whole seconds; negative once it is over.
    pub ttl: i64,
    /// Where it came from.
    pub origin: Origin,
    /// Why it is no longer fresh, if it is not; a stable word for machines.
    pub stale: Option<&'static str>,
    /// Vaults that could not be asked whether they hold the name too; only in an any-vault read.
    pub incomplete: Vec<Unanswered>,
    /// When `age` and `ttl` were told.
    pub(super) told: Moment,
}

/// Where a reading came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was held.
    Held,
    /// It was read upstream for this reader.
    Read(Forward),
    /// It was read upstream for another reader who asked at the same time.
    Collapsed(Forward),
}

/// Why what was held did not do, as RFC 9211, 2.2 tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Nothing was held.
    Miss,
    /// What was held had outlived its time to live.
    Stale,
    /// The reader would not have it: it asked past the cache, or for something younger.
    Request,
}

impl Reading {
    /// As old as it is now: what had to wait for other answers has aged meanwhile.
    pub(super) fn aged(self) -> Self {
        let now = Moment::now();
        let waited = now - self.told;
        let seconds = i64::try_from(waited.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        Self { age: self.age + waited, ttl: self.ttl.saturating_sub(seconds), told: now, ..self }
    }

    /// The address that leads to this very secret, without its version.
    #[must_use]
    pub fn reference(&self) -> Reference {
        Reference::new(self.vault.clone(), self.secret.metadata.name.clone())
    }
}
