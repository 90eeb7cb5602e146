//! Who asked for what, how often: what tests of caches, budgets and concurrency assert on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Every kind of request that the emulator tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Entra: the token.
    Token,
    /// Entra: OpenID configuration and instance discovery.
    Openid,
    /// The machine's identity.
    Imds,
    /// Resource Manager: subscriptions.
    Subscriptions,
    /// Resource Manager: vaults.
    Vaults,
    /// Resource Graph.
    Graph,
    /// A vault's request without a token, whatever it is for: answered by the challenge.
    Challenge,
    /// A secret's current version, or the one asked for.
    Get,
    /// A page of the secrets.
    List,
    /// A page of a secret's versions.
    Versions,
    /// A new version.
    Set,
    /// New attributes.
    Update,
    /// Soft delete.
    Delete,
    /// A page of the deleted secrets.
    ListDeleted,
    /// A deleted secret.
    GetDeleted,
    /// Back from the deleted.
    Recover,
    /// Gone for good.
    Purge,
    /// A vault's `/healthstatus`.
    Health,
    /// Anything else, on any host: a well-behaved client never comes here.
    Elsewhere,
}

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Connections accepted.
    pub connections: u64,
    /// Requests, but those of `/_emulator/`.
    pub requests: u64,
    /// Requests that carried a token to a host that no service of Azure has: always a client's fault.
    pub leaked_tokens: u64,
    /// Requests by kind.
    pub endpoints: BTreeMap<Endpoint, u64>,
    /// Requests by vault.
    pub vaults: BTreeMap<String, VaultCalls>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// A vault's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VaultCalls {
    /// Requests by kind.
    pub endpoints: BTreeMap<Endpoint, u64>,
    /// Requests by secret's name and kind.
    pub secrets: BTreeMap<String, BTreeMap<Endpoint, u64>>,
    /// The most requests that were being answered at the same time.
    pub most_at_once: u64,
}

impl Calls {
    /// Requests of that kind, to any vault.
    #[must_use]
    pub fn endpoint(&self, endpoint: Endpoint) -> u64 {
        self.endpoints.get(&endpoint).copied().unwrap_or(0)
    }

    /// Requests of that kind to that vault.
    #[must_use]
    pub fn vault(&self, vault: &str, endpoint: Endpoint) -> u64 {
        self.vaults.get(vault).and_then(|calls| calls.endpoints.get(&endpoint)).copied().unwrap_or(0)
    }

    /// Requests of that kind for that secret.
    #[must_use]
    pub fn secret(&self, vault: &str, secret: &str, endpoint: Endpoint) -> u64 {
        let calls = self.vaults.get(vault).and_then(|calls| calls.secrets.get(secret));
        calls.and_then(|calls| calls.get(&endpoint)).copied().unwrap_or(0)
    }
}

/// Where the counting is done.
#[derive(Debug, Default)]
pub(super) struct CallBook(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    calls: Calls,
    at_once: BTreeMap<String, u64>,
}

/// What a request is for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// The vault's name.
    pub(super) vault: Option<String>,
    /// The secret's name in lower case.
    pub(super) secret: Option<String>,
}

impl Target {
    pub(super) fn of(endpoint: Endpoint) -> Self {
        Self { endpoint, vault: None, secret: None }
    }
}

impl CallBook {
    pub(super) fn connection(&self) {
        self.open().calls.connections += 1;
    }

    pub(super) fn leaked_token(&self) {
        self.open().calls.leaked_tokens += 1;
    }

    /// Counts a request; it is being answered until the guard is dropped.
    pub(super) fn begin<'b>(&'b self, target: &Target) -> Answering<'b> {
        let mut open = self.open();
        open.calls.requests += 1;
        *open.calls.endpoints.entry(target.endpoint).or_default() += 1;
        if let Some(vault) = &target.vault {
            let at_once = open.at_once.entry(vault.clone()).or_default();
            *at_once += 1;
            let at_once = *at_once;
            let calls = open.calls.vaults.entry(vault.clone()).or_default();
            calls.most_at_once = calls.most_at_once.max(at_once);
            *calls.endpoints.entry(target.endpoint).or_default() += 1;
            if let Some(secret) = &target.secret {
                *calls.secrets.entry(secret.clone()).or_default().entry(target.endpoint).or_default() += 1;
            }
        }
        Answering { book: self, vault: target.vault.clone() }
    }

    pub(super) fn status(&self, status: u16) {
        *self.open().calls.statuses.entry(status).or_default() += 1;
    }

    pub(super) fn read(&self) -> Calls {
        self.open().calls.clone()
    }

    pub(super) fn reset(&self) {
        self.open().calls = Calls::default();
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering<'b> {
    book: &'b CallBook,
    vault: Option<String>,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if let Some(vault) = &self.vault
            && let Some(at_once) = self.book.open().at_once.get_mut(vault)
        {
            *at_once = at_once.saturating_sub(1);
        }
    }
}
