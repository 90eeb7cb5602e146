//! Workload identity: the platform writes a token file and rotates it; Entra takes that token as proof.

use std::path::PathBuf;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::ClientMethodOptions;
use azure_identity::{ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions};

use super::issuer::{Entra, Issuer, read, refused};
use crate::vaults::VaultError;
use crate::vaults::azure::settings::Credential;

#[derive(Debug)]
pub(super) struct FederatedToken {
    entra: Entra,
    file: Credential,
}

impl FederatedToken {
    pub(super) fn new(entra: Entra, file: PathBuf) -> Self {
        Self { entra, file: Credential::File(file) }
    }
}

#[async_trait]
impl Issuer for FederatedToken {
    async fn issue(&self, scope: &str) -> Result<AccessToken, VaultError> {
        let assertion = read(&self.file, "federated token").await?;
        exchange(&self.entra, assertion.secret().trim().to_owned(), scope).await
    }
}

/// Gives an assertion to Entra and takes a token for it.
pub(super) async fn exchange(entra: &Entra, assertion: String, scope: &str) -> Result<AccessToken, VaultError> {
    let options = ClientAssertionCredentialOptions { client_options: entra.options() };
    let credential =
        ClientAssertionCredential::new(entra.tenant.clone(), entra.client.clone(), Assertion(assertion), Some(options))
            .map_err(|error| refused(&error))?;
    credential.get_token(&[scope], None).await.map_err(|error| refused(&error))
}

/// An assertion for one exchange.
struct Assertion(String);

impl std::fmt::Debug for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Assertion")
    }
}

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.clone())
    }
}
