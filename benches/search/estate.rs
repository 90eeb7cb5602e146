//! Vaults that make their metadata up while they are listed, so that what the process holds is the catalog's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::secret::{Metadata, Secret, SecretName, SourceName, Version};
use sidekey::vaults::memory::MemorySource;
use sidekey::vaults::{Vault, VaultError, VaultErrorKind, VaultInfo};
use time::OffsetDateTime;

/// Vaults in all.
pub(super) const VAULTS: usize = 500;

const SERVICES: [&str; 10] =
    ["orders", "billing", "search", "mail", "users", "stock", "prices", "audit", "images", "reports"];
const SYSTEMS: [&str; 40] = [
    "redis", "postgres", "kafka", "s3", "smtp", "stripe", "oauth", "jwt", "ldap", "sentry", "slack", "github",
    "grafana", "vault", "mongo", "mysql", "rabbit", "nats", "consul", "etcd", "sftp", "twilio", "paypal", "adyen",
    "okta", "azure", "gcp", "datadog", "elastic", "kibana", "jira", "npm", "docker", "helm", "argo", "tls", "ssh",
    "gpg", "vpn", "dns",
];
const KINDS: [&str; 8] = ["password", "user", "token", "key", "url", "cert", "salt", "secret"];

/// The number of a vault, how many secrets it has, and when the first of them moved.
#[derive(Debug)]
pub(super) struct Made {
    info: VaultInfo,
    number: usize,
    secrets: usize,
    now: OffsetDateTime,
    pub(super) moved: AtomicI64,
}

impl Made {
    pub(super) fn new(number: usize, secrets: usize) -> Arc<Self> {
        let name = format!("vault-{number:03}").parse().expect("a name");
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("whole seconds");
        Arc::new(Self { info: VaultInfo::new(source(), name), number, secrets, now, moved: AtomicI64::new(0) })
    }

    pub(super) fn name(&self, secret: usize) -> String {
        // Distinct strides, so that every vault has another mixture.
        let n = self.number * self.secrets + secret;
        let (service, system, kind) = (SERVICES[n * 7 % 10], SYSTEMS[n * 11 / 3 % 40], KINDS[n * 13 / 5 % 8]);
        format!("{service}-{system}-{kind}-{}-{secret}", self.number % 20)
    }

    fn row(&self, secret: usize) -> Metadata {
        let n = self.number * self.secrets + secret;
        let day = |n: usize| Duration::from_secs(86_400 * (n as u64 % 400));
        let moved = if secret == 0 { self.moved.load(Ordering::Relaxed) } else { 0 };
        Metadata {
            expires: secret.is_multiple_of(3).then(|| self.now + day(n)),
            created: Some(self.now - day(n)),
            updated: Some(self.now - day(n) + time::Duration::seconds(moved)),
            content_type: secret.is_multiple_of(4).then(|| "text/plain".to_owned()),
            tags: [("team".to_owned(), format!("team-{}", n % 25)), ("env".to_owned(), "prod".to_owned())].into(),
            ..Metadata::new(self.name(secret).parse().expect("a name"))
        }
    }
}

#[async_trait::async_trait]
impl Vault for Made {
    fn info(&self) -> &VaultInfo {
        &self.info
    }

    async fn get(&self, _: &SecretName, _: Option<&Version>) -> Result<Secret, VaultError> {
        Err(VaultError::new(VaultErrorKind::NotFound, "names alone are made"))
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        stream::iter((0..self.secrets).map(|secret| Ok(self.row(secret)))).boxed()
    }

    fn versions(&self, _: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        stream::empty().boxed()
    }
}

/// A catalog that has listed them.
pub(super) async fn listed(vaults: Vec<Arc<Made>>) -> Catalog {
    let vaults = vaults.into_iter().map(|vault| vault as Arc<dyn Vault>).collect();
    let catalog = Catalog::new(vec![Arc::new(MemorySource::new(source(), vaults))], CatalogOptions::default());
    catalog.refresh(None).await;
    catalog
}

/// All vaults, with so many names between them.
pub(super) fn vaults(names: usize) -> Vec<Arc<Made>> {
    (0..VAULTS).map(|number| Made::new(number, names / VAULTS)).collect()
}

fn source() -> SourceName {
    "bench".parse().expect("a name")
}
