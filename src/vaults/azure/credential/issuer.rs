use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::AccessToken;
use azure_core::http::{ClientOptions, RetryOptions};
use time::OffsetDateTime;
use url::Url;

use super::proof::{Form, Part};
use super::rotation::Rotating;
use super::{azure_cli, certificate, client_secret, federated, managed_identity};
use crate::vaults::VaultError;
use crate::vaults::azure::bearer::Bearer;
use crate::vaults::azure::settings::{Credential, Identity};
use crate::vaults::azure::transport::{Peer, Transport, Wire};
use crate::vaults::azure::{SetupError, errors};

/// Makes tokens. Nothing is cached: each call is a sign-in.
#[async_trait]
pub(in crate::vaults::azure) trait Issuer: fmt::Debug + Send + Sync {
    /// A new token for one scope, by whatever means work.
    async fn issue(&self, scope: &str) -> Result<Issued, VaultError>;

    /// Whether what it signs in with may change while it is used.
    fn rotates(&self) -> bool {
        false
    }

    /// Takes note of such a change.
    async fn look(&self) {}

    /// The edition of what would be signed in with now; `None` while that is known not to work.
    fn untried(&self) -> Option<u64> {
        None
    }

    /// As [`Issuer::issue`], with that edition and no other.
    async fn issue_newest(&self, scope: &str) -> Result<Issued, VaultError> {
        self.issue(scope).await
    }
}

/// A token as it came.
#[derive(Debug, Clone)]
pub(in crate::vaults::azure) struct Issued {
    pub(super) token: Bearer,
    /// How long it was good when it came.
    pub(super) life: Duration,
    /// Of what it was made, where that changes.
    pub(super) edition: u64,
}

/// No service issues tokens for longer, but for what Entra keeps revocable (28 h).
const LONGEST_LIFE: Duration = Duration::from_secs(28 * 3600);
/// What is made of a token that comes expired: nobody issues such, so this machine's clock is ahead. The service that it
/// is for will tell.
const LIFE_UNKNOWN: Duration = Duration::from_secs(60);

impl Issued {
    /// To be called as soon as the token is there: the SDK has made a wall clock's time of the `expires_in` that came with
    /// it, and only at that moment does the difference give it back whatever the wall clock shows. From then on the life
    /// is counted on a clock that does not jump.
    pub(super) fn new(token: &AccessToken, edition: u64) -> Self {
        let life = Duration::try_from(token.expires_on - OffsetDateTime::now_utc()).unwrap_or_default();
        let life = if life.is_zero() { LIFE_UNKNOWN } else { life.min(LONGEST_LIFE) };
        Self { token: Bearer::of(token), life, edition }
    }
}

/// The issuer of an identity.
pub(in crate::vaults::azure) fn issuer(
    identity: &Identity,
    authority: &Url,
    transport: &Arc<Transport>,
) -> Result<Arc<dyn Issuer>, SetupError> {
    let entra = |tenant: &str, client: &str| Entra::new(tenant, client, authority, transport);
    Ok(match identity {
        Identity::ClientSecret { tenant, client, secret } => {
            let part = Part { what: "client secret", from: secret.clone(), form: Form::Line };
            Arc::new(Rotating::new(client_secret::ClientSecret(entra(tenant, client)?), part, None))
        }
        Identity::Certificate { tenant, client, file, password } => {
            let part = Part { what: "certificate", from: Credential::File(file.clone()), form: Form::Bytes };
            let password = password.clone();
            let password = password.map(|from| Part { what: "certificate's password", from, form: Form::Line });
            Arc::new(Rotating::new(certificate::Certificate(entra(tenant, client)?), part, password))
        }
        Identity::FederatedToken { tenant, client, file } => {
            let part = Part { what: "federated token", from: Credential::File(file.clone()), form: Form::Line };
            Arc::new(Rotating::new(federated::FederatedToken(entra(tenant, client)?), part, None))
        }
        Identity::ManagedIdentity { client, endpoint } => {
            Arc::new(managed_identity::ManagedIdentity::new(client.clone(), endpoint.clone(), Arc::clone(transport)))
        }
        Identity::AzureCli { tenant } => {
            if let Some(tenant) = tenant {
                check("tenant_id", tenant)?;
            }
            Arc::new(azure_cli::AzureCli::new(tenant.clone(), None))
        }
    })
}

/// An application in a tenant, and the way to Entra.
#[derive(Debug, Clone)]
pub(super) struct Entra {
    pub(super) tenant: String,
    pub(super) client: String,
    pub(super) authority: Url,
    transport: Arc<Transport>,
}

impl Entra {
    fn new(tenant: &str, client: &str, authority: &Url, transport: &Arc<Transport>) -> Result<Self, SetupError> {
        check("tenant_id", tenant)?;
        check("client_id", client)?;
        Ok(Self {
            tenant: tenant.to_owned(),
            client: client.to_owned(),
            authority: authority.clone(),
            transport: Arc::clone(transport),
        })
    }

    /// Where tokens are asked for; also the audience of an assertion.
    pub(super) fn token_endpoint(&self) -> String {
        let origin = self.authority.origin().ascii_serialization();
        format!("{origin}/{}/oauth2/v2.0/token", self.tenant)
    }

    /// A pipeline that talks to the authority alone and keeps what its refusals say.
    pub(super) fn options(&self) -> ClientOptions {
        let wire = Wire::new(Arc::clone(&self.transport), Peer::Origin(self.authority.clone()));
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority.origin().ascii_serialization();
        ClientOptions {
            transport: Some(wire.judged(errors::entra_verdict).into_sdk()),
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(CloudConfiguration::from(cloud))),
            ..ClientOptions::default()
        }
    }
}

/// The characters that the SDK takes, told beforehand with the key's name.
fn check(key: &'static str, id: &str) -> Result<(), SetupError> {
    if id.is_empty() {
        return Err(SetupError::Identity { key, reason: "is empty" });
    }
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
        return Err(SetupError::Identity { key, reason: "may hold letters, digits, '.' and '-' only" });
    }
    Ok(())
}

/// What the SDK's credentials said; an error of ours that went through them comes back as it was.
pub(super) fn refused(error: &azure_core::Error) -> VaultError {
    errors::classify(errors::Service::ResourceManager, error)
}
