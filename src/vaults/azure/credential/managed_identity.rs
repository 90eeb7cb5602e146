//! The machine's own identity: IMDS on virtual machines, App Service's endpoint where its variables are set.
//!
//! App Service (and what is built on it) sets `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`. They are the platform's, not
//! settings: the SDK reads them from the process itself for each sign-in, and they are stronger than a configured IMDS
//! address. Other platforms' variables (Arc, Service Fabric, Azure ML, Cloud Shell) are not supported by the SDK, which
//! says so. Neither endpoint is ever looked for at a proxy.
//!
//! Off Azure nothing answers at IMDS's address, and the SDK would try for more than a minute; the limit of a call ends
//! it, and our transport's failures are not retried by the SDK.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RetryOptions};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use url::Url;

use super::issuer::{Issued, Issuer, refused};
use crate::vaults::VaultError;
use crate::vaults::azure::errors;
use crate::vaults::azure::transport::{Peer, Transport, Wire};

#[derive(Debug)]
pub(super) struct ManagedIdentity {
    client: Option<String>,
    endpoint: Option<Url>,
    transport: Arc<Transport>,
}

impl ManagedIdentity {
    pub(super) fn new(client: Option<String>, endpoint: Option<Url>, transport: Arc<Transport>) -> Self {
        Self { client, endpoint, transport }
    }
}

#[async_trait]
impl Issuer for ManagedIdentity {
    async fn issue(&self, scope: &str) -> Result<Issued, VaultError> {
        let peer = Peer::Platform { reroute: self.endpoint.clone() };
        let wire = Wire::new(Arc::clone(&self.transport), peer).judged(errors::identity_service_verdict);
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: self.client.clone().map(UserAssignedId::ClientId),
            client_options: ClientOptions {
                transport: Some(wire.into_sdk()),
                retry: RetryOptions::none(),
                ..ClientOptions::default()
            },
        };
        let credential = ManagedIdentityCredential::new(Some(options)).map_err(|error| refused(&error))?;
        let token = credential.get_token(&[scope], None).await.map_err(|error| refused(&error))?;
        Ok(Issued::new(&token, 0))
    }
}
