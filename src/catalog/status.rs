//! What the catalog answers about vaults: the answers' types, no behaviour.

use std::sync::Arc;
use std::time::Duration;

use super::record::Record;
use crate::secret::{Metadata, SourceName, VaultName};
use crate::vaults::{SkipReason, Vault, VaultError, VaultInfo};

/// A vault that can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Entry {
    /// How it is addressed by whoever this was told to: the bare name, or `source:vault` if another vault has the bare
    /// name, or they may do nothing by it.
    pub address: VaultName,
    /// The vault itself.
    pub vault: Arc<dyn Vault>,
    /// The address that it has for those who may do everything.
    pub(super) given: VaultName,
    pub(super) record: Arc<Record>,
}

impl Entry {
    /// The same under an address that is shown to somebody.
    #[must_use]
    pub fn shown_as(&self, address: &VaultName) -> Self {
        Self { address: address.clone(), ..self.clone() }
    }

    /// The same under the address that it has for those who may do everything.
    #[must_use]
    pub fn as_given(&self) -> Self {
        self.shown_as(&self.given)
    }

    /// Whether that is one of its addresses.
    #[must_use]
    pub fn is_at(&self, address: &VaultName) -> bool {
        self.given == *address || self.id() == address
    }

    /// `source:vault`, which never changes its meaning whatever other sources hold: the key to cache by.
    #[must_use]
    pub fn id(&self) -> &VaultName {
        &self.record.id
    }

    /// How many secrets the last listing told; `None` before the first.
    #[must_use]
    pub fn known_secrets(&self) -> Option<usize> {
        self.record.standing().known.as_ref().map(|known| known.segment.len())
    }
}

/// What an address means.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// A vault that can be asked.
    Found(Entry),
    /// It exists and will not be asked.
    Skipped(SkippedVault),
    /// No source has it. If `faults` is not empty the last rounds of discovery were short, and it may exist all the same.
    NotFound {
        /// What kept discovery from seeing everything.
        faults: Vec<DiscoveryFault>,
    },
    /// Discovery has not finished its first round: nobody can tell yet.
    NotYet,
}

/// A vault that discovery saw and that is never asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedVault {
    /// The bare name, or `source:vault` if a vault that can be asked has the bare name.
    pub address: VaultName,
    /// What is known of it.
    pub info: VaultInfo,
    /// Why it is not asked.
    pub reason: SkipReason,
}

/// Why a source's last round of discovery may have been short.
#[derive(Debug, Clone)]
pub struct DiscoveryFault {
    /// Whose round.
    pub source: SourceName,
    /// What went wrong.
    pub error: VaultError,
}

/// The view of a vault that speaks for those of other sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// How it is addressed.
    pub address: VaultName,
    /// `source:vault`.
    pub id: VaultName,
}

/// Whether values of a vault can be read, as far as gets have shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReadState {
    /// No get was answered yet.
    #[default]
    Unknown,
    /// The last get was let through, whether or not the secret existed.
    Ok,
    /// The last get was refused.
    Denied {
        /// [`VaultError::reason`].
        reason: &'static str,
        /// For people.
        detail: String,
    },
}

/// What listing a vault has led to.
#[derive(Debug, Clone)]
pub enum Reach {
    /// It is not asked at all.
    Skipped(SkipReason),
    /// No listing has ended yet.
    NotYetListed,
    /// The last listing went through.
    Listed,
    /// The last listing failed. What was known before is kept.
    ListingFailed(VaultError),
}

impl Reach {
    /// A stable word for machines: `ok`, `not-listed-yet`, or the reason why not.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Skipped(reason) => reason.code(),
            Self::NotYetListed => NOT_LISTED_YET,
            Self::Listed => "ok",
            Self::ListingFailed(error) => error.reason(),
        }
    }
}

pub(super) const NOT_LISTED_YET: &str = "not-listed-yet";
pub(super) const DISCOVERING: &str = "discovering";
pub(super) const OVERDUE: &str = "listing-overdue";

/// What is known of a vault's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownContent {
    /// Since the start of the listing that told it.
    pub age: Duration,
    /// How many secrets.
    pub secrets: usize,
    /// How many of them are disabled.
    pub disabled: usize,
    /// False: the listing broke off and there was never a whole one, so there may be more.
    pub whole: bool,
}

/// One vault, as `vaults` shows it.
#[derive(Debug, Clone)]
pub struct VaultStatus {
    /// How callers address it.
    pub address: VaultName,
    /// What is known without asking it.
    pub info: VaultInfo,
    /// It is the same vault as that one, which an earlier source has found: searches tell of it once.
    pub duplicate_of: Option<VaultName>,
    /// How listing it goes.
    pub reach: Reach,
    /// What listings have told; `None` before the first.
    pub known: Option<KnownContent>,
    /// How reading it goes.
    pub read: ReadState,
}

/// A secret in a vault, as the catalog knows it.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The vault.
    pub entry: Entry,
    /// The same vault through other sources, for a read that this one's identity is refused.
    pub others: Vec<Entry>,
    /// The secret's metadata.
    pub metadata: Metadata,
    /// Since the start of the listing that told it.
    pub age: Duration,
}

/// A vault that may hold a secret although the catalog cannot say so.
#[derive(Debug, Clone)]
pub struct Doubtful {
    /// The vault.
    pub entry: Entry,
    /// The same vault through other sources, for a read that this one's identity is refused.
    pub others: Vec<Entry>,
    /// Why its last listing failed; `None`: it was never listed, or not for too long.
    pub why: Option<VaultError>,
    /// How old the knowledge is that does not show the secret; `None`: there is none.
    pub age: Option<Duration>,
}

/// Which vaults hold a secret of some name.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// These do, by the address of the vault. Disabled secrets are among them.
    pub held_by: Vec<Holder>,
    /// Nothing whole is known of these: only a get can tell.
    pub unlisted: Vec<Doubtful>,
    /// These did not hold it when they were last listed, but listing them fails now (or is long overdue): it may have
    /// been made since.
    pub stale: Vec<Doubtful>,
    /// These exist and are never asked. A vault that another source can ask is not among them.
    pub skipped: Vec<SkippedVault>,
    /// Why there may be vaults that nobody knows of.
    pub discovery_faults: Vec<DiscoveryFault>,
    /// Some source has not finished its first round.
    pub discovering: bool,
}

impl Holders {
    /// Whether the answer is everything: no vault that might hold it went unasked.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
            && self.stale.is_empty()
            && self.skipped.is_empty()
            && self.discovery_faults.is_empty()
            && !self.discovering
    }
}

/// How far the first round is, for progress bars and readiness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every source has finished its first round of discovery, well or not.
    pub discovery_done: bool,
    /// Vaults that can be asked.
    pub vaults: usize,
    /// Of them, listed whole at least once.
    pub listed: usize,
    /// Of them, tried and never listed whole.
    pub failed: usize,
    /// Secrets known in all.
    pub secrets: usize,
    /// Vaults were taken in from before a restart.
    pub recalled: bool,
    /// Some vault has once given a listing, its own refusal of one, or a value; or a whole round has found that there is
    /// none: what was started in an outage has not got so far.
    pub reached: bool,
    /// Once every source was asked and every vault that it told of was listed, or could not be. Stays true: what is found
    /// later holds nothing up.
    pub explored: bool,
}

impl Progress {
    /// Every source was asked, and every vault that they told of, and none has answered.
    #[must_use]
    pub fn is_shut_out(&self) -> bool {
        self.explored && !self.reached && !self.recalled
    }
}

/// Something that an answer does without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The vault; `None`: discovery itself is short, and which vaults are missing cannot be told.
    pub vault: Option<VaultName>,
    /// Whose vault, or whose discovery.
    pub source: SourceName,
    /// A stable word for machines.
    pub reason: &'static str,
    /// One clause for people.
    pub detail: String,
    /// How old the knowledge is that stands in for an answer; `None`: there is none.
    pub known_age: Option<Duration>,
    /// How many secrets are known all the same.
    pub known_secrets: usize,
}
