//! Azure Resource Manager: subscriptions, and the vaults of each.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::{CONTENT_TYPE, Headers};
use azure_core::http::policies::auth::{Authorizer, BearerTokenAuthorizationPolicy, OnChallenge};
use azure_core::http::request::Request;
use azure_core::http::{ClientMethodOptions, ClientOptions, Context, Method, Pipeline, RetryOptions};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::Described;
use super::wire::{SubscriptionItem, SubscriptionPage, VaultItem, VaultPage};
use crate::vaults::azure::credential::{Tokens, scope};
use crate::vaults::azure::errors::{self, Service, malformed};
use crate::vaults::azure::paging::Walk;
use crate::vaults::azure::transport::{BearerWatch, Deadline, Peer, Transport, Wire};
use crate::vaults::{VaultError, VaultErrorKind};

const SUBSCRIPTIONS: &str = "/subscriptions?api-version=2022-12-01";
/// Every earlier version of Key Vault's control plane retires on 2027-02-27.
const VAULTS_VERSION: &str = "2026-02-01";
/// Subscriptions listed at once; the service refills 25 reads per second and principal.
const AT_ONCE: usize = 8;
/// Pages of a thousand rows are larger than a vault's answers.
const BODY_FACTOR: usize = 8;

/// A resource manager and the way to it.
#[derive(Debug)]
pub(in crate::vaults::azure) struct Arm {
    base: Url,
    pipeline: Pipeline,
    transport: Arc<Transport>,
}

impl Arm {
    pub(in crate::vaults::azure) fn new(base: &Url, transport: &Arc<Transport>, tokens: &Arc<Tokens>) -> Self {
        let scope = scope(base);
        let credential: Arc<dyn TokenCredential> = Arc::clone(tokens) as _;
        let auth = BearerTokenAuthorizationPolicy::new(credential, [scope.clone()])
            .with_on_challenge(Arc::new(Again { scope }));
        let wire = Wire::new(Arc::clone(transport), Peer::Origin(base.clone()))
            .watched(Arc::new(Watch(Arc::clone(tokens))))
            .max_body(transport.limits().max_body.saturating_mul(BODY_FACTOR));
        let options =
            ClientOptions { transport: Some(wire.into_sdk()), retry: RetryOptions::none(), ..ClientOptions::default() };
        let (name, version) = (Some(env!("CARGO_PKG_NAME")), Some(env!("CARGO_PKG_VERSION")));
        let pipeline = Pipeline::new(name, version, options, Vec::new(), vec![Arc::new(auth)], None);
        Self { base: base.clone(), pipeline, transport: Arc::clone(transport) }
    }

    /// A URL on this resource manager; a link from an answer is taken verbatim, and its host is checked when it is used.
    fn url(&self, path_or_link: &str) -> Result<Url, VaultError> {
        self.base.join(path_or_link).map_err(|_| malformed("the resource manager gave a link that is no URL"))
    }

    async fn get<T: DeserializeOwned>(&self, path_or_link: &str) -> Result<T, VaultError> {
        let request = Request::new(self.url(path_or_link)?, Method::Get);
        Ok(self.send(request).await?.0)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(T, Headers), VaultError> {
        let mut request = Request::new(self.url(path)?, Method::Post);
        request.insert_header(CONTENT_TYPE, "application/json");
        request.set_body(body.to_string());
        self.send(request).await
    }

    async fn send<T: DeserializeOwned>(&self, mut request: Request) -> Result<(T, Headers), VaultError> {
        let deadline = Instant::now() + self.transport.limits().call;
        let context = Context::new().with_value(Deadline(deadline));
        let sent = tokio::time::timeout_at(deadline, self.pipeline.send(&context, &mut request, None)).await;
        let answer = match sent {
            Ok(answer) => answer.map_err(|error| errors::classify(Service::ResourceManager, &error))?,
            Err(_elapsed) => return Err(errors::timed_out()),
        };
        let (_, headers, body) = answer.deconstruct();
        let parsed =
            serde_json::from_slice(&body).map_err(|_| malformed("the resource manager's answer is not understood"))?;
        Ok((parsed, headers))
    }
}

/// After a 401: the token has been renewed meanwhile, if that could help; once more with it.
#[derive(Debug)]
struct Again {
    scope: String,
}

#[async_trait]
impl OnChallenge for Again {
    async fn on_challenge(
        &self,
        context: &Context,
        request: &mut Request,
        authorizer: &dyn Authorizer,
        _headers: &Headers,
    ) -> azure_core::Result<()> {
        let method_options = ClientMethodOptions { context: context.to_owned() };
        let options = azure_core::credentials::TokenRequestOptions { method_options };
        authorizer.authorize(request, &[&self.scope], options).await
    }
}

#[derive(Debug)]
struct Watch(Arc<Tokens>);

impl BearerWatch for Watch {
    fn accepted(&self) {}

    fn refused(&self, bearer: &str, code: Option<&str>) {
        self.0.refused(bearer, code);
    }
}

/// What the subscriptions hold.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) vaults: Vec<Described>,
    pub(super) faults: Vec<VaultError>,
    pub(super) subscriptions: usize,
    pub(super) tenant: Option<String>,
}

/// Lists every subscription, or `only` these, side by side. A subscription that fails takes nothing from the others.
pub(super) async fn vaults(arm: &Arm, only: &[String]) -> Listed {
    let mut listed = Listed::default();
    let mut ids = only.to_vec();
    if only.is_empty() {
        let mut found = Vec::new();
        if let Err(fault) = subscriptions(arm, &mut found).await {
            listed.faults.push(fault);
        }
        listed.tenant = one_tenant(&found);
        ids = found.into_iter().map(|subscription| subscription.subscription_id).collect();
    }
    listed.subscriptions = ids.len();
    let mut parts = futures::stream::iter(ids).map(|id| of_subscription(arm, id)).buffer_unordered(AT_ONCE);
    while let Some((vaults, faults)) = parts.next().await {
        listed.vaults.extend(vaults);
        listed.faults.extend(faults);
    }
    listed
}

async fn subscriptions(arm: &Arm, found: &mut Vec<SubscriptionItem>) -> Result<(), VaultError> {
    let mut walk = Walk::default();
    let mut next = SUBSCRIPTIONS.to_owned();
    loop {
        let page: SubscriptionPage = arm.get(&next).await?;
        found.extend(page.value.into_iter().filter(|item| item.state.as_deref() != Some("Deleted")));
        match walk.onward(page.next_link)? {
            None => return Ok(()),
            Some(link) => next = link,
        }
    }
}

/// The tenant that all of them are in. With delegated subscriptions of other tenants among them, none can be told.
fn one_tenant(subscriptions: &[SubscriptionItem]) -> Option<String> {
    let mut tenants = subscriptions.iter().map(|subscription| subscription.tenant_id.as_deref());
    let first = tenants.next()??;
    tenants.all(|tenant| tenant == Some(first)).then(|| first.to_owned())
}

async fn of_subscription(arm: &Arm, id: String) -> (Vec<Described>, Vec<VaultError>) {
    let (mut vaults, mut faults) = (Vec::new(), Vec::new());
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let detail = format!("{id:?} is no subscription id");
        return (vaults, vec![VaultError::new(VaultErrorKind::Malformed, detail)]);
    }
    if let Err(fault) = walk(arm, &id, &mut vaults, &mut faults).await {
        let detail = format!("subscription {id}: {fault}");
        faults.push(VaultError::new(fault.kind().clone(), detail).with_source(fault));
    }
    (vaults, faults)
}

async fn walk(
    arm: &Arm,
    id: &str,
    vaults: &mut Vec<Described>,
    faults: &mut Vec<VaultError>,
) -> Result<(), VaultError> {
    let mut walk = Walk::default();
    let mut next = format!("/subscriptions/{id}/providers/Microsoft.KeyVault/vaults?api-version={VAULTS_VERSION}");
    loop {
        let page: VaultPage = arm.get(&next).await?;
        for item in page.value {
            match described(item) {
                Ok(vault) => vaults.push(vault),
                Err(fault) => faults.push(fault),
            }
        }
        match walk.onward(page.next_link)? {
            None => return Ok(()),
            Some(link) => next = link,
        }
    }
}

fn described(item: VaultItem) -> Result<Described, VaultError> {
    let properties = item.properties;
    let tenant = properties.as_ref().and_then(|properties| properties.tenant_id.clone());
    let uri = properties.and_then(|properties| properties.vault_uri).filter(|uri| !uri.is_empty());
    let uri = uri.ok_or_else(|| malformed("the resource manager told of a vault without its address"))?;
    Ok(Described { id: item.id, uri, tenant, location: item.location })
}
