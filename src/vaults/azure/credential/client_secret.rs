//! A service principal with a client secret.

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use super::issuer::{Entra, refused};
use super::proof::Proof;
use super::rotation::Exchange;
use crate::vaults::VaultError;

#[derive(Debug)]
pub(super) struct ClientSecret(pub(super) Entra);

#[async_trait]
impl Exchange for ClientSecret {
    async fn exchange(&self, proof: &Proof, scope: &str) -> Result<AccessToken, VaultError> {
        let Self(entra) = self;
        // The SDK's own type does not wipe its bytes; the process's allocator does.
        let secret = Secret::new(proof.line(0).to_string());
        let options = ClientSecretCredentialOptions { client_options: entra.options() };
        let credential = ClientSecretCredential::new(&entra.tenant, entra.client.clone(), secret, Some(options))
            .map_err(|error| refused(&error))?;
        credential.get_token(&[scope], None).await.map_err(|error| refused(&error))
    }
}
