//! The answers of Resource Manager and Resource Graph, as far as they matter here. Unknown fields are ignored.

use serde::{Deserialize, Deserializer};

/// A page of `GET /subscriptions`.
#[derive(Debug, Deserialize)]
pub(super) struct SubscriptionPage {
    /// The subscriptions.
    #[serde(default)]
    pub(super) value: Vec<SubscriptionItem>,
    /// Where the next page is: absent, null or set.
    #[serde(default, rename = "nextLink")]
    pub(super) next_link: Option<String>,
}

/// A subscription.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionItem {
    /// Its id, a GUID.
    pub(super) subscription_id: String,
    /// The tenant it belongs to.
    #[serde(default)]
    pub(super) tenant_id: Option<String>,
    /// `Enabled`, `Warned`, `PastDue`, `Disabled` or `Deleted`.
    #[serde(default)]
    pub(super) state: Option<String>,
}

/// A page of a subscription's vaults.
#[derive(Debug, Deserialize)]
pub(super) struct VaultPage {
    /// The vaults; often none, with more to come.
    #[serde(default)]
    pub(super) value: Vec<VaultItem>,
    /// Where the next page is: absent, null or set.
    #[serde(default, rename = "nextLink")]
    pub(super) next_link: Option<String>,
}

/// A vault as Resource Manager describes it.
#[derive(Debug, Deserialize)]
pub(super) struct VaultItem {
    /// The resource's id.
    pub(super) id: String,
    /// The region.
    #[serde(default)]
    pub(super) location: Option<String>,
    /// What is particular to vaults; absent from pages that list plain resources.
    #[serde(default)]
    pub(super) properties: Option<VaultProperties>,
}

/// What is particular to vaults.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VaultProperties {
    /// The vault's address.
    #[serde(default)]
    pub(super) vault_uri: Option<String>,
    /// The tenant whose tokens it takes.
    #[serde(default)]
    pub(super) tenant_id: Option<String>,
}

/// An answer of Resource Graph in `objectArray` form.
#[derive(Debug, Deserialize)]
pub(super) struct GraphAnswer {
    /// The rows.
    pub(super) data: Vec<GraphRow>,
    /// Whether rows are missing that no token leads to: the words `true` and `false`, as text.
    #[serde(default, rename = "resultTruncated", deserialize_with = "truth")]
    pub(super) truncated: bool,
    /// Leads to the next page; may stand beside a result that is not truncated.
    #[serde(default, rename = "$skipToken")]
    pub(super) skip_token: Option<String>,
}

/// A row of the query for vaults.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GraphRow {
    /// The resource's id.
    pub(super) id: String,
    /// The region.
    #[serde(default)]
    pub(super) location: Option<String>,
    /// The vault's address.
    #[serde(default)]
    pub(super) vault_uri: Option<String>,
    /// The tenant whose tokens the vault takes.
    #[serde(default)]
    pub(super) vault_tenant: Option<String>,
    /// The tenant of the vault's subscription.
    #[serde(default)]
    pub(super) tenant_id: Option<String>,
    /// The whole of it, where a row was not projected.
    #[serde(default)]
    pub(super) properties: Option<VaultProperties>,
}

fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Truth {
        Bool(bool),
        Text(String),
    }
    Ok(match Option::<Truth>::deserialize(deserializer)? {
        None => false,
        Some(Truth::Bool(truth)) => truth,
        Some(Truth::Text(text)) => text.eq_ignore_ascii_case("true"),
    })
}
