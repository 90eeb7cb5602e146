use std::fmt;

use time::OffsetDateTime;

use super::{SecretName, SecretValue, Tags, Version};

/// What a vault tells of a secret without its value. Safe to print, log and serialise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The secret's name in its vault.
    pub name: SecretName,
    /// The version these attributes belong to; a listing of current versions does not tell it.
    pub version: Option<Version>,
    /// A disabled secret is listed but cannot be read.
    pub enabled: bool,
    /// Informational: Key Vault serves a secret before this time too.
    pub not_before: Option<OffsetDateTime>,
    /// Informational: Key Vault serves a secret past this time too.
    pub expires: Option<OffsetDateTime>,
    /// When this version was made; whole seconds.
    pub created: Option<OffsetDateTime>,
    /// When the attributes or the value last moved; whole seconds, so two writes in one second look like one.
    pub updated: Option<OffsetDateTime>,
    /// Free text of the owner, such as `application/x-pkcs12`.
    pub content_type: Option<String>,
    /// At most 15 in Key Vault.
    pub tags: Tags,
    /// Whether Key Vault made it as the secret half of a certificate.
    pub managed: bool,
}

impl Metadata {
    /// An enabled secret of that name and nothing else.
    #[must_use]
    pub fn new(name: SecretName) -> Self {
        Self {
            name,
            version: None,
            enabled: true,
            not_before: None,
            expires: None,
            created: None,
            updated: None,
            content_type: None,
            tags: Tags::default(),
            managed: false,
        }
    }
}

/// One version of a secret with its value. Shared as `Arc<Secret>`, never cloned.
pub struct Secret {
    /// Its attributes; `version` is always told by a get.
    pub metadata: Metadata,
    /// The value.
    pub value: SecretValue,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}
