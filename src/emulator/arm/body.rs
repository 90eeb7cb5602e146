//! Subscriptions and vaults as Resource Manager shows them.

use serde_json::{Value, json};

use crate::emulator::estate::{Firewall, Subscription};
use crate::emulator::world::VaultState;

/// A vault as Resource Manager shows it.
pub(super) fn vault_body(vault: &VaultState) -> Value {
    let facts = &vault.facts;
    let (default_action, public) = match vault.firewall() {
        Firewall::Open => ("Allow", "Enabled"),
        Firewall::Closed => ("Deny", "Enabled"),
        Firewall::Private => ("Deny", "Disabled"),
    };
    json!({
        "id": vault.resource_id(),
        "name": facts.name,
        "type": "Microsoft.KeyVault/vaults",
        "location": facts.location,
        "tags": facts.tags,
        "systemData": {
            "createdBy": facts.tenant,
            "createdByType": "Application",
            "createdAt": "2025-03-13T04:13:03.321Z",
            "lastModifiedBy": facts.tenant,
            "lastModifiedByType": "Application",
            "lastModifiedAt": "2025-03-13T04:13:03.321Z",
        },
        "properties": {
            "sku": {"family": "A", "name": "standard"},
            "tenantId": facts.tenant,
            "networkAcls": {
                "bypass": "None",
                "defaultAction": default_action,
                "ipRules": [],
                "virtualNetworkRules": [],
            },
            "accessPolicies": [],
            "enabledForDeployment": false,
            "enabledForDiskEncryption": false,
            "enabledForTemplateDeployment": false,
            "enableSoftDelete": true,
            "softDeleteRetentionInDays": facts.recoverable_days.unwrap_or(90),
            "enableRbacAuthorization": facts.rbac,
            "vaultUri": format!("{}/", vault.uri()),
            "provisioningState": "Succeeded",
            "publicNetworkAccess": public,
        },
    })
}

pub(super) fn subscription_body(subscription: &Subscription) -> Value {
    json!({
        "id": format!("/subscriptions/{}", subscription.id),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant,
        "displayName": subscription.name,
        "state": subscription.state,
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    })
}
