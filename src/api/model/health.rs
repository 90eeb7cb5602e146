use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Unanswered;
use crate::catalog::{Progress, Reach, VaultStatus};

/// Why the sidecar is ready, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether the first discovery and the first listing of every vault have ended, well or not.
    pub ready: bool,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

impl Readiness {
    /// From what the catalog tells.
    #[must_use]
    pub fn new(progress: Progress, vaults: &[VaultStatus], unanswered: Vec<Unanswered>) -> Self {
        let mut sources: BTreeMap<String, SourceReadiness> = BTreeMap::new();
        for vault in vaults {
            let source = sources.entry(vault.info.source.to_string()).or_default();
            source.vaults += 1;
            source.secrets += vault.known.map_or(0, |known| known.secrets);
            match vault.reach {
                Reach::Listed => source.reachable += 1,
                Reach::Skipped(_) => source.skipped += 1,
                Reach::NotYetListed | Reach::ListingFailed(_) => {}
            }
        }
        let Progress { discovery_done, vaults, listed, failed, secrets } = progress;
        Self {
            ready: is_ready(progress),
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

/// Ready: every source was asked once, and every vault that it told of was listed once or could not be.
#[must_use]
pub(in crate::api) fn is_ready(progress: Progress) -> bool {
    progress.discovery_done && progress.listed + progress.failed >= progress.vaults
}
