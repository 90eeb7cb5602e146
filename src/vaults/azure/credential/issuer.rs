use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret};
use azure_core::http::{ClientOptions, RetryOptions};
use url::Url;

use super::{azure_cli, certificate, client_secret, federated, managed_identity};
use crate::secret::SecretValue;
use crate::vaults::azure::settings::{Credential, Identity};
use crate::vaults::azure::transport::{Peer, Transport, Wire};
use crate::vaults::azure::{SetupError, errors};
use crate::vaults::{VaultError, VaultErrorKind};

/// Makes tokens. Nothing is cached: each call is a sign-in.
#[async_trait]
pub(in crate::vaults::azure) trait Issuer: fmt::Debug + Send + Sync {
    /// A new token for one scope.
    async fn issue(&self, scope: &str) -> Result<AccessToken, VaultError>;
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
            Arc::new(client_secret::ClientSecret::new(entra(tenant, client)?, secret.clone()))
        }
        Identity::Certificate { tenant, client, file, password } => {
            Arc::new(certificate::Certificate::new(entra(tenant, client)?, file.clone(), password.clone()))
        }
        Identity::FederatedToken { tenant, client, file } => {
            Arc::new(federated::FederatedToken::new(entra(tenant, client)?, file.clone()))
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
            transport: Some(wire.judged(errors::entra_refusal).into_sdk()),
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

/// The credential itself; files are read each time, and one newline at their end is not part of them.
pub(super) async fn read(credential: &Credential, what: &'static str) -> Result<Secret, VaultError> {
    let unusable = |path: &Path, reason: &str| unusable_file(what, path, reason);
    match credential {
        Credential::Inline(value) => text(value).ok_or_else(|| {
            VaultError::new(VaultErrorKind::Unauthenticated { code: None }, format!("the {what} is not UTF-8 text"))
        }),
        Credential::File(path) => {
            let mut bytes = read_file(path, what).await?;
            if bytes.ends_with(b"\n") {
                bytes.pop();
                if bytes.ends_with(b"\r") {
                    bytes.pop();
                }
            }
            if bytes.is_empty() {
                return Err(unusable(path, "is empty"));
            }
            text(&SecretValue::new(bytes)).ok_or_else(|| unusable(path, "is not UTF-8 text"))
        }
    }
}

/// The bytes of a credential's file, read now.
pub(super) async fn read_file(path: &Path, what: &'static str) -> Result<Vec<u8>, VaultError> {
    tokio::fs::read(path)
        .await
        .map_err(|error| unusable_file(what, path, &format!("cannot be read: {}", error.kind())).with_source(error))
}

/// A sign-in that failed for what is, or is not, in a file.
pub(super) fn unusable_file(what: &str, path: &Path, reason: &str) -> VaultError {
    VaultError::new(
        VaultErrorKind::Unauthenticated { code: None },
        format!("the {what} file {} {reason}", path.display()),
    )
}

/// The SDK's own type; its bytes are not wiped when dropped.
fn text(value: &SecretValue) -> Option<Secret> {
    std::str::from_utf8(value.expose()).ok().map(|text| Secret::new(text.to_owned()))
}
