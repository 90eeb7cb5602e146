//! What mends what is missing: each remedy once, with the command to paste.

use crate::vaults::azure::{AzureSettings, Identity, SignedIn};
use crate::vaults::{Denial, Outage, VaultError, VaultErrorKind, VaultInfo};

/// Collects remedies in the order in which they are found.
pub(super) struct Remedies<'a> {
    settings: &'a AzureSettings,
    /// Who a role is assigned to.
    assignee: String,
    client: Option<String>,
    all: Vec<(String, Option<String>)>,
}

impl<'a> Remedies<'a> {
    pub(super) fn new(settings: &'a AzureSettings) -> Self {
        let client = match &settings.identity {
            Identity::ClientSecret { client, .. }
            | Identity::Certificate { client, .. }
            | Identity::FederatedToken { client, .. } => Some(client.clone()),
            Identity::ManagedIdentity { client, .. } => client.clone(),
            Identity::AzureCli { .. } => None,
        };
        let assignee = client.clone().unwrap_or_else(|| "OBJECT-ID".to_owned());
        Self { settings, assignee, client, all: Vec::new() }
    }

    /// An object id is what roles are really assigned to; it needs no look-up in the directory.
    pub(super) fn know(&mut self, signed_in: &SignedIn) {
        if let Some(object) = &signed_in.object {
            self.assignee.clone_from(object);
        }
        if self.client.is_none() {
            self.client.clone_from(&signed_in.client);
        }
    }

    pub(super) fn sign_in(&mut self, error: &VaultError) {
        let VaultErrorKind::Unauthenticated { .. } = error.kind() else {
            return self.add("check that this machine reaches the identity service", None);
        };
        let client = self.client.clone().unwrap_or_else(|| "CLIENT-ID".to_owned());
        match &self.settings.identity {
            Identity::ClientSecret { .. } => self.add(
                "make a new client secret, and give its value to sidekey",
                Some(format!("az ad app credential reset --id {client} --append")),
            ),
            Identity::Certificate { file, .. } => self.add(
                "register the certificate with the application",
                Some(format!("az ad app credential reset --id {client} --append --cert @{}", file.display())),
            ),
            Identity::FederatedToken { .. } => self.add(
                "compare issuer, subject and audience of the application's federated credentials with the token's",
                Some(format!("az ad app federated-credential list --id {client}")),
            ),
            Identity::ManagedIdentity { .. } => {
                self.add(
                    "assign the managed identity to this machine",
                    Some("az vm identity assign --name VM --resource-group GROUP".to_owned()),
                );
            }
            Identity::AzureCli { tenant } => {
                let tenant = tenant.as_ref().map(|tenant| format!(" --tenant {tenant}")).unwrap_or_default();
                self.add("sign in to the Azure CLI", Some(format!("az login{tenant}")));
            }
        }
    }

    pub(super) fn discovery(&mut self, error: &VaultError) {
        match error.kind() {
            VaultErrorKind::Denied(_) | VaultErrorKind::NotFound | VaultErrorKind::Disabled => self.no_vaults(),
            VaultErrorKind::Unauthenticated { .. } => self.sign_in(error),
            VaultErrorKind::Throttled { .. } => self.add("wait: the resource manager throttles this identity", None),
            VaultErrorKind::TimedOut | VaultErrorKind::Unavailable(_) | VaultErrorKind::Malformed => {
                let host = self.settings.cloud.resource_manager.host_str().unwrap_or_default().to_owned();
                self.add(&format!("check that this machine reaches https://{host}, and through which proxy"), None);
            }
        }
    }

    /// The identity sees nothing: it needs a role somewhere, or vaults by name.
    pub(super) fn no_vaults(&mut self) {
        let scope = match self.settings.subscriptions.first() {
            Some(subscription) => format!("/subscriptions/{subscription}"),
            None => "/subscriptions/SUBSCRIPTION-ID".to_owned(),
        };
        self.add(
            "let the identity see the vaults of a subscription (or name them: vaults = [\"…\"] in [[source]])",
            Some(format!("az role assignment create --role Reader --assignee {} --scope {scope}", self.assignee)),
        );
    }

    pub(super) fn vault(&mut self, info: &VaultInfo, error: &VaultError) {
        let name = info.name.bare().to_owned();
        match error.kind() {
            VaultErrorKind::Denied(Denial::Rbac | Denial::Other) => self.add(
                &format!("let the identity list and read the secrets of {name}"),
                Some(format!(
                    "az role assignment create --role \"Key Vault Secrets User\" --assignee {} --scope {}",
                    self.assignee,
                    scope(info)
                )),
            ),
            VaultErrorKind::Denied(Denial::AccessPolicy) => {
                let who = match &self.client {
                    Some(client) => format!("--spn {client}"),
                    None => format!("--object-id {}", self.assignee),
                };
                self.add(
                    &format!("name the identity in the access policy of {name}"),
                    Some(format!("az keyvault set-policy --name {name} {who} --secret-permissions get list")),
                );
            }
            VaultErrorKind::Unavailable(Outage::Firewall) => self.add(
                &format!("let this machine's address through the firewall of {name}"),
                Some(format!("az keyvault network-rule add --name {name} --ip-address ADDRESS")),
            ),
            VaultErrorKind::Unavailable(Outage::PrivateLink) => self.add(
                &format!("run inside the network of {name}'s private link, or open it to chosen addresses"),
                Some(format!("az keyvault update --name {name} --public-network-access Enabled --default-action Deny")),
            ),
            VaultErrorKind::Unavailable(Outage::Dns) => self.add(
                &format!("{name} has no address here: check this machine's DNS, or whether the vault was deleted"),
                Some(format!("az keyvault list-deleted --query \"[?name=='{name}']\"")),
            ),
            VaultErrorKind::Unauthenticated { .. } => self.add(
                &format!("{name} does not take this identity's tokens: see which tenant it trusts"),
                Some(format!("az keyvault show --name {name} --query properties.tenantId")),
            ),
            VaultErrorKind::Throttled { .. } => {
                self.add(&format!("wait: {name} is throttled; look for who else reads it so often"), None);
            }
            VaultErrorKind::Unavailable(Outage::Tls) => self
                .add(&format!("{name}'s certificate is not trusted: name the authority of a proxy in ca_file"), None),
            VaultErrorKind::Unavailable(Outage::Connection | Outage::Server(_) | Outage::Internal)
            | VaultErrorKind::TimedOut
            | VaultErrorKind::Malformed => {
                self.add(&format!("check that this machine reaches {name}, and try again"), None);
            }
            // Between listing and reading it was deleted or disabled: nothing is missing.
            VaultErrorKind::NotFound | VaultErrorKind::Disabled => {}
        }
    }

    /// All of them, as they are printed; nothing if nothing is missing.
    pub(super) fn told(&self) -> String {
        let mut text = String::new();
        for (what, command) in &self.all {
            text.push_str(&format!("\n- {}\n", super::harmless(what)));
            if let Some(command) = command {
                text.push_str(&format!("    {}\n", super::harmless(command)));
            }
        }
        text
    }

    fn add(&mut self, what: &str, command: Option<String>) {
        let remedy = (what.to_owned(), command);
        if !self.all.contains(&remedy) {
            self.all.push(remedy);
        }
    }
}

/// The vault's resource id, or the command that tells it.
fn scope(info: &VaultInfo) -> String {
    let name = info.name.bare();
    match (&info.subscription, &info.resource_group) {
        (Some(subscription), Some(group)) => {
            format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}")
        }
        _ => format!("\"$(az keyvault show --name {name} --query id --output tsv)\""),
    }
}
