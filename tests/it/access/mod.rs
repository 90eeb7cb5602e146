//! Who may read what: callers as sockets and tokens tell them, grants, and all that is filtered by them.

mod callers;
mod certificates;
mod forbidden;
mod property;
mod rotation;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use sidekey::access::{Access, AccessSettings, Caller, Client, Peer};
use sidekey::api::{Api, Guard, ServeOptions, State, UnixOptions, bind_tcp, bind_unix, router, serve};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretName, Version};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Denial, Source, Vault, VaultError, VaultErrorKind, VaultInfo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A vault that knows who was asked of it.
#[derive(Debug)]
struct Shelf {
    inner: MemoryVault,
    /// It may be read and not listed.
    unlisted: AtomicBool,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

#[async_trait]
impl Vault for Shelf {
    fn info(&self) -> &VaultInfo {
        self.inner.info()
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        self.asked.lock().unwrap().push((self.info().id().to_string(), name.to_string()));
        self.inner.get(name, version).await
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        if self.unlisted.load(Ordering::Relaxed) {
            let denied = VaultError::new(VaultErrorKind::Denied(Denial::Rbac), "as the test wants it");
            return stream::iter([Err(denied)]).boxed();
        }
        self.inner.list()
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.asked.lock().unwrap().push((self.info().id().to_string(), name.to_string()));
        self.inner.versions(name)
    }
}

/// In an estate it stands for a whole source.
const SHORT: &str = "short:hidden";

/// A source that sees a vault which it never asks, `hidden`, and not all that there is.
#[derive(Debug)]
struct Short(sidekey::secret::SourceName);

#[async_trait]
impl Source for Short {
    fn name(&self) -> &sidekey::secret::SourceName {
        &self.0
    }

    async fn discover(&self) -> sidekey::vaults::Discovery {
        let info = VaultInfo::new(self.0.clone(), "hidden".parse().unwrap());
        let reason = sidekey::vaults::SkipReason::ForeignTenant { tenant: "other".to_owned() };
        sidekey::vaults::Discovery {
            vaults: Vec::new(),
            skipped: vec![sidekey::vaults::Skipped { info, reason }],
            faults: vec![VaultError::new(VaultErrorKind::TimedOut, "as the test wants it")],
        }
    }

    fn recall(&self, _: &VaultInfo) -> Option<Arc<dyn Vault>> {
        None
    }
}

/// Vaults of several sources, discovered and listed, and a broker over them.
struct Estate {
    shelves: Vec<Arc<Shelf>>,
    catalog: Catalog,
    broker: Broker,
    metrics: Metrics,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Estate {
    /// Of `source:vault`, each with its secrets; a vault with a `!` behind it cannot be listed. The value of each is
    /// `source:vault/name`.
    async fn of(vaults: &[(&str, &[&str])]) -> Self {
        Self::with(vaults, BrokerOptions::default()).await
    }

    async fn with(vaults: &[(&str, &[&str])], options: BrokerOptions) -> Self {
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let mut by_source: BTreeMap<String, Vec<Arc<dyn Vault>>> = BTreeMap::new();
        let mut shelves = Vec::new();
        for (id, names) in vaults {
            let (source, vault) = id.trim_end_matches('!').split_once(':').unwrap();
            let inner = MemoryVault::new(VaultInfo::new(source.parse().unwrap(), vault.parse().unwrap()));
            let shelf = Arc::new(Shelf { inner, unlisted: id.ends_with('!').into(), asked: Arc::clone(&asked) });
            for name in *names {
                shelf.inner.set(&name.parse().unwrap(), format!("{source}:{vault}/{name}"), Attributes::default());
            }
            by_source.entry(source.to_owned()).or_default().push(Arc::clone(&shelf) as Arc<dyn Vault>);
            shelves.push(shelf);
        }
        let source =
            |(name, vaults): (String, _)| Arc::new(MemorySource::new(name.parse().unwrap(), vaults)) as Arc<dyn Source>;
        let metrics = Metrics::default();
        let mut sources: Vec<_> = by_source.into_iter().map(source).collect();
        if vaults.iter().any(|(id, _)| *id == SHORT) {
            sources.retain(|source| source.name().as_str() != "short");
            sources.push(Arc::new(Short("short".parse().unwrap())));
        }
        let catalog = Catalog::counted(sources, CatalogOptions::default(), metrics.clone());
        let broker = Broker::new(catalog.clone(), options, metrics.clone());
        catalog.refresh(None).await;
        Self { shelves, catalog, broker, metrics, asked }
    }

    fn router(&self) -> Router {
        router(State::new(self.broker.clone(), self.metrics.clone()))
    }

    /// Every secret as `source:vault` and name.
    fn all(&self, vaults: &[(&str, &[&str])]) -> Vec<(String, String)> {
        let each = vaults.iter().flat_map(|(id, names)| names.iter().map(|name| (*id, *name)));
        each.map(|(id, name)| (id.trim_end_matches('!').to_owned(), name.to_owned())).collect()
    }

    /// Who was asked for what since the last time.
    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn client(name: &str, read: &[&str], list: &[&str]) -> Client {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Client { name: name.to_owned(), read: patterns(read), list: patterns(list), ..Client::default() }
}

/// Whoever a client with these grants is.
fn caller(read: &[&str], list: &[&str]) -> Caller {
    let clients = vec![Client { uid: Some(7), ..client("app", read, list) }];
    let access = Access::load(&AccessSettings { clients, token_file: None }).unwrap();
    access.of_peer(&Peer { uid: 7, gid: 7, groups: Arc::new([]) }).unwrap()
}

/// What came back: status, headers but the request's id, body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Asks the routes as that caller.
async fn ask(router: &Router, caller: &Caller, path: &str) -> Answer {
    sent(router, caller, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn resolve(router: &Router, caller: &Caller, refs: &BTreeMap<String, String>) -> Answer {
    let body = serde_json::json!({ "refs": refs }).to_string();
    let request = Request::post("/v1/resolve").header("content-type", "application/json");
    sent(router, caller, request.body(Body::from(body)).unwrap()).await
}

async fn sent(router: &Router, caller: &Caller, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(caller.clone());
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let told = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers = head.headers.iter().map(told).filter(|(name, _)| name != "sidekey-request-id").collect();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: head.status.as_u16(), headers, body }
}

/// A server on a socket and on TCP.
struct Site {
    access: Access,
    metrics: Metrics,
    port: u16,
    socket: PathBuf,
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    _serving: JoinSet<()>,
}

impl Site {
    /// With these clients; `token_file`s are made in the site's folder.
    async fn start(estate: &Estate, clients: impl IntoIterator<Item = Client>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let within =
            |client: Client| Client { token_file: client.token_file.map(|name| folder.path().join(name)), ..client };
        let clients = clients.into_iter().map(within).collect();
        let settings = AccessSettings { clients, token_file: Some(folder.path().join("token")) };
        let access = Access::load(&settings).unwrap();
        let socket = folder.path().join("s.sock");
        let mut listeners = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listeners[0].port().unwrap();
        listeners.push(bind_unix(&UnixOptions::new(&socket)).unwrap());
        let (metrics, shutdown) = (estate.metrics.clone(), CancellationToken::new());
        let api = Api::new(State::new(estate.broker.clone(), metrics.clone()));
        let (guard, stop) = (Guard::new(access.clone()), shutdown.clone());
        let mut serving = JoinSet::new();
        let counted = metrics.clone();
        serving.spawn(async move {
            serve(listeners, api, guard, counted, ServeOptions::default(), stop).await;
        });
        Self { access, metrics, port, socket, folder, shutdown, _serving: serving }
    }

    /// The token in that file of the site's folder.
    fn token(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap().trim().to_owned()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }

    async fn unix(&self, path: &str, token: Option<&str>) -> Answer {
        exchange(UnixStream::connect(&self.socket).await.unwrap(), path, token, 80).await.expect("an answer")
    }

    /// `None`: the connection was closed without an answer.
    async fn unix_or_nothing(&self, path: &str) -> Option<Answer> {
        exchange(UnixStream::connect(&self.socket).await.unwrap(), path, None, 80).await
    }

    async fn tcp(&self, path: &str, token: Option<&str>) -> Answer {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        exchange(stream, path, token, self.port).await.expect("an answer")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// One request more on a connection that stays, and the status of its answer.
async fn next(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> u16 {
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).await.unwrap();
        head.push(byte[0] as char);
    }
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    head[9..12].parse().unwrap()
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    token: Option<&str>,
    port: u16,
) -> Option<Answer> {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{token}Connection: close\r\n\r\n");
    // Whoever is turned away may be so before this is sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers = headers.filter(|(name, _)| name != "sidekey-request-id" && name != "date").collect();
    Some(Answer { status, headers, body: bytes[end + 4..].to_vec() })
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn own_gid() -> u32 {
    rustix::process::getegid().as_raw()
}
