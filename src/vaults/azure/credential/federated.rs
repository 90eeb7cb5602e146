//! Workload identity: the platform writes a token file and rotates it; Entra takes that token as proof.

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::ClientMethodOptions;
use azure_identity::{ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions};

use super::issuer::{Entra, refused};
use super::proof::Proof;
use super::rotation::Exchange;
use crate::vaults::VaultError;

#[derive(Debug)]
pub(super) struct FederatedToken(pub(super) Entra);

#[async_trait]
impl Exchange for FederatedToken {
    async fn exchange(&self, proof: &Proof, scope: &str) -> Result<AccessToken, VaultError> {
        exchange(&self.0, proof.line(0).trim().to_owned(), scope).await
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
