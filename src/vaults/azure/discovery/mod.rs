//! Finding vaults: Resource Graph first, which takes one or two calls however many subscriptions there are; else every
//! subscription, side by side. What the configuration names is added by the source, whatever happens here.
//!
//! What must never happen: a short or failed round that looks whole; a vault asked whose host is not one of the cloud's.

mod arm;
mod filter;
mod resource_graph;
mod wire;

pub(super) use arm::Arm;
pub(super) use filter::Filter;

use crate::vaults::VaultError;

/// One vault as Azure describes it, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// The resource's id, which holds subscription and resource group.
    pub(super) id: String,
    /// `vaultUri`.
    pub(super) uri: String,
    /// The tenant whose tokens the vault takes.
    pub(super) tenant: Option<String>,
    /// The region.
    pub(super) location: Option<String>,
}

impl Described {
    /// The part of the id after a segment, such as the name after `subscriptions`.
    pub(super) fn part(&self, of: &str) -> Option<&str> {
        let mut segments = self.id.split('/');
        segments.find(|segment| segment.eq_ignore_ascii_case(of))?;
        segments.next().filter(|part| !part.is_empty())
    }
}

/// How a round of discovery went: for the person who asks why a vault is missing.
#[derive(Debug, Clone)]
pub struct DiscoveryReport {
    /// Which service told of the vaults.
    pub route: DiscoveryRoute,
    /// Subscriptions that were seen: with vaults (Resource Graph), or at all (Resource Manager).
    pub subscriptions: usize,
    /// Vaults that Azure told of, before filters and checks.
    pub described: usize,
    /// Vaults left out by `include` and `exclude`.
    pub filtered: usize,
}

/// Which service told of the vaults.
#[derive(Debug, Clone)]
pub enum DiscoveryRoute {
    /// Resource Graph, for all subscriptions at once.
    ResourceGraph,
    /// Each subscription was listed, because Resource Graph gave no whole answer.
    Subscriptions {
        /// Why Resource Graph was not enough.
        because: GraphShortfall,
    },
}

/// Why an answer of Resource Graph is not the whole truth.
#[derive(Debug, Clone)]
pub enum GraphShortfall {
    /// It failed, or refused.
    Failed(VaultError),
    /// It showed no vault at all, as it does to an identity without any role.
    Empty,
    /// It cut its answer short.
    Truncated,
}

/// What Azure told in one round.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) vaults: Vec<Described>,
    pub(super) faults: Vec<VaultError>,
    pub(super) report: DiscoveryReport,
    /// The tenant of every subscription seen, if it is one and the same.
    pub(super) tenant: Option<String>,
}

/// Asks Azure for every vault; `only` restricts it to these subscriptions.
pub(super) async fn round(arm: &Arm, only: &[String]) -> Round {
    let graph = resource_graph::vaults(arm, only).await;
    let Some(because) = graph.shortfall else {
        let mut subscriptions: Vec<_> = graph.vaults.iter().filter_map(|vault| vault.part("subscriptions")).collect();
        subscriptions.sort_unstable();
        subscriptions.dedup();
        let report = DiscoveryReport {
            route: DiscoveryRoute::ResourceGraph,
            subscriptions: subscriptions.len(),
            described: graph.vaults.len(),
            filtered: 0,
        };
        return Round { vaults: graph.vaults, faults: graph.faults, report, tenant: None };
    };
    tracing::debug!(?because, "Resource Graph gave no whole answer; listing each subscription");
    let mut listed = arm::vaults(arm, only).await;
    if !listed.faults.is_empty() {
        // Neither is whole: what the other saw is better than nothing.
        listed.faults.extend(graph.faults);
        let known: std::collections::HashSet<_> = listed.vaults.iter().map(|vault| vault.uri.clone()).collect();
        listed.vaults.extend(graph.vaults.into_iter().filter(|vault| !known.contains(&vault.uri)));
    }
    let report = DiscoveryReport {
        route: DiscoveryRoute::Subscriptions { because },
        subscriptions: listed.subscriptions,
        described: listed.vaults.len(),
        filtered: 0,
    };
    Round { vaults: listed.vaults, faults: listed.faults, report, tenant: listed.tenant }
}
