use crate::catalog::Unanswered;
use crate::secret::{Reference, SecretName, VaultName};
use crate::vaults::{SkipReason, VaultError, VaultErrorKind};

/// Why a reader got nothing. Knows no HTTP; each variant is one thing that its reader would do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The caller's grants do not cover it: decided from what was asked for alone, whether or not it exists.
    #[error("the caller's grants do not cover it")]
    Forbidden,
    /// No source knows a vault of that name.
    #[error("no vault {vault} is known")]
    UnknownVault {
        /// As it was asked for.
        vault: VaultName,
    },
    /// Every vault that could hold it was asked, and none does.
    #[error("{}", absent(name, vault.as_ref()))]
    SecretNotFound {
        /// The vault that was asked; `None`: every one.
        vault: Option<VaultName>,
        /// As it was asked for.
        name: SecretName,
    },
    /// That version is not there. The secret is, or its vault was not listed, so that nobody can tell.
    #[error("no such version of secret {} was found", address(name, vault.as_ref()))]
    VersionNotFound {
        /// The vault that was asked; `None`: every one.
        vault: Option<VaultName>,
        /// The secret.
        name: SecretName,
    },
    /// It exists and is disabled.
    #[error("secret {reference} is disabled")]
    Disabled {
        /// Where it is.
        reference: Reference,
    },
    /// Several vaults hold it, and no search order decides.
    #[error("several vaults hold {name}: name one, or set [search] order")]
    Ambiguous {
        /// The secret.
        name: SecretName,
        /// Where it is.
        candidates: Vec<Reference>,
    },
    /// Nobody who answered has it, but not every vault could be asked.
    #[error("whether {name} exists cannot be told, as not everything could be asked: {}", told(unanswered))]
    Incomplete {
        /// What was asked for.
        name: String,
        /// Who did not answer, and why.
        unanswered: Vec<Unanswered>,
    },
    /// The first discovery has not finished, so that nothing can be said of that name yet.
    #[error("the vaults are still being discovered")]
    NotReady,
    /// The reader wanted it from the cache alone, and it is not held.
    #[error("the value is not held")]
    NotCached,
    /// Too many reads are under way.
    #[error("too many reads are under way")]
    Overloaded,
    /// The vault exists and is never asked.
    #[error("vault {vault} is not asked: {reason}")]
    Skipped {
        /// The vault.
        vault: VaultName,
        /// Why.
        reason: SkipReason,
    },
    /// The vault did not give it.
    #[error("vault {vault}: {error}")]
    Vault {
        /// The vault that was asked.
        vault: VaultName,
        /// What became of it.
        error: VaultError,
    },
    /// The value has no such field, or is no JSON.
    #[error("{0}")]
    View(#[from] super::ViewError),
}

impl Error {
    /// Whether asking again in a while may help, with nothing done about it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotReady | Self::Incomplete { .. } | Self::Overloaded => true,
            Self::Vault { error, .. } => match error.kind() {
                VaultErrorKind::Throttled { .. } | VaultErrorKind::TimedOut | VaultErrorKind::Unavailable(_) => true,
                VaultErrorKind::NotFound
                | VaultErrorKind::Disabled
                | VaultErrorKind::Denied(_)
                | VaultErrorKind::Unauthenticated { .. }
                | VaultErrorKind::Malformed => false,
            },
            Self::Forbidden
            | Self::UnknownVault { .. }
            | Self::SecretNotFound { .. }
            | Self::VersionNotFound { .. }
            | Self::Disabled { .. }
            | Self::Ambiguous { .. }
            | Self::NotCached
            | Self::Skipped { .. }
            | Self::View(_) => false,
        }
    }

    /// A stable word for machines, as it stands in answers and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::UnknownVault { .. } => "vault-not-found",
            Self::SecretNotFound { .. } => "secret-not-found",
            Self::VersionNotFound { .. } => "version-not-found",
            Self::Disabled { .. } => "secret-disabled",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Incomplete { .. } => "incomplete",
            Self::NotReady => "not-ready",
            Self::NotCached => "not-cached",
            Self::Overloaded => "overloaded",
            Self::Skipped { reason, .. } => reason.code(),
            Self::Vault { error, .. } => error.reason(),
            Self::View(_) => "field-not-found",
        }
    }
}

fn absent(name: &SecretName, vault: Option<&VaultName>) -> String {
    match vault {
        Some(vault) => format!("vault {vault} has no secret {name}"),
        None => format!("no secret {name} was found"),
    }
}

fn address(name: &SecretName, vault: Option<&VaultName>) -> String {
    vault.map_or_else(|| name.to_string(), |vault| format!("{vault}/{name}"))
}

/// Who could not be asked, in one line.
fn told(unanswered: &[Unanswered]) -> String {
    let one = |one: &Unanswered| match &one.vault {
        Some(vault) => format!("{vault} ({})", one.reason),
        None => format!("source {} ({})", one.source, one.reason),
    };
    unanswered.iter().map(one).collect::<Vec<_>>().join(", ")
}
