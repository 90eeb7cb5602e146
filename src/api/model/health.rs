use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Unanswered;
use crate::broker::Missing;
use crate::catalog::{Progress, Reach, VaultStatus};

/// Why the sidecar is ready, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Readiness {
    /// Whether every declared secret is held, and the first discovery and listing of every vault have ended, well or
    /// not, with somebody let in somewhere, or what was known before a restart stands in for them.
    pub ready: bool,
    /// What it waits for, in one clause; absent if it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Whether what is known comes, in part, from before a restart.
    pub recalled: bool,
    /// Declared secrets that are not held, and why.
    pub missing: Vec<MissingSecret>,
    /// Whether every source has finished its first round of discovery.
    pub discovered: bool,
    /// Vaults that can be asked.
    pub vaults: usize,
    /// Of them, listed whole at least once.
    pub listed: usize,
    /// Of them, tried and never listed whole.
    pub failed: usize,
    /// Secrets known in all.
    pub secrets: usize,
    /// The same by source.
    pub sources: BTreeMap<String, SourceReadiness>,
    /// What could not be asked, and why.
    pub unanswered: Vec<Unanswered>,
}

/// One source's part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SourceReadiness {
    /// Its vaults, those that are never asked included.
    pub vaults: usize,
    /// Of them, those whose last listing went through.
    pub reachable: usize,
    /// Of them, those that are never asked.
    pub skipped: usize,
    /// Secrets known.
    pub secrets: usize,
}

/// A declared secret that is not held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct MissingSecret {
    /// The secret, or the pattern that may mean some.
    pub what: String,
    /// Why: `not-read-yet`, `vault-not-listed`, `not-found`, …
    pub reason: String,
}

impl From<&Missing> for MissingSecret {
    fn from(missing: &Missing) -> Self {
        Self { what: missing.what.clone(), reason: missing.reason.to_owned() }
    }
}

impl Readiness {
    /// From what somebody may see of it: `all` says that it is everything. Whether it is ready does not depend on who
    /// asks.
    #[must_use]
    pub(in crate::api) fn new(
        progress: Progress,
        waiting_for: Option<String>,
        seen: &[VaultStatus],
        missing: &[Missing],
        unanswered: Vec<Unanswered>,
        all: bool,
    ) -> Self {
        let mut sources: BTreeMap<String, SourceReadiness> = BTreeMap::new();
        let (mut listed, mut failed) = (0, 0);
        for vault in seen {
            let source = sources.entry(vault.info.source.to_string()).or_default();
            source.vaults += 1;
            source.secrets += vault.known.map_or(0, |known| known.secrets);
            let is_listed = vault.known.is_some_and(|known| known.whole);
            listed += usize::from(is_listed);
            match vault.reach {
                Reach::Listed => source.reachable += 1,
                Reach::Skipped(_) => source.skipped += 1,
                Reach::NotYetListed => {}
                Reach::ListingFailed(_) => failed += usize::from(!is_listed),
            }
        }
        let told = |of: fn(&VaultStatus) -> usize| seen.iter().map(of).sum();
        let counted = Progress {
            vaults: told(|vault| usize::from(!matches!(vault.reach, Reach::Skipped(_)))),
            listed,
            failed,
            secrets: told(|vault| match (&vault.duplicate_of, vault.known) {
                (None, Some(known)) => known.secrets,
                (Some(_), _) | (None, None) => 0,
            }),
            ..progress
        };
        let Progress { discovery_done, vaults, listed, failed, secrets, .. } = if all { progress } else { counted };
        Self {
            ready: waiting_for.is_none(),
            waiting_for,
            recalled: progress.recalled,
            missing: missing.iter().map(MissingSecret::from).collect(),
            discovered: discovery_done,
            vaults,
            listed,
            failed,
            secrets,
            sources,
            unanswered,
        }
    }
}

/// What keeps it from being ready, in one clause that names no secret and no vault, as anybody may ask; `None`: nothing.
///
/// Ready: what was declared is held; and every source was asked once, and every vault that it told of was listed once or
/// could not be, unless what was known before a restart stands in. A vault that is down holds nothing up. But a sidecar
/// that was let in nowhere has nothing to serve, and a rollout of it must not go on.
#[must_use]
pub(in crate::api) fn waiting_for(
    progress: Progress,
    missing: &[Missing],
    unanswered: &[Unanswered],
) -> Option<String> {
    let Progress { discovery_done, vaults, listed, failed, recalled, reached, explored, .. } = progress;
    if !recalled {
        if !explored && !discovery_done {
            return Some("the vaults are still being discovered".to_owned());
        }
        if !explored {
            return Some(format!("{} of {vaults} vaults are listed", listed + failed));
        }
        if !reached {
            return Some(shut_out(unanswered));
        }
    }
    let held = format!("{} of the declared secrets are not held yet", missing.len());
    (!missing.is_empty()).then_some(held)
}

/// Why no vault has answered yet, by sources.
fn shut_out(unanswered: &[Unanswered]) -> String {
    let mut whom: Vec<_> = unanswered.iter().map(|one| format!("source {} ({})", one.source, one.reason)).collect();
    whom.sort();
    whom.dedup();
    format!("no vault could be asked yet: {}", whom.join(", "))
}
