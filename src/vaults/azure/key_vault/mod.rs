//! One vault: an SDK client on the shared transport.
//!
//! What must never happen: another secret's value as the answer (the id of every answer is checked against the
//! question); a listing that ends early and looks whole; a call without an end.

mod answer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::pager::PagerOptions;
use azure_core::http::{ClientMethodOptions, ClientOptions, Context, PageIterator, Response, RetryOptions};
use azure_security_keyvault_secrets::models::{
    ListSecretPropertiesResult, SecretClientGetSecretOptions, SecretClientListSecretPropertiesOptions,
    SecretClientListSecretPropertiesVersionsOptions, SecretProperties,
};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::time::Instant;
use url::Url;

use super::address::VaultAddress;
use super::credential::Tokens;
use super::errors::{self, Service};
use super::paging::Walk;
use super::transport::{BearerWatch, Deadline, Peer, Transport, Wire};
use crate::secret::{Metadata, Secret, SecretName, Version};
use crate::vaults::{Vault, VaultError, VaultErrorKind, VaultInfo};

/// The version of Key Vault's data plane that is spoken. Sovereign clouds may lag behind the public one.
const API_VERSION: &str = "2025-07-01";
/// The most items that Key Vault puts on a page.
const PAGE: i32 = 25;

/// A vault of Azure Key Vault.
pub struct AzureVault {
    first: VaultInfo,
    /// What discovery tells of a vault that was known by its configuration alone. Set once: the vault stays the same.
    discovered: OnceLock<VaultInfo>,
    address: VaultAddress,
    client: SecretClient,
    watch: Arc<Watch>,
    transport: Arc<Transport>,
}

impl AzureVault {
    /// `wants_tokens_for`: the resource, where it is known; else the vault is asked.
    pub(super) fn new(
        info: VaultInfo,
        address: VaultAddress,
        wants_tokens_for: Option<Url>,
        transport: &Arc<Transport>,
        tokens: &Arc<Tokens>,
    ) -> Result<Self, VaultError> {
        let watch = Arc::new(Watch { answered: AtomicBool::new(false), tokens: Arc::clone(tokens) });
        let wire = Wire::new(Arc::clone(transport), Peer::Origin(address.url()));
        let wire = wire.wants_tokens_for(wants_tokens_for).watched(Arc::clone(&watch) as _).budgeted();
        let options = SecretClientOptions {
            api_version: API_VERSION.to_owned(),
            client_options: ClientOptions {
                transport: Some(wire.into_sdk()),
                retry: RetryOptions::none(),
                ..ClientOptions::default()
            },
            verify_challenge_resource: Some(true),
        };
        let credential: Arc<dyn TokenCredential> = Arc::clone(tokens) as _;
        let client = SecretClient::new(address.url().as_str(), credential, Some(options))
            .map_err(|error| errors::classify(Service::KeyVault, &error))?;
        let transport = Arc::clone(transport);
        Ok(Self { first: info, discovered: OnceLock::new(), address, client, watch, transport })
    }

    /// Takes what discovery tells, if the vault was known by its configuration alone. A vault that moves to another
    /// resource group keeps the old description until the next start.
    pub(super) fn describe(&self, info: VaultInfo) {
        if self.first.subscription.is_none() && info.subscription.is_some() {
            // The first description stays: a vault does not change where it is.
            let _already_described = self.discovered.set(info);
        }
    }

    /// One call with its end: within its deadline, its failure understood.
    async fn within<T>(
        &self,
        deadline: Instant,
        call: impl Future<Output = azure_core::Result<T>> + Send,
    ) -> Result<T, VaultError> {
        match tokio::time::timeout_at(deadline, call).await {
            Ok(outcome) => outcome.map_err(|error| errors::classify(Service::KeyVault, &error)),
            Err(_elapsed) => Err(errors::timed_out()),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.transport.limits().call
    }

    async fn get_once(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        let deadline = self.deadline();
        let options = SecretClientGetSecretOptions {
            secret_version: version.map(|version| version.as_str().to_owned()),
            method_options: ClientMethodOptions { context: Context::new().with_value(Deadline(deadline)) },
            ..SecretClientGetSecretOptions::default()
        };
        let response = self.within(deadline, self.client.get_secret(name.as_str(), Some(options))).await?;
        let model = response.into_model().map_err(|error| errors::classify(Service::KeyVault, &error))?;
        answer::secret(&self.address, name, version, model)
    }

    /// The pages of a listing, from its first.
    fn start(&self, listing: &Listing) -> Result<PageStream, VaultError> {
        let (maxresults, method_options) = (Some(PAGE), PagerOptions::default());
        let pager = match listing {
            Listing::Current => {
                let options = SecretClientListSecretPropertiesOptions { maxresults, method_options };
                self.client.list_secret_properties(Some(options))
            }
            Listing::Versions(name) => {
                let options = SecretClientListSecretPropertiesVersionsOptions { maxresults, method_options };
                self.client.list_secret_properties_versions(name.as_str(), Some(options))
            }
        };
        let pager = pager.map_err(|error| errors::classify(Service::KeyVault, &error))?;
        Ok(Box::pin(pager.into_pages()))
    }

    /// The items of all pages, empty pages included; each page has a call's limit of its own.
    fn items(&self, listing: Listing) -> BoxStream<'_, Result<Metadata, VaultError>> {
        let state = Pages { pages: None, walk: Walk::default(), listing, items: 0, over: false };
        stream::try_unfold(state, move |state| self.next_page(state))
            .map_ok(|items| stream::iter(items.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn next_page(&self, mut state: Pages) -> Result<Option<(Vec<Metadata>, Pages)>, VaultError> {
        if state.over {
            // Key Vault may answer a question for the versions of nothing with an empty list.
            return match state.listing {
                Listing::Versions(_) if state.items == 0 => {
                    Err(VaultError::new(VaultErrorKind::NotFound, "the vault holds no such secret"))
                }
                Listing::Versions(_) | Listing::Current => Ok(None),
            };
        }
        let page = match &mut state.pages {
            Some(pages) => self.page(pages).await?,
            None => {
                let first_ever = !self.watch.has_answered();
                let mut pages = self.start(&state.listing)?;
                let mut page = self.page(&mut pages).await;
                if first_ever && page.as_ref().is_err_and(may_be_renewed) {
                    pages = self.start(&state.listing)?;
                    page = self.page(&mut pages).await;
                }
                state.pages = Some(pages);
                page?
            }
        };
        let items: Vec<_> =
            page.value.into_iter().map(|item| self.item(&state.listing, item)).collect::<Result<_, _>>()?;
        state.items += items.len();
        // The SDK follows the link; it is only watched here.
        state.over = state.walk.onward(page.next_link)?.is_none();
        Ok(Some((items, state)))
    }

    async fn page(&self, pages: &mut PageStream) -> Result<ListSecretPropertiesResult, VaultError> {
        let page = self.within(self.deadline(), pages.try_next()).await?;
        let page = page.ok_or_else(|| errors::malformed("the listing ended before its last page"))?;
        page.into_model().map_err(|error| errors::classify(Service::KeyVault, &error))
    }

    fn item(&self, listing: &Listing, item: SecretProperties) -> Result<Metadata, VaultError> {
        let metadata = answer::item(&self.address, item)?;
        match listing {
            Listing::Current => Ok(metadata),
            Listing::Versions(name) if metadata.name == *name && metadata.version.is_some() => Ok(metadata),
            Listing::Versions(_) => {
                Err(errors::malformed("the vault listed something else than this secret's versions"))
            }
        }
    }
}

/// What is listed.
enum Listing {
    Current,
    Versions(SecretName),
}

type PageStream = Pin<Box<PageIterator<Response<ListSecretPropertiesResult>>>>;

struct Pages {
    /// `None` before the first page.
    pages: Option<PageStream>,
    walk: Walk,
    listing: Listing,
    items: usize,
    over: bool,
}

/// A client's first calls spend the SDK's one repetition on the challenge, so that a token refused right after it is not
/// tried anew; the vault does that itself. Of first calls at the same time, the challenge of one can also take the token from
/// another inside the SDK, which fails then as if it had not been signed in, without a code.
fn may_be_renewed(error: &VaultError) -> bool {
    matches!(error.kind(), VaultErrorKind::Unauthenticated { code } if code.as_deref() != Some("AKV10032"))
}

#[async_trait]
impl Vault for AzureVault {
    fn info(&self) -> &VaultInfo {
        self.discovered.get().unwrap_or(&self.first)
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        let first_ever = !self.watch.has_answered();
        match self.get_once(name, version).await {
            Err(error) if first_ever && may_be_renewed(&error) => self.get_once(name, version).await,
            outcome => outcome,
        }
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.items(Listing::Current)
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.items(Listing::Versions(name.clone()))
    }
}

impl fmt::Debug for AzureVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureVault").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the vault says of a token goes to the tokens.
#[derive(Debug)]
struct Watch {
    /// The vault was sent one, and has answered.
    answered: AtomicBool,
    tokens: Arc<Tokens>,
}

impl Watch {
    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }
}

impl BearerWatch for Watch {
    fn accepted(&self) {
        self.answered.store(true, Ordering::Release);
    }

    fn refused(&self, bearer: &str, code: Option<&str>) {
        self.answered.store(true, Ordering::Release);
        self.tokens.refused(bearer, code);
    }
}
