//! All vaults of a tenant in one query.

use serde_json::json;

use super::wire::{GraphAnswer, GraphRow};
use super::{Arm, Described, GraphShortfall};
use crate::vaults::VaultError;
use crate::vaults::azure::errors::malformed;
use crate::vaults::azure::paging::Walk;

const PATH: &str = "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";

/// Managed HSMs are another type, and hold no secrets. `id` must be projected for paging to work.
const QUERY: &str = "resources | where type =~ 'microsoft.keyvault/vaults' \
    | project id, name, subscriptionId, tenantId, location, vaultUri=tostring(properties.vaultUri), \
    vaultTenant=tostring(properties.tenantId) | order by id asc";

/// Rows of one page; the service's own limit.
const PAGE: u32 = 1000;

/// Set when the identity sees more subscriptions than one query covers.
const LIMIT_HIT: &str = "x-ms-tenant-subscription-limit-hit";

/// What the graph told. With a shortfall it is not the whole truth.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) vaults: Vec<Described>,
    pub(super) faults: Vec<VaultError>,
    pub(super) shortfall: Option<GraphShortfall>,
}

pub(super) async fn vaults(arm: &Arm, only: &[String]) -> Graph {
    let mut graph = Graph::default();
    if let Err(error) = walk(arm, only, &mut graph).await {
        graph.shortfall = Some(GraphShortfall::Failed(error));
    } else if graph.shortfall.is_none() && graph.vaults.is_empty() {
        graph.shortfall = Some(GraphShortfall::Empty);
    }
    graph
}

async fn walk(arm: &Arm, only: &[String], graph: &mut Graph) -> Result<(), VaultError> {
    let mut walk = Walk::default();
    let mut token: Option<String> = None;
    loop {
        let mut options = json!({ "resultFormat": "objectArray", "$top": PAGE });
        if let Some(token) = &token {
            options["$skipToken"] = json!(token);
        }
        let mut query = json!({ "query": QUERY, "options": options });
        if !only.is_empty() {
            query["subscriptions"] = json!(only);
        }
        let (answer, headers) = arm.post::<GraphAnswer>(PATH, &query).await?;
        let limit_hit = headers.get_optional_str(&LIMIT_HIT.into()).is_some_and(|hit| hit.eq_ignore_ascii_case("true"));
        let ends = answer.skip_token.as_ref().is_none_or(String::is_empty);
        if limit_hit || (answer.truncated && ends) {
            graph.shortfall = Some(GraphShortfall::Truncated);
        }
        for row in answer.data {
            match described(row) {
                Ok(vault) => graph.vaults.push(vault),
                Err(fault) => graph.faults.push(fault),
            }
        }
        match walk.onward(answer.skip_token)? {
            None => return Ok(()),
            next => token = next,
        }
    }
}

fn described(row: GraphRow) -> Result<Described, VaultError> {
    let (whole_uri, whole_tenant) = row.properties.map_or((None, None), |whole| (whole.vault_uri, whole.tenant_id));
    let uri = row.vault_uri.or(whole_uri).filter(|uri| !uri.is_empty());
    let uri = uri.ok_or_else(|| malformed("Resource Graph told of a vault without its address"))?;
    let tenant = row.vault_tenant.or(whole_tenant).filter(|tenant| !tenant.is_empty()).or(row.tenant_id);
    Ok(Described { id: row.id, uri, tenant, location: row.location })
}
