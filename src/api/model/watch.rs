use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::broker::{Event, Kind};
use crate::secret::{Reference, SecretName, VaultName, Version};

/// What happened to a secret or a vault: the `data` of an event, whose `event` tells the kind. Never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct WatchEvent {
    /// The vault.
    #[cfg_attr(test, schema(value_type = String, example = "pay-prod"))]
    pub vault: VaultName,
    /// The secret; absent of a vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>, example = "db-password"))]
    pub name: Option<SecretName>,
    /// The address that leads to the secret; absent of a vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>, example = "secret://pay-prod/db-password"))]
    pub reference: Option<Reference>,
    /// The version that is served now, where it was read; a change that a listing alone has shown is told without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>, example = "0b31729e2750416caba40429a1f3bea4"))]
    pub version: Option<Version>,
    /// Of a vault: whether it can be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// Why a secret is no longer served, or a vault cannot be listed: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(example = "not-found"))]
    pub reason: Option<String>,
    /// When sidekey told it.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl From<&Event> for WatchEvent {
    fn from(event: &Event) -> Self {
        Self {
            vault: event.vault.clone(),
            name: event.name.clone(),
            reference: event.reference(),
            version: event.version.clone(),
            reachable: (event.kind == Kind::Vault).then_some(event.reason.is_none()),
            reason: event.reason.map(str::to_owned),
            at: event.at,
        }
    }
}
