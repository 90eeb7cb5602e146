//! Why a read over all vaults does without one of them.

use super::Error;
use crate::catalog::{DiscoveryFault, Doubtful, Entry, SkippedVault, Unanswered};

/// A vault that is never asked.
pub(super) fn skipped(skipped: &SkippedVault) -> Unanswered {
    Unanswered {
        vault: Some(skipped.address.clone()),
        source: skipped.info.source.clone(),
        reason: skipped.reason.code(),
        detail: skipped.reason.to_string(),
        known_age: None,
        known_secrets: 0,
    }
}

/// A source whose discovery was short: which vaults are missing cannot be told.
pub(super) fn undiscovered(fault: &DiscoveryFault) -> Unanswered {
    Unanswered {
        vault: None,
        source: fault.source.clone(),
        reason: fault.error.reason(),
        detail: fault.error.to_string(),
        known_age: None,
        known_secrets: 0,
    }
}

/// A vault that could not be listed.
pub(super) fn doubtful(doubtful: &Doubtful) -> Unanswered {
    let (reason, detail) = match &doubtful.why {
        Some(error) => (error.reason(), error.to_string()),
        None => ("not-listed-yet", "it was not listed yet".to_owned()),
    };
    Unanswered { known_age: doubtful.age, ..of(&doubtful.entry, reason, detail) }
}

/// A vault that was asked for the secret itself, and did not say.
pub(super) fn unread(entry: &Entry, error: &Error) -> Unanswered {
    let detail = match error {
        Error::Vault { error, .. } => error.to_string(),
        other => other.to_string(),
    };
    of(entry, error.reason(), detail)
}

fn of(entry: &Entry, reason: &'static str, detail: String) -> Unanswered {
    Unanswered {
        vault: Some(entry.address.clone()),
        source: entry.vault.info().source.clone(),
        reason,
        detail,
        known_age: None,
        known_secrets: entry.known_secrets().unwrap_or(0),
    }
}
