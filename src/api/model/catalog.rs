use serde::{Deserialize, Serialize};

use super::SecretSummary;
use crate::catalog;
use crate::catalog::{Reach, ReadState, VaultStatus};
use crate::secret::{SourceName, VaultName};

/// A vault as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct VaultDocument {
    /// How it is addressed: its name, or `source:name` if another vault has the name.
    #[cfg_attr(test, schema(value_type = String, example = "pay-prod"))]
    pub name: VaultName,
    /// The source that found it.
    #[cfg_attr(test, schema(value_type = String, example = "azure"))]
    pub source: SourceName,
    /// Its address in its cloud.
    #[cfg_attr(test, schema(example = "https://pay-prod.vault.azure.net/"))]
    pub uri: Option<String>,
    /// The subscription's id.
    pub subscription: Option<String>,
    /// The resource group.
    pub resource_group: Option<String>,
    /// The cloud's region.
    #[cfg_attr(test, schema(example = "westeurope"))]
    pub location: Option<String>,
    /// Named in the configuration, rather than (or as well as) discovered.
    pub configured: bool,
    /// It is the same vault as that one, which an earlier source has found: searches tell of it once. `null`: it is not.
    #[cfg_attr(test, schema(value_type = Option<String>, example = "pay-prod"))]
    pub duplicate_of: Option<VaultName>,
    /// Whether its last listing went through.
    pub reachable: bool,
    /// Why not, as a stable word.
    #[cfg_attr(test, schema(example = "firewall"))]
    pub reason: Option<String>,
    /// Why not, for people.
    pub detail: Option<String>,
    /// Whether the last read of a value was let through; `null`: none was tried yet.
    pub readable: Option<bool>,
    /// Why not, as a stable word.
    #[cfg_attr(test, schema(example = "denied-by-rbac"))]
    pub read_reason: Option<String>,
    /// Why not, for people.
    pub read_detail: Option<String>,
    /// What listings have told; `null` before the first.
    pub listing: Option<Listing>,
}

/// What listings of a vault have told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Listing {
    /// How many secrets it holds.
    #[cfg_attr(test, schema(example = 40))]
    pub secrets: u64,
    /// How many of them are disabled.
    #[cfg_attr(test, schema(example = 1))]
    pub disabled: u64,
    /// Seconds since the listing began that told so.
    #[cfg_attr(test, schema(example = 12))]
    pub age: u64,
    /// False: there was never a whole listing, so there may be more.
    pub whole: bool,
}

/// Every vault, those that are never asked included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct VaultsAnswer {
    /// By name.
    pub vaults: Vec<VaultDocument>,
    /// Whether these are all vaults, and all of them could be listed.
    pub complete: bool,
    /// What could not be asked, and why.
    pub unanswered: Vec<Unanswered>,
}

/// A page of one vault's secrets, without their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SecretsPage {
    /// By name.
    pub secrets: Vec<SecretSummary>,
    /// Secrets on all pages.
    pub total: usize,
    /// Whether this is everything, as of the last listing.
    pub complete: bool,
    /// Why not.
    pub unanswered: Vec<Unanswered>,
    /// The next page's cursor; `null`: this is the last.
    pub next: Option<String>,
}

/// A page of what a search found. Never values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SearchAnswer {
    /// In the order asked for.
    pub hits: Vec<SecretSummary>,
    /// Hits on all pages.
    pub total: usize,
    /// Vaults that the search is about, those that could not be asked included. 0: the glob `vault` matches none.
    pub vaults: usize,
    /// Whether every vault that the search is about could be listed, and all vaults are known.
    pub complete: bool,
    /// What the answer does without, and why. Hits from what is known of such a vault are among the hits.
    pub unanswered: Vec<Unanswered>,
    /// The next page's cursor; `null`: this is the last.
    pub next: Option<String>,
}

/// Something that an answer does without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Unanswered {
    /// The vault; `null`: a source's discovery is short, and which vaults are missing cannot be told.
    #[cfg_attr(test, schema(value_type = Option<String>, example = "hr-prod"))]
    pub vault: Option<VaultName>,
    /// Whose vault, or whose discovery.
    #[cfg_attr(test, schema(value_type = String, example = "azure"))]
    pub source: SourceName,
    /// Why, as a stable word.
    #[cfg_attr(test, schema(example = "firewall"))]
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// Seconds since the listing began that stands in for an answer; `null`: nothing is known.
    pub known_age: Option<u64>,
    /// How many secrets are known all the same.
    #[serde(default)]
    pub known_secrets: usize,
}

impl From<VaultStatus> for VaultDocument {
    fn from(status: VaultStatus) -> Self {
        let VaultStatus { address, info, duplicate_of, reach, known, read } = status;
        let detail = match &reach {
            Reach::Listed => None,
            Reach::NotYetListed => Some("it was not listed yet".to_owned()),
            Reach::Skipped(reason) => Some(reason.to_string()),
            Reach::ListingFailed(error) => Some(error.to_string()),
        };
        let (readable, read_reason, read_detail) = match read {
            ReadState::Unknown => (None, None, None),
            ReadState::Ok => (Some(true), None, None),
            ReadState::Denied { reason, detail } => (Some(false), Some(reason.to_owned()), Some(detail)),
        };
        Self {
            name: address,
            source: info.source,
            uri: info.uri,
            subscription: info.subscription,
            resource_group: info.resource_group,
            location: info.location,
            configured: info.configured,
            duplicate_of,
            reachable: detail.is_none(),
            reason: detail.is_some().then(|| reach.code().to_owned()),
            detail,
            readable,
            read_reason,
            read_detail,
            listing: known.map(|known| Listing {
                secrets: known.secrets as u64,
                disabled: known.disabled as u64,
                age: known.age.as_secs(),
                whole: known.whole,
            }),
        }
    }
}

impl SecretsPage {
    /// That page, of that vault.
    #[must_use]
    pub fn new(vault: &VaultName, page: catalog::SecretsPage) -> Self {
        Self {
            secrets: page.secrets.iter().map(|metadata| SecretSummary::new(vault.clone(), metadata)).collect(),
            total: page.total,
            complete: page.unanswered.is_none(),
            unanswered: page.unanswered.iter().map(Unanswered::from).collect(),
            next: page.next,
        }
    }
}

impl From<catalog::Page> for SearchAnswer {
    fn from(page: catalog::Page) -> Self {
        Self {
            hits: page.hits.into_iter().map(|hit| SecretSummary::new(hit.vault, &hit.metadata)).collect(),
            total: page.total,
            vaults: page.vaults,
            complete: page.complete,
            unanswered: page.unanswered.iter().map(Unanswered::from).collect(),
            next: page.next,
        }
    }
}

impl From<&catalog::Unanswered> for Unanswered {
    fn from(unanswered: &catalog::Unanswered) -> Self {
        Self {
            vault: unanswered.vault.clone(),
            source: unanswered.source.clone(),
            reason: unanswered.reason.to_owned(),
            detail: unanswered.detail.clone(),
            known_age: unanswered.known_age.map(|age| age.as_secs()),
            known_secrets: unanswered.known_secrets,
        }
    }
}
