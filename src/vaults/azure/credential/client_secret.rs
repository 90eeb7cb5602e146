//! A service principal with a client secret.

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use super::issuer::{Entra, Issuer, read, refused};
use crate::vaults::VaultError;
use crate::vaults::azure::settings::Credential;

#[derive(Debug)]
pub(super) struct ClientSecret {
    entra: Entra,
    secret: Credential,
}

impl ClientSecret {
    pub(super) fn new(entra: Entra, secret: Credential) -> Self {
        Self { entra, secret }
    }
}

#[async_trait]
impl Issuer for ClientSecret {
    async fn issue(&self, scope: &str) -> Result<AccessToken, VaultError> {
        let secret = read(&self.secret, "client secret").await?;
        let options = ClientSecretCredentialOptions { client_options: self.entra.options() };
        let credential =
            ClientSecretCredential::new(&self.entra.tenant, self.entra.client.clone(), secret, Some(options))
                .map_err(|error| refused(&error))?;
        credential.get_token(&[scope], None).await.map_err(|error| refused(&error))
    }
}
