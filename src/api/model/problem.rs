use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Unanswered;

/// A failure, as RFC 9457 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ProblemDocument {
    /// `urn:sidekey:problem:` and the code.
    #[serde(rename = "type")]
    #[cfg_attr(test, schema(example = "urn:sidekey:problem:secret-not-found"))]
    pub kind: String,
    /// The same for every occurrence of the code.
    #[cfg_attr(test, schema(example = "No such secret"))]
    pub title: String,
    /// What became of it.
    #[serde(flatten)]
    pub fault: Fault,
    /// Each reference of a resolve that failed, by its key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, Fault>,
}

/// What a failure tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Fault {
    /// The HTTP status.
    #[cfg_attr(test, schema(example = 404))]
    pub status: u16,
    /// A stable word for machines.
    #[cfg_attr(test, schema(example = "secret-not-found"))]
    pub code: String,
    /// What and where, for people.
    #[cfg_attr(test, schema(example = "no secret db-password was found"))]
    pub detail: String,
    /// What the vault met, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(example = "denied-by-rbac"))]
    pub reason: Option<String>,
    /// References of all the secrets that could be meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// The vaults that could not be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Unanswered>,
}
