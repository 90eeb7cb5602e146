use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use time::OffsetDateTime;
use url::Url;

use super::address::{VaultAddress, claimed_host};
use super::credential::{Claims, Limits, Scopes, Tokens, issuer, scope};
use super::discovery::{self, Arm, Described, DiscoveryReport, Filter};
use super::settings::{AzureSettings, Cloud, ConfiguredVault, Identity};
use super::transport::{LookUp, Overrides, System, SystemRoots, Transport};
use super::{AzureVault, SetupError};
use crate::metrics::Metrics;
use crate::secret::{SourceName, VaultName};
use crate::vaults::{Discovery, SkipReason, Skipped, Source, Vault, VaultError, VaultErrorKind, VaultInfo};

/// One identity in one Azure cloud.
pub struct AzureSource {
    settings: AzureSettings,
    transport: Arc<Transport>,
    tokens: Arc<Tokens>,
    arm: Arm,
    filter: Filter,
    configured: Vec<VaultAddress>,
    /// Every vault that was ever named or found, by its host: the same vault is the same `Arc` in every round.
    known: Mutex<BTreeMap<VaultAddress, Arc<AzureVault>>>,
}

/// Which of a source's two services a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Azure Resource Manager: finding vaults.
    ResourceManager,
    /// The vaults under the first of the cloud's suffixes: reading them.
    Vaults,
}

/// Who signed in, for people. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// `client-secret`, `certificate`, `federated-token`, `managed-identity` or `azure-cli`.
    pub identity: &'static str,
    /// The tenant's id, as the token tells it, else as it is configured.
    pub tenant: Option<String>,
    /// The application's id, likewise.
    pub client: Option<String>,
    /// The object id of the service principal or user: what a role is assigned to.
    pub object: Option<String>,
    /// How long the token is good for.
    pub valid_for: Duration,
}

impl AzureSource {
    /// Checks the settings and builds what is shared: HTTP client, tokens, resource manager. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] names the setting at fault.
    pub fn new(settings: AzureSettings) -> Result<Self, SetupError> {
        Self::counted(settings, Metrics::default(), &SystemRoots::read())
    }

    /// As [`AzureSource::new`]; sign-ins and tokens are counted there, and who is trusted was read before.
    ///
    /// # Errors
    /// As [`AzureSource::new`].
    pub fn counted(settings: AzureSettings, metrics: Metrics, roots: &SystemRoots) -> Result<Self, SetupError> {
        Self::resolving(settings, metrics, roots, Arc::new(System))
    }

    /// As [`AzureSource::counted`], with somebody else in the place of the system's resolver: for tests of what happens
    /// when that fails.
    ///
    /// # Errors
    /// As [`AzureSource::new`].
    pub fn resolving(
        settings: AzureSettings,
        metrics: Metrics,
        roots: &SystemRoots,
        names: Arc<dyn LookUp>,
    ) -> Result<Self, SetupError> {
        let overrides = Overrides::new(&settings.resolve)?;
        let transport = Transport::new(roots, settings.extra_ca.as_deref(), overrides, names, settings.wire.clone())?;
        Self::over(settings, metrics, transport)
    }

    /// The source on that way out.
    pub(super) fn over(
        settings: AzureSettings,
        metrics: Metrics,
        transport: Arc<Transport>,
    ) -> Result<Self, SetupError> {
        check(&settings.cloud)?;
        let suffixes = &settings.cloud.vault_suffixes;
        let configured = settings.vaults.iter().map(|vault| address(vault, suffixes)).collect::<Result<_, _>>()?;
        let filter = Filter::new(&settings.include, &settings.exclude)?;
        let issuer = issuer(&settings.identity, &settings.cloud.authority_host, &transport)?;
        let resources = suffixes.iter().map(|suffix| vault_resource(suffix));
        let scopes = Scopes::of(resources.chain([settings.cloud.resource_manager.clone()]));
        let limits = Limits { call: settings.wire.call, look_every: settings.wire.credential_look };
        let tokens = Tokens::new(issuer, scopes, limits, (metrics, settings.name.to_string()));
        let arm = Arm::new(&settings.cloud.resource_manager, &transport, &tokens);
        Ok(Self { settings, transport, tokens, arm, filter, configured, known: Mutex::default() })
    }

    /// Signs in, or uses the token that is held, and tells who that is.
    ///
    /// # Errors
    /// As the identity service refused or failed; [`VaultErrorKind::Unauthenticated`] carries its `AADSTS…` code.
    pub async fn sign_in(&self, audience: Audience) -> Result<SignedIn, VaultError> {
        let scope = match audience {
            Audience::ResourceManager => scope(&self.settings.cloud.resource_manager),
            Audience::Vaults => self.vaults_scope(),
        };
        let token = self.tokens.get(&scope).await?;
        let claims = Claims::of(&token.open());
        let (identity, tenant, client) = configured_identity(&self.settings.identity);
        Ok(SignedIn {
            identity,
            tenant: claims.tid.or_else(|| tenant.map(str::to_owned)),
            client: claims.appid.or_else(|| client.map(str::to_owned)),
            object: claims.oid,
            valid_for: Duration::try_from(token.expires_on - OffsetDateTime::now_utc()).unwrap_or_default(),
        })
    }

    /// As [`Source::discover`], and how the vaults were found.
    pub async fn survey(&self) -> (Discovery, DiscoveryReport) {
        if self.tokens.get(&scope(&self.settings.cloud.resource_manager)).await.is_ok() {
            // Begun here and not waited for: whatever is found first will want it.
            let _ = self.tokens.get(&self.vaults_scope()).now_or_never();
        }
        let mut round = discovery::round(&self.arm, &self.settings.subscriptions).await;
        let tenant = self.tenant().await.or(round.tenant.take());
        let mut found = Found { discovery: Discovery::default(), names: BTreeMap::new() };
        found.discovery.faults = round.faults;
        let mut configured: BTreeMap<&VaultAddress, Option<Described>> =
            self.configured.iter().map(|address| (address, None)).collect();
        let mut others = Vec::new();
        for vault in round.vaults {
            let Some(address) = VaultAddress::parse(&vault.uri, &self.settings.cloud.vault_suffixes) else {
                found.discovery.skipped.push(self.foreign_host(&vault));
                continue;
            };
            match configured.get_mut(&address) {
                Some(described) => *described = Some(vault),
                None if self.filter.wants(address.name()) => others.push((address, vault)),
                None => round.report.filtered += 1,
            }
        }
        // What is named has its name before what is found, as it had it before anything was found.
        for (address, described) in configured {
            self.take(&mut found, address, described, tenant.as_deref());
        }
        for (address, vault) in others {
            self.take(&mut found, &address, Some(vault), tenant.as_deref());
        }
        (found.discovery, round.report)
    }

    /// What the vaults under the first of the cloud's suffixes want a token for.
    fn vaults_scope(&self) -> String {
        let suffix = self.settings.cloud.vault_suffixes.first();
        suffix.map(|suffix| scope(&vault_resource(suffix))).unwrap_or_default()
    }

    fn take(&self, found: &mut Found, address: &VaultAddress, described: Option<Described>, own: Option<&str>) {
        let info = self.info(address, described.as_ref());
        let theirs = described.and_then(|described| described.tenant);
        if let (Some(own), Some(theirs)) = (own, theirs)
            && !own.eq_ignore_ascii_case(&theirs)
        {
            let reason = SkipReason::ForeignTenant { tenant: theirs };
            found.discovery.skipped.push(Skipped { info, reason });
            return;
        }
        match found.names.get(address.name()) {
            Some(taken) if taken == address => return,
            Some(taken) => {
                let detail =
                    format!("{address:?} is not used: {taken:?} has the same name; configure a source for each");
                found.discovery.faults.push(VaultError::new(VaultErrorKind::Malformed, detail));
                return;
            }
            None => found.names.insert(address.name().clone(), address.clone()),
        };
        match self.vault(address, info) {
            Ok(vault) => found.discovery.vaults.push(vault),
            Err(fault) => found.discovery.faults.push(fault),
        }
    }

    fn vault(&self, address: &VaultAddress, info: VaultInfo) -> Result<Arc<dyn Vault>, VaultError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vault) = known.get(address) {
            vault.describe(info);
            return Ok(Arc::clone(vault) as _);
        }
        // A cloud's vaults want tokens for the host of its suffix. One under another suffix is asked: that may be another
        // name for the same, or a service that nobody has heard of.
        let main = self.settings.cloud.vault_suffixes.first().filter(|suffix| address.is_under(suffix));
        let wants = main.map(|suffix| vault_resource(suffix));
        let vault = Arc::new(AzureVault::new(info, address.clone(), wants, &self.transport, &self.tokens)?);
        known.insert(address.clone(), Arc::clone(&vault));
        Ok(vault)
    }

    fn info(&self, address: &VaultAddress, described: Option<&Described>) -> VaultInfo {
        let part = |of| described.and_then(|described| described.part(of)).map(str::to_owned);
        VaultInfo {
            uri: Some(address.url().to_string()),
            subscription: part("subscriptions"),
            resource_group: part("resourceGroups"),
            location: described.and_then(|described| described.location.clone()),
            configured: self.configured.contains(address),
            ..VaultInfo::new(self.settings.name.clone(), address.name().clone())
        }
    }

    fn foreign_host(&self, vault: &Described) -> Skipped {
        let host = claimed_host(&vault.uri);
        let name = vault.part("vaults").unwrap_or(&host).parse::<VaultName>().ok();
        let name = name.unwrap_or_else(|| "unnamed".parse().expect("a plain word is a name"));
        let info = VaultInfo {
            uri: Some(vault.uri.clone()),
            subscription: vault.part("subscriptions").map(str::to_owned),
            resource_group: vault.part("resourceGroups").map(str::to_owned),
            location: vault.location.clone(),
            ..VaultInfo::new(self.settings.name.clone(), name)
        };
        Skipped { info, reason: SkipReason::ForeignHost { host } }
    }

    /// The id of the tenant that is signed in to: as the token tells it, else as configured. A tenant configured by its
    /// domain cannot be compared with a vault's.
    async fn tenant(&self) -> Option<String> {
        if let Ok(token) = self.tokens.get(&scope(&self.settings.cloud.resource_manager)).await
            && let Some(tenant) = Claims::of(&token.open()).tid
        {
            return Some(tenant);
        }
        let (_, tenant, _) = configured_identity(&self.settings.identity);
        tenant.filter(|tenant| !tenant.contains('.')).map(str::to_owned)
    }
}

/// A round being put together.
struct Found {
    discovery: Discovery,
    names: BTreeMap<VaultName, VaultAddress>,
}

#[async_trait]
impl Source for AzureSource {
    fn name(&self) -> &SourceName {
        &self.settings.name
    }

    async fn discover(&self) -> Discovery {
        let (discovery, report) = self.survey().await;
        // Whether it is news is for the catalog to tell.
        tracing::debug!(
            source = %self.settings.name,
            vaults = discovery.vaults.len(),
            skipped = discovery.skipped.len(),
            faults = discovery.faults.len(),
            subscriptions = report.subscriptions,
            "looked for vaults"
        );
        discovery
    }

    fn named(&self) -> Vec<Arc<dyn Vault>> {
        let in_order: BTreeSet<_> = self.configured.iter().collect();
        // Of two of one name, the first: a round tells of the other, if that is the one to be asked.
        let mut names = BTreeSet::new();
        let of_all = in_order.into_iter().filter(|address| names.insert(address.name()));
        of_all.filter_map(|address| self.vault(address, self.info(address, None)).ok()).collect()
    }

    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>> {
        let address = VaultAddress::parse(info.uri.as_deref()?, &self.settings.cloud.vault_suffixes)?;
        let configured = self.configured.contains(&address);
        if info.source != self.settings.name || !(configured || self.filter.wants(address.name())) {
            return None;
        }
        let info = VaultInfo { configured, ..info.clone() };
        self.vault(&address, info).ok()
    }
}

impl fmt::Debug for AzureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureSource").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn configured_identity(identity: &Identity) -> (&'static str, Option<&str>, Option<&str>) {
    match identity {
        Identity::ClientSecret { tenant, client, .. } => ("client-secret", Some(tenant), Some(client)),
        Identity::Certificate { tenant, client, .. } => ("certificate", Some(tenant), Some(client)),
        Identity::FederatedToken { tenant, client, .. } => ("federated-token", Some(tenant), Some(client)),
        Identity::ManagedIdentity { client, .. } => ("managed-identity", None, client.as_deref()),
        Identity::AzureCli { tenant } => ("azure-cli", tenant.as_deref(), None),
    }
}

/// The resource that vaults under a suffix take tokens for: `https://vault.azure.net` for `.vault.azure.net`.
fn vault_resource(suffix: &str) -> Url {
    Url::parse(&format!("https://{}", suffix.trim_start_matches('.'))).expect("a checked suffix is a host")
}

fn check(cloud: &Cloud) -> Result<(), SetupError> {
    for (key, url) in [("authority_host", &cloud.authority_host), ("resource_manager", &cloud.resource_manager)] {
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if url.scheme() != "https" || url.host_str().is_none() || !plain {
            return Err(SetupError::Address { key });
        }
    }
    if cloud.vault_suffixes.is_empty() {
        return Err(SetupError::NoSuffix);
    }
    for suffix in &cloud.vault_suffixes {
        let labels = |domain: &str| domain.split('.').count() >= 2 && domain.split('.').all(is_label);
        if !suffix.strip_prefix('.').is_some_and(labels) {
            return Err(SetupError::Suffix { suffix: suffix.clone() });
        }
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn address(vault: &ConfiguredVault, suffixes: &[String]) -> Result<VaultAddress, SetupError> {
    let (address, text) = match vault {
        ConfiguredVault::Name(name) => (VaultAddress::of_name(name, suffixes), name.to_string()),
        ConfiguredVault::Uri(uri) => (VaultAddress::parse(uri.as_str(), suffixes), uri.to_string()),
    };
    address.ok_or(SetupError::Vault { vault: text })
}
