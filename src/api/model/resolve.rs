use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Value;
use crate::secret::{Reference, SecretName, VaultName, Version};

/// References to be resolved together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// Each reference by a key of the caller's choice, such as the name of a variable. At most 1,000.
    #[serde(deserialize_with = "unique")]
    #[cfg_attr(test, schema(example = json!({"DB_PASSWORD": "secret://pay-prod/db-password", "REDIS": "secret://*/redis#/password"})))]
    pub refs: BTreeMap<String, String>,
}

/// Every value that was asked for.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ResolveAnswer {
    /// The value of each reference, by its key.
    #[cfg_attr(test, schema(value_type = BTreeMap<String, String>, example = json!({"DB_PASSWORD": "correct horse battery staple"})))]
    pub values: BTreeMap<String, Value>,
    /// Where each value came from, by the same keys.
    pub resolved: BTreeMap<String, ResolvedFrom>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ResolvedFrom {
    /// The vault.
    #[cfg_attr(test, schema(value_type = String, example = "pay-prod"))]
    pub vault: VaultName,
    /// The secret.
    #[cfg_attr(test, schema(value_type = String, example = "db-password"))]
    pub name: SecretName,
    /// The version that was read.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub version: Option<Version>,
    /// The address that leads to the same secret, with its vault told, without its version.
    #[cfg_attr(test, schema(value_type = String, example = "secret://pay-prod/db-password"))]
    pub reference: Reference,
    /// Seconds since the value was read from the vault.
    pub age: u64,
}

/// The references may be secrets by mistake: only the keys are printed.
impl fmt::Debug for ResolveRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveRequest").field("refs", &self.refs.keys()).finish()
    }
}

/// JSON leaves open what a key means that is told twice; here it is an error, so that no value is taken for another.
fn unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Unique;

    impl<'de> Visitor<'de> for Unique {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of references by key")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut all = BTreeMap::new();
            while let Some((key, reference)) = map.next_entry()? {
                if all.insert(key, reference).is_some() {
                    return Err(M::Error::custom("a key stands twice"));
                }
            }
            Ok(all)
        }
    }

    deserializer.deserialize_map(Unique)
}
