use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Value;
use crate::secret::{Metadata, Reference, SecretName, VaultName, Version};

/// One version of a secret with its value.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SecretDocument {
    /// The vault that holds it.
    #[cfg_attr(test, schema(value_type = String, example = "pay-prod"))]
    pub vault: VaultName,
    /// Its name.
    #[cfg_attr(test, schema(value_type = String, example = "db-password"))]
    pub name: SecretName,
    /// The version that was read.
    #[cfg_attr(test, schema(value_type = Option<String>, example = "0b31729e2750416caba40429a1f3bea4"))]
    pub version: Option<Version>,
    /// The value, or the field or format of it that was asked for.
    #[cfg_attr(test, schema(value_type = String, example = "correct horse battery staple"))]
    pub value: Value,
    /// Its attributes.
    #[serde(flatten)]
    pub attributes: Attributes,
    /// The address that leads to it, without its version.
    #[cfg_attr(test, schema(value_type = String, example = "secret://pay-prod/db-password"))]
    pub reference: Reference,
}

/// A secret, or one version of it, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SecretSummary {
    /// The vault that holds it.
    #[cfg_attr(test, schema(value_type = String, example = "pay-prod"))]
    pub vault: VaultName,
    /// Its name.
    #[cfg_attr(test, schema(value_type = String, example = "db-password"))]
    pub name: SecretName,
    /// The version; only a list of versions tells it.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub version: Option<Version>,
    /// Its attributes.
    #[serde(flatten)]
    pub attributes: Attributes,
    /// Whether Key Vault made it as the secret half of a certificate.
    pub managed: bool,
    /// The address that leads to it.
    #[cfg_attr(test, schema(value_type = String, example = "secret://pay-prod/db-password"))]
    pub reference: Reference,
}

/// What stands around a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Attributes {
    /// Free text of the owner.
    #[cfg_attr(test, schema(example = "text/plain"))]
    pub content_type: Option<String>,
    /// A disabled secret is listed but cannot be read.
    pub enabled: bool,
    /// Informational: it is served past this time too.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub expires_on: Option<OffsetDateTime>,
    /// Informational: it is served before this time too.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub not_before: Option<OffsetDateTime>,
    /// When this version was made.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub created_on: Option<OffsetDateTime>,
    /// When the attributes or the value last moved.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub updated_on: Option<OffsetDateTime>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Every version of a secret, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct VersionsAnswer {
    /// Their metadata.
    pub versions: Vec<SecretSummary>,
}

impl From<&Metadata> for Attributes {
    fn from(metadata: &Metadata) -> Self {
        Self {
            content_type: metadata.content_type.clone(),
            enabled: metadata.enabled,
            expires_on: metadata.expires,
            not_before: metadata.not_before,
            created_on: metadata.created,
            updated_on: metadata.updated,
            tags: (&metadata.tags).into(),
        }
    }
}

impl SecretSummary {
    /// That metadata, in that vault.
    #[must_use]
    pub fn new(vault: VaultName, metadata: &Metadata) -> Self {
        let reference =
            Reference { version: metadata.version.clone(), ..Reference::new(vault.clone(), metadata.name.clone()) };
        Self {
            vault,
            name: metadata.name.clone(),
            version: metadata.version.clone(),
            attributes: Attributes::from(metadata),
            managed: metadata.managed,
            reference,
        }
    }
}
