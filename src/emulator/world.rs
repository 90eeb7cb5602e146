//! What the services share: the estate come to life.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::budget::Bucket;
use super::calls::CallBook;
use super::certificate;
use super::estate::{self, App, Cloud, Estate, Firewall, Subscription, Tenant};
use super::fault::FaultBook;
use super::rights::Rights;
use super::token::Tokens;
use crate::secret::{SecretName, SourceName};
use crate::vaults::VaultInfo;
use crate::vaults::memory::{Attributes, MemoryVault};

pub(super) struct World {
    pub(super) token_lifetime: Duration,
    pub(super) challenge: estate::Challenge,
    pub(super) arm: estate::Paging,
    pub(super) graph: estate::Graph,
    pub(super) tenants: Vec<Tenant>,
    pub(super) apps: Vec<App>,
    pub(super) subscriptions: Vec<Subscription>,
    /// By name.
    pub(super) vaults: BTreeMap<String, VaultState>,
    pub(super) rights: Rights,
    pub(super) tokens: Tokens,
    pub(super) calls: CallBook,
    pub(super) faults: FaultBook,
    /// Queries of each app in its window of 5 s.
    pub(super) queries: Mutex<HashMap<String, (tokio::time::Instant, u32)>>,
    latency_ms: AtomicU64,
}

/// A vault that is served.
pub(super) struct VaultState {
    /// As the estate describes it, but for its secrets.
    pub(super) facts: estate::Vault,
    pub(super) store: MemoryVault,
    pub(super) bucket: Bucket,
    pub(super) throttled: AtomicBool,
    /// Resource Manager and Resource Graph do not show it.
    pub(super) hidden: AtomicBool,
    firewall: Mutex<Firewall>,
    notes: Mutex<Notes>,
}

/// What the store does not keep.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Names as they were first written.
    pub(super) spelling: HashMap<SecretName, String>,
    /// When what is deleted was deleted.
    pub(super) deleted: HashMap<SecretName, OffsetDateTime>,
}

impl World {
    pub(super) fn new(estate: Estate) -> io::Result<Self> {
        let source: SourceName = "emulator".parse().expect("a constant name");
        let mut vaults = BTreeMap::new();
        for facts in estate.vaults {
            let state = VaultState::new(facts, &source, estate.budget, estate.now)?;
            vaults.insert(state.facts.name.clone(), state);
        }
        Ok(Self {
            token_lifetime: estate.token_lifetime,
            challenge: estate.challenge,
            arm: estate.arm,
            graph: estate.graph,
            tenants: estate.tenants,
            apps: estate.apps,
            subscriptions: estate.subscriptions,
            vaults,
            rights: Rights::new(estate.grants),
            tokens: Tokens::default(),
            calls: CallBook::default(),
            faults: FaultBook::default(),
            queries: Mutex::default(),
            latency_ms: AtomicU64::new(u64::try_from(estate.latency.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// The tenant of that id or domain.
    pub(super) fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| {
            tenant.id.eq_ignore_ascii_case(name)
                || tenant.domain.as_ref().is_some_and(|domain| domain.eq_ignore_ascii_case(name))
        })
    }

    /// The app of that name in the estate.
    pub(super) fn app(&self, name: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.name == name)
    }

    /// The vault of a host, and whether the host is one that only vaults have.
    pub(super) fn vault_of_host(&self, host: &str) -> VaultHost<'_> {
        let Some((label, domain)) = host.split_once('.') else { return VaultHost::NoVault };
        let of_cloud = Cloud::ALL.into_iter().find(|cloud| cloud.vault_domain() == domain);
        match (of_cloud, self.vaults.get(label)) {
            (Some(cloud), Some(vault)) if vault.facts.cloud == cloud => VaultHost::Vault(vault),
            (Some(_), _) => VaultHost::Unknown,
            (None, found) if domain == LOCAL_DOMAIN => found.map_or(VaultHost::Unknown, VaultHost::Vault),
            (None, _) => VaultHost::NoVault,
        }
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.latency_ms.store(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What stands after a vault's name for clients that resolve `*.localhost`.
pub(super) const LOCAL_DOMAIN: &str = "vault.localhost";

/// What a host is to the vaults.
pub(super) enum VaultHost<'w> {
    Vault(&'w VaultState),
    /// A vault's host by its suffix, and there is no such vault: in Azure its name would not resolve.
    Unknown,
    NoVault,
}

impl VaultState {
    fn new(facts: estate::Vault, source: &SourceName, budget: estate::Budget, now: OffsetDateTime) -> io::Result<Self> {
        let name = facts.name.parse().map_err(io::Error::other)?;
        let store = MemoryVault::new(VaultInfo::new(source.clone(), name));
        let mut notes = Notes::default();
        for secret in &facts.secrets {
            for (at, version) in secret.versions.iter().enumerate() {
                let (value, managed) = match &version.value {
                    estate::Value::Text(text) => (text.clone(), false),
                    estate::Value::Generated => {
                        (estate::generated(&format!("{}/{}/{at}", facts.name, secret.name)), false)
                    }
                    estate::Value::Certificate(subject) => (certificate::pfx(subject)?, true),
                };
                let attributes = Attributes {
                    enabled: version.enabled,
                    not_before: version.not_before,
                    expires: version.expires,
                    content_type: match managed {
                        true => Some(certificate::PFX_TYPE.to_owned()),
                        false => version.content_type.clone(),
                    },
                    tags: version.tags.clone().into_iter().collect(),
                    managed,
                    written: version.created.or(Some(now)),
                };
                store.set(&secret.name, value, attributes);
            }
            notes.spelling.insert(secret.name.clone(), secret.spelling.clone());
            if secret.deleted {
                store.delete(&secret.name);
                notes.deleted.insert(secret.name.clone(), now);
            }
        }
        let facts = estate::Vault { secrets: Vec::new(), ..facts };
        Ok(Self {
            store,
            bucket: Bucket::new(budget),
            throttled: AtomicBool::new(facts.throttled),
            hidden: AtomicBool::new(facts.hidden),
            firewall: Mutex::new(facts.firewall),
            notes: Mutex::new(notes),
            facts,
        })
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn firewall(&self) -> Firewall {
        *self.firewall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_firewall(&self, firewall: Firewall) {
        *self.firewall.lock().unwrap_or_else(PoisonError::into_inner) = firewall;
    }

    /// A name as it was first written.
    pub(super) fn spelling(&self, name: &SecretName) -> String {
        self.notes().spelling.get(name).cloned().unwrap_or_else(|| name.to_string())
    }

    /// Its address in its cloud.
    pub(super) fn uri(&self) -> String {
        format!("https://{}.{}", self.facts.name, self.facts.cloud.vault_domain())
    }

    /// Its id in Resource Manager.
    pub(super) fn resource_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.KeyVault/vaults/{}",
            self.facts.subscription, self.facts.resource_group, self.facts.name
        )
    }
}
