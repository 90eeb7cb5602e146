//! What the fake Azure holds before the first call: tenants, apps, subscriptions, vaults, rights and secrets.
//!
//! Read from TOML by [`Estate::parse`], which tells every fault at once with its key and line; an estate that parsed
//! is consistent, so that nothing of it can fail later. Values in it are made up: never write a real one.

mod parse;
mod parts;
mod section;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

pub(super) use parts::generated;

use crate::secret::SecretName;

/// The whole of a fake Azure. The demo's own is [`Estate::demo`], in `demo.toml`, which is the documentation of the
/// format by example.
#[derive(Debug, Clone)]
pub struct Estate {
    /// What relative times in the file (`"12d"`, `"-90d"`) were counted from.
    pub now: OffsetDateTime,
    /// How long an access token lives.
    pub token_lifetime: Duration,
    /// Added before every answer but those of `/_emulator/`.
    pub latency: Duration,
    /// Each vault's budget.
    pub budget: Budget,
    /// How a vault answers a call without a token.
    pub challenge: Challenge,
    /// How Resource Manager pages its lists.
    pub arm: Paging,
    /// How Resource Graph answers.
    pub graph: Graph,
    /// The directories.
    pub tenants: Vec<Tenant>,
    /// The identities.
    pub apps: Vec<App>,
    /// The subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// The vaults, with what they hold.
    pub vaults: Vec<Vault>,
    /// Who may do what.
    pub grants: Vec<Grant>,
}

/// Transactions in a window; Key Vault's own is 4,000 in 10 s per vault
/// (<https://learn.microsoft.com/azure/key-vault/general/service-limits>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most calls that may come at once, and that come back in one window.
    pub transactions: u32,
    /// The window.
    pub window: Duration,
}

/// The 401 of a call without a token. Real ones have had several texts and authority hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The host in `authorization=`; `None`: the cloud's own.
    pub authority_host: Option<String>,
    /// The message in the body.
    pub text: String,
}

/// How a list is cut into pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// The most items of a page, whatever the caller asked for.
    pub page_size: usize,
    /// So many empty pages, each with a `nextLink`, after the first page.
    pub empty_pages: usize,
    /// The items of each page one by one, from the first; after its end `page_size` rules. Stronger than
    /// `empty_pages`.
    pub pages: Vec<usize>,
    /// How the last page says that it is the last.
    pub end: PageEnd,
}

/// Both are seen on the real services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnd {
    /// There is no `nextLink`: Resource Manager's way.
    Absent,
    /// `"nextLink": null`: Key Vault's way.
    Null,
}

/// How Resource Graph answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graph {
    /// The most rows of a page, whatever `$top` asked for.
    pub page_size: usize,
    /// Whether `tobool()` comes back as `1` and `0`, rather than `true` and `false`.
    pub numeric_booleans: bool,
    /// Queries per 5 s and identity, as `x-ms-user-quota-remaining` tells.
    pub quota: u32,
}

/// One of Azure's clouds: its hosts are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// `login.microsoftonline.com`, `management.azure.com`, `.vault.azure.net`.
    Public,
    /// `login.microsoftonline.us`, `management.usgovcloudapi.net`, `.vault.usgovcloudapi.net`.
    UsGovernment,
    /// `login.chinacloudapi.cn`, `management.chinacloudapi.cn`, `.vault.azure.cn`.
    China,
}

/// A directory of Entra.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its domain, which stands for the id in a token's address.
    pub domain: Option<String>,
    /// The cloud it lives in, and with it its subscriptions and their vaults.
    pub cloud: Cloud,
}

/// An identity: a service principal or a managed identity.
#[derive(Debug, Clone)]
pub struct App {
    /// How grants name it.
    pub name: String,
    /// Its tenant's id.
    pub tenant: String,
    /// The application's (client) id.
    pub id: String,
    /// The principal's object id.
    pub object_id: String,
    /// Its client secrets, and when each expires.
    pub secrets: Vec<(String, Option<OffsetDateTime>)>,
    /// Its certificates, DER.
    pub certificates: Vec<Vec<u8>>,
    /// Its federated credentials.
    pub federated: Vec<Federated>,
    /// Whether IMDS gives its token.
    pub managed: Option<Managed>,
}

/// A federated credential: whose tokens stand for the app.
#[derive(Debug, Clone)]
pub struct Federated {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
    /// The token's `aud`.
    pub audience: String,
    /// The issuer's public key (SubjectPublicKeyInfo, DER). Without one, the signature is not looked at.
    pub public_key: Option<Vec<u8>>,
}

/// Which kind of managed identity an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Managed {
    /// The machine's own: what IMDS gives if no identity is named.
    System,
    /// Given only to who names it.
    User,
}

/// A subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// Its display name.
    pub name: String,
    /// Its tenant's id.
    pub tenant: String,
    /// Such as `Enabled`.
    pub state: String,
}

/// A vault and what it holds.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Its name, lower case.
    pub name: String,
    /// Its subscription's id.
    pub subscription: String,
    /// Its resource group.
    pub resource_group: String,
    /// Its region.
    pub location: String,
    /// The tenant whose tokens it takes.
    pub tenant: String,
    /// The tenant's cloud decides the host.
    pub cloud: Cloud,
    /// Whether rights are role assignments, rather than access policies: it decides which refusal is told.
    pub rbac: bool,
    /// Who gets through to it.
    pub firewall: Firewall,
    /// Not shown by Resource Manager and Resource Graph, whoever asks.
    pub hidden: bool,
    /// Every call is answered 429.
    pub throttled: bool,
    /// As `attributes.recoveryLevel` tells it: an open set.
    pub recovery_level: String,
    /// As `attributes.recoverableDays` tells it; `None`: it is absent, as it was in older versions of the service.
    pub recoverable_days: Option<u32>,
    /// The resource's tags.
    pub tags: BTreeMap<String, String>,
    /// How it pages its lists; never more than 25 items.
    pub paging: Paging,
    /// What it holds.
    pub secrets: Vec<Secret>,
}

/// Who gets through to a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// Everybody.
    Open,
    /// Nobody: the caller's address is not on its list.
    Closed,
    /// Nobody: only its private link would do.
    Private,
}

/// A secret of the estate.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// The same as it was written, which the service gives back.
    pub spelling: String,
    /// Oldest first, never empty.
    pub versions: Vec<SecretVersion>,
    /// Soft-deleted from the start.
    pub deleted: bool,
}

/// One version of a secret of the estate.
#[derive(Debug, Clone)]
pub struct SecretVersion {
    /// Its value.
    pub value: Value,
    /// Whether it can be read.
    pub enabled: bool,
    /// Informational.
    pub expires: Option<OffsetDateTime>,
    /// Informational.
    pub not_before: Option<OffsetDateTime>,
    /// When it was written; `None`: at the start.
    pub created: Option<OffsetDateTime>,
    /// Free text.
    pub content_type: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The file.
    Text(String),
    /// Made up, the same in every run.
    Generated,
    /// A certificate with its key, made at the start for this subject: a managed secret.
    Certificate(String),
}

/// What an app may do.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The app's name.
    pub app: String,
    /// What it covers.
    pub scope: Scope,
}

/// What a grant covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Sees these subscriptions and their vaults in Resource Manager: the role Reader.
    Read {
        /// Ids or names; `*` for all.
        subscriptions: Vec<String>,
    },
    /// May use these vaults.
    Use {
        /// Names or globs.
        vaults: Vec<String>,
        /// Only these secrets (names or globs). A list is then refused, as it is under a role on one secret.
        secrets: Option<Vec<String>>,
        /// What it may do.
        rights: Vec<Right>,
    },
}

/// One right on secrets, as access policies name them; each stands for the data action of the same sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Right {
    Get,
    List,
    Set,
    Delete,
    Recover,
    Purge,
}

/// What is wrong in an estate's file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstateFault {
    /// The key, such as `vault[2].secret[0].expires`; empty where the file is no TOML.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for EstateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "line {}: {}", self.line, self.message)
        } else {
            write!(f, "line {}: {}: {}", self.line, self.path, self.message)
        }
    }
}

impl std::error::Error for EstateFault {}

impl Estate {
    /// Reads an estate; relative times count from now.
    ///
    /// # Errors
    /// Every fault of the file, in the order of its lines.
    pub fn parse(text: &str) -> Result<Self, Vec<EstateFault>> {
        Self::parse_at(text, OffsetDateTime::now_utc())
    }

    /// Reads an estate; relative times count from `now`.
    ///
    /// # Errors
    /// Every fault of the file, in the order of its lines.
    pub fn parse_at(text: &str, now: OffsetDateTime) -> Result<Self, Vec<EstateFault>> {
        parse::estate(text, now.replace_nanosecond(0).unwrap_or(now))
    }

    /// The demo's estate: three subscriptions, eight vaults to find and two that are not, a few hundred secrets.
    ///
    /// # Panics
    /// Never: a test parses the embedded file.
    #[must_use]
    pub fn demo(now: OffsetDateTime) -> Self {
        Self::parse_at(Self::DEMO, now).expect("the embedded estate parses, which a test holds")
    }

    /// The demo's estate as it is written.
    pub const DEMO: &'static str = include_str!("../demo.toml");
}

impl Cloud {
    /// Every cloud.
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// Entra's host.
    #[must_use]
    pub fn authority(self) -> &'static str {
        match self {
            Self::Public => "login.microsoftonline.com",
            Self::UsGovernment => "login.microsoftonline.us",
            Self::China => "login.chinacloudapi.cn",
        }
    }

    /// Resource Manager's host.
    #[must_use]
    pub fn resource_manager(self) -> &'static str {
        match self {
            Self::Public => "management.azure.com",
            Self::UsGovernment => "management.usgovcloudapi.net",
            Self::China => "management.chinacloudapi.cn",
        }
    }

    /// What stands after a vault's name in its host, without the dot; as `https://…` the audience of its tokens.
    #[must_use]
    pub fn vault_domain(self) -> &'static str {
        match self {
            Self::Public => "vault.azure.net",
            Self::UsGovernment => "vault.usgovcloudapi.net",
            Self::China => "vault.azure.cn",
        }
    }
}

impl Right {
    /// As an access policy names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Recover => "recover",
            Self::Purge => "purge",
        }
    }

    /// As a role definition names it.
    #[must_use]
    pub fn data_action(self) -> &'static str {
        match self {
            Self::Get => "Microsoft.KeyVault/vaults/secrets/getSecret/action",
            Self::List => "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
            Self::Set => "Microsoft.KeyVault/vaults/secrets/setSecret/action",
            Self::Delete => "Microsoft.KeyVault/vaults/secrets/delete",
            Self::Recover => "Microsoft.KeyVault/vaults/secrets/recover/action",
            Self::Purge => "Microsoft.KeyVault/vaults/secrets/purge/action",
        }
    }
}
