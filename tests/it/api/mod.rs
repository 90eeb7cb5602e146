//! The HTTP API: through the router where a route is meant, over real sockets where the way in is.

mod at_once;
mod audit;
mod aws;
mod catalog;
mod guard;
mod heads;
mod health;
mod listeners;
mod metrics;
mod openapi;
mod problems;
mod resolve;
pub mod tls;
mod token;
mod values;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use tokio::sync::Notify;
use tower::ServiceExt;

use sidekey::access::audit::Audit;
use sidekey::api::{AwsProfile, State, router};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::cache::CacheOptions;
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretName, SourceName, Version};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Source, Vault, VaultError, VaultErrorKind, VaultInfo};

/// A vault whose failures are told beforehand, over one in memory.
#[derive(Debug)]
struct Scripted {
    shelf: MemoryVault,
    get_fails: Mutex<HashMap<SecretName, VaultErrorKind>>,
    list_fails: Mutex<Option<VaultErrorKind>>,
    /// A get of that name tells `reached`, then waits for `released`.
    gate: Option<(SecretName, Arc<Notify>, Arc<Notify>)>,
}

#[async_trait]
impl Vault for Scripted {
    fn info(&self) -> &VaultInfo {
        self.shelf.info()
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        if let Some((gated, reached, released)) = &self.gate
            && gated == name
        {
            reached.notify_one();
            released.notified().await;
        }
        let fails = self.get_fails.lock().unwrap().get(name).cloned();
        match fails {
            Some(kind) => Err(VaultError::new(kind, "as the test wants it")),
            None => self.shelf.get(name, version).await,
        }
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        match self.list_fails.lock().unwrap().clone() {
            Some(kind) => stream::iter([Err(VaultError::new(kind, "as the test wants it"))]).boxed(),
            None => self.shelf.list(),
        }
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.shelf.versions(name)
    }
}

/// Vaults, and what stands on them.
struct House {
    vaults: Vec<Arc<Scripted>>,
    metrics: Metrics,
}

impl House {
    fn new(vaults: &[&str]) -> Self {
        let vaults = vaults.iter().map(|name| {
            let shelf = MemoryVault::new(VaultInfo::new("test".parse().unwrap(), name.parse().unwrap()));
            Arc::new(Scripted { shelf, get_fails: Mutex::default(), list_fails: Mutex::default(), gate: None })
        });
        Self { vaults: vaults.collect(), metrics: Metrics::default() }
    }

    fn vault(&self, name: &str) -> &Scripted {
        self.vaults.iter().find(|vault| vault.info().name.as_str() == name).unwrap()
    }

    fn set(&self, vault: &str, name: &str, value: impl Into<Vec<u8>>) -> Metadata {
        self.vault(vault).shelf.set(&name.parse().unwrap(), value, Attributes::default())
    }

    fn get_fails(&self, vault: &str, name: &str, kind: VaultErrorKind) {
        self.vault(vault).get_fails.lock().unwrap().insert(name.parse().unwrap(), kind);
    }

    fn list_fails(&self, vault: &str, kind: VaultErrorKind) {
        *self.vault(vault).list_fails.lock().unwrap() = Some(kind);
    }

    /// A read of that name waits; the first tells that it began, the second lets it go on.
    fn gate(&mut self, name: &str) -> (Arc<Notify>, Arc<Notify>) {
        let (reached, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let vault = Arc::get_mut(&mut self.vaults[0]).unwrap();
        vault.gate = Some((name.parse().unwrap(), Arc::clone(&reached), Arc::clone(&released)));
        (reached, released)
    }

    fn catalog(&self) -> Catalog {
        let name: SourceName = "test".parse().unwrap();
        let vaults = self.vaults.iter().map(|vault| Arc::clone(vault) as Arc<dyn Vault>).collect();
        let source: Arc<dyn Source> = Arc::new(MemorySource::new(name, vaults));
        Catalog::counted(vec![source], CatalogOptions::default(), self.metrics.clone())
    }

    /// The routes over a catalog that is not discovered yet.
    fn closed(&self) -> Router {
        self.over(self.catalog())
    }

    /// The routes, with everything discovered and listed.
    async fn open(&self) -> Router {
        let catalog = self.catalog();
        catalog.refresh(None).await;
        self.over(catalog)
    }

    fn over(&self, catalog: Catalog) -> Router {
        router(self.state(catalog, Audit::default()))
    }

    /// What the routes answer from, with everything discovered and listed.
    async fn audited(&self, audit: Audit) -> State {
        let catalog = self.catalog();
        catalog.refresh(None).await;
        self.state(catalog, audit)
    }

    fn state(&self, catalog: Catalog, audit: Audit) -> State {
        // Without jitter, so that a test can tell what is left of a life.
        let cache = CacheOptions { jitter_percent: 0, ..CacheOptions::default() };
        let options = BrokerOptions { cache, ..BrokerOptions::default() };
        let broker = Broker::new(catalog, options, self.metrics.clone());
        let profile = AwsProfile {
            name: "keys".to_owned(),
            access_key_id: "secret://pay/a".parse().unwrap(),
            secret_access_key: "secret://pay/a".parse().unwrap(),
            session_token: None,
            lifetime: AwsProfile::LIFETIME,
        };
        State::audited(broker, self.metrics.clone(), audit).with_aws([profile])
    }
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    /// Asserts that it is a problem of that status and code, and gives it.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> Value {
        let document = self.json();
        assert_eq!((self.status.as_u16(), document["code"].as_str()), (status, Some(code)), "{document}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:sidekey:problem:{code}"));
        assert!(self.header("sidekey-request-id").is_some_and(|id| !id.is_empty()));
        assert_eq!(self.header("retry-after").is_some(), status == 503 || code == "vault-timeout", "{document}");
        document
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
}

async fn get(router: &Router, path: &str) -> Answer {
    ask(router, "GET", path, &[]).await
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

async fn post(router: &Router, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", "application/json").body(body.into()).unwrap();
    send(router, request).await
}
