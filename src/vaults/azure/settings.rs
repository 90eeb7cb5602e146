use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::secret::{SecretValue, SourceName, VaultName};

/// Everything the Azure backend needs to know, already checked. Filled by `config`, or by hand in tests.
#[derive(Debug, Clone)]
pub struct AzureSettings {
    /// The source's name.
    pub name: SourceName,
    /// Who signs in.
    pub identity: Identity,
    /// Where: Azure's public cloud, a sovereign one, or a custom one.
    pub cloud: Cloud,
    /// Only these subscriptions' ids; empty: every one that the identity sees.
    pub subscriptions: Vec<String>,
    /// Read these even where discovery does not show them.
    pub vaults: Vec<ConfiguredVault>,
    /// Globs on vault names; empty: all.
    pub include: Vec<String>,
    /// Globs on vault names; stronger than `include`.
    pub exclude: Vec<String>,
    /// Trusted beside the system's roots: certificates in PEM.
    pub extra_ca: Option<PathBuf>,
    /// Host name (or `*.suffix`) to address; certificates are still checked against the name.
    pub resolve: Vec<(String, SocketAddr)>,
    /// Time limits and retries of the wire.
    pub wire: WireLimits,
}

impl AzureSettings {
    /// Whether both are the same to the same vaults: one that has read a value for the one has read it for the other.
    #[must_use]
    pub fn is_same_principal(&self, other: &Self) -> bool {
        self.cloud == other.cloud && self.principal() == other.principal()
    }

    /// Whose estate this source shows: its name, cloud and principal, the same however the principal proves itself. One
    /// line, for machines.
    #[must_use]
    pub fn principal(&self) -> String {
        let principal = match &self.identity {
            Identity::ClientSecret { tenant, client, .. }
            | Identity::Certificate { tenant, client, .. }
            | Identity::FederatedToken { tenant, client, .. } => format!("application {client} of {tenant}"),
            Identity::ManagedIdentity { client: Some(client), .. } => format!("managed identity {client}"),
            Identity::ManagedIdentity { client: None, .. } => "the machine's managed identity".to_owned(),
            Identity::AzureCli { tenant: Some(tenant) } => format!("the Azure CLI's user of {tenant}"),
            Identity::AzureCli { tenant: None } => "the Azure CLI's user".to_owned(),
        };
        format!("{} {} {principal}", self.name, self.cloud.authority_host)
    }
}

/// An identity of Microsoft Entra, and how it proves itself.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A service principal with a client secret.
    ClientSecret {
        /// The directory's id or domain.
        tenant: String,
        /// The application's id.
        client: String,
        /// The client secret.
        secret: Credential,
    },
    /// A service principal with a certificate: PEM with key and certificate, or PFX.
    Certificate {
        /// The directory's id or domain.
        tenant: String,
        /// The application's id.
        client: String,
        /// PEM or PFX; told apart by their content.
        file: PathBuf,
        /// Opens a PFX.
        password: Option<Credential>,
    },
    /// Workload identity: a token file that the platform rotates.
    FederatedToken {
        /// The directory's id or domain.
        tenant: String,
        /// The application's id.
        client: String,
        /// Re-read while it is used.
        file: PathBuf,
    },
    /// The machine's own identity (IMDS, or App Service's endpoint).
    ManagedIdentity {
        /// A user-assigned one; `None`: the system-assigned.
        client: Option<String>,
        /// Where IMDS is, instead of `http://169.254.169.254`: what `AZURE_POD_IDENTITY_AUTHORITY_HOST` tells.
        endpoint: Option<Url>,
    },
    /// Whoever is signed in to the Azure CLI: for a developer's own machine.
    AzureCli {
        /// The directory, if not the CLI's default.
        tenant: Option<String>,
    },
}

/// A credential in memory, or a file that is read again while it is used, so that a rotation is seen. What signed in last
/// is used until something newer does.
#[derive(Clone)]
pub enum Credential {
    /// From a variable.
    Inline(Arc<SecretValue>),
    /// From a file; one trailing newline is not part of it.
    File(PathBuf),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The three services of one cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// Entra, such as `https://login.microsoftonline.com`.
    pub authority_host: Url,
    /// Azure Resource Manager, such as `https://management.azure.com`; its origin is the token's audience too.
    pub resource_manager: Url,
    /// Hosts that may be sent a Key Vault token: a single label before one of these. Each starts with a dot.
    pub vault_suffixes: Vec<String>,
}

impl Cloud {
    /// Azure's public cloud.
    #[must_use]
    pub fn public() -> Self {
        Self::of("https://login.microsoftonline.com", "https://management.azure.com", ".vault.azure.net")
    }

    /// Azure US Government.
    #[must_use]
    pub fn us_government() -> Self {
        Self::of("https://login.microsoftonline.us", "https://management.usgovcloudapi.net", ".vault.usgovcloudapi.net")
    }

    /// Azure operated by 21Vianet in China.
    #[must_use]
    pub fn china() -> Self {
        Self::of("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn", ".vault.azure.cn")
    }

    fn of(authority: &str, arm: &str, suffix: &str) -> Self {
        Self {
            authority_host: Url::parse(authority).expect("a constant URL"),
            resource_manager: Url::parse(arm).expect("a constant URL"),
            vault_suffixes: vec![suffix.to_owned()],
        }
    }
}

/// A vault the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfiguredVault {
    /// By name: its host is the name and the cloud's first suffix.
    Name(VaultName),
    /// By address, such as `https://x.vault.azure.net`; its host must be under one of the suffixes.
    Uri(Url),
}

/// Time limits and retries of one call on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireLimits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// One attempt, from sending to the last byte.
    pub attempt: Duration,
    /// One call with all its attempts and waits.
    pub call: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// The most bytes an answer may have, uncompressed.
    pub max_body: usize,
    /// Between two looks at the files of a credential, while tokens are asked for.
    pub credential_look: Duration,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(5),
            call: Duration::from_secs(10),
            retries: 2,
            max_body: 1024 * 1024,
            credential_look: Duration::from_secs(2),
        }
    }
}
