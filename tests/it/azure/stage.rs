//! A TLS server in the place of everything: Entra, Resource Manager, vaults and strangers, by host name. Each test says
//! how it answers; what it was asked is kept, so that tests assert on calls and on who was sent a token.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use sidekey::secret::SecretValue;
use sidekey::vaults::azure::{AzureSettings, AzureSource, Cloud, ConfiguredVault, Credential, Identity, WireLimits};
use sidekey::vaults::{Source, Vault};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub host: String,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authorization: Option<String>,
    pub body: String,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A field of a form body or of the query.
    pub fn field(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs =
            url::form_urlencoded::parse(self.body.as_bytes()).chain(url::form_urlencoded::parse(query.as_bytes()));
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    /// The connection is cut without an answer.
    Cut,
    /// There is never an answer.
    Hang,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string())
    }

    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::Answer { status, headers: vec![("content-type", "application/json".into())], body: body.into() }
    }

    pub fn header(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name, value.into()));
                Self::Answer { status, headers, body }
            }
            other => other,
        }
    }

    /// A success of the token endpoint.
    pub fn token(token: &str, expires_in: u64) -> Self {
        Self::json(200, &json!({ "token_type": "Bearer", "expires_in": expires_in, "access_token": token }))
    }

    /// A 401 that asks for a token of the public cloud's vaults.
    pub fn challenge() -> Self {
        Self::challenge_of(
            r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net""#,
        )
    }

    pub fn challenge_of(challenge: &str) -> Self {
        let body =
            json!({ "error": { "code": "Unauthorized", "message": "Request is missing a Bearer or PoP token." } });
        Self::json(401, &body).header("www-authenticate", challenge)
    }

    /// An error in the form of Key Vault and Resource Manager.
    pub fn error(status: u16, code: &str, inner: Option<&str>) -> Self {
        let mut error =
            json!({ "code": code, "message": "Caller is not authorized.\r\nCaller: appid=app-1;oid=oid-1" });
        if let Some(inner) = inner {
            error["innererror"] = json!({ "code": inner });
        }
        Self::json(status, &json!({ "error": error }))
    }

    /// A secret of a vault.
    pub fn secret(host: &str, name: &str, version: &str, value: &str) -> Self {
        let attributes = json!({ "enabled": true, "created": 1_571_703_959, "updated": 1_571_703_959 });
        let id = format!("https://{host}/secrets/{name}/{version}");
        Self::json(200, &json!({ "value": value, "id": id, "attributes": attributes }))
    }
}

/// Tokens as Entra issues them: `token-0`, `token-1` and so on.
pub fn numbered_tokens() -> impl Fn() -> Reply + Send + Sync {
    let issued = AtomicUsize::new(0);
    move || Reply::token(&format!("token-{}", issued.fetch_add(1, Ordering::SeqCst)), 3600)
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server, until it is dropped.
pub struct Stage {
    address: SocketAddr,
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

/// Every name that a test may reach.
const NAMES: [&str; 15] = [
    "login.microsoftonline.com",
    "management.azure.com",
    "*.vault.azure.net",
    "login.microsoftonline.us",
    "management.usgovcloudapi.net",
    "*.vault.usgovcloudapi.net",
    "login.chinacloudapi.cn",
    "management.chinacloudapi.cn",
    "*.vault.azure.cn",
    "login.private.example",
    "management.private.example",
    "*.vault.private.example",
    "evil.example",
    "*.evil.example",
    "localhost",
];

pub const VERSION: &str = "0b31729e2750416caba40429a1f3bea4";
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const SECRET: &str = "client-secret-canary";

impl Stage {
    /// Answers as the script says; before it is asked, Entra gives tokens, a vault without a token gives the challenge,
    /// and Resource Manager refuses.
    pub async fn new(script: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::bare(move |asked| script(asked).unwrap_or_else(|| usual(asked))).await
    }

    /// Answers as the script says and nothing else.
    pub async fn bare(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let acceptor = acceptor(&dir.path().join("ca.pem"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (open, mut tasks) = (watch::Sender::new(0), JoinSet::new());
        tasks.spawn(accept(listener, acceptor, Arc::new(script), Arc::clone(&asked), open.clone()));
        Self { address, dir, asked, open, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a test keeps its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Settings that reach this server under the real names, as a service principal with a client secret.
    pub fn settings(&self) -> AzureSettings {
        settings_at(self.address, Some(self.path("ca.pem")))
    }

    /// A source that names the vault `pay`.
    pub fn source(&self) -> AzureSource {
        self.source_with(|_| {})
    }

    pub fn source_with(&self, change: impl FnOnce(&mut AzureSettings)) -> AzureSource {
        let mut settings = self.settings();
        settings.vaults = vec![ConfiguredVault::Name("pay".parse().unwrap())];
        change(&mut settings);
        AzureSource::new(settings).unwrap()
    }

    /// The vault `pay`, as its configuration names it: nobody was asked for it.
    pub fn vault(&self) -> Arc<dyn Vault> {
        self.vault_with(|_| {})
    }

    pub fn vault_with(&self, change: impl FnOnce(&mut AzureSettings)) -> Arc<dyn Vault> {
        self.source_with(change).named().into_iter().next().expect("the configured vault")
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    /// How many connections are open, after their handshake.
    pub fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    /// How many requests came to a host.
    pub fn count(&self, host: &str) -> usize {
        self.asked().iter().filter(|asked| asked.host == host).count()
    }
}

/// As [`Stage::settings`], for a server that is not a stage.
pub fn settings_at(address: SocketAddr, extra_ca: Option<PathBuf>) -> AzureSettings {
    AzureSettings {
        name: "test".parse().unwrap(),
        identity: Identity::ClientSecret {
            tenant: TENANT.into(),
            client: "app-1".into(),
            secret: Credential::Inline(Arc::new(SecretValue::new(SECRET))),
        },
        cloud: Cloud::public(),
        subscriptions: Vec::new(),
        vaults: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
        extra_ca,
        resolve: NAMES.iter().map(|name| ((*name).to_owned(), address)).collect(),
        wire: WireLimits::default(),
    }
}

/// Entra gives tokens, vaults challenge, Resource Manager refuses; anything else does not exist.
pub fn usual(asked: &Asked) -> Reply {
    if asked.host.starts_with("login.") {
        return Reply::token("token-1", 3600);
    }
    if asked.host.starts_with("management.") {
        return Reply::error(403, "AuthorizationFailed", None);
    }
    if asked.authorization.is_none() && asked.host.contains(".vault.") {
        return Reply::challenge();
    }
    Reply::error(404, "SecretNotFound", None)
}

fn acceptor(ca_file: &std::path::Path) -> TlsAcceptor {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(ca_file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = NAMES.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: watch::Sender<usize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, script, asked, open) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&asked), open.clone());
        connections.spawn(async move {
            // A client that does not trust the certificate goes away here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            open.send_modify(|open| *open += 1);
            let service = service_fn(move |request| answer(request, Arc::clone(&script), Arc::clone(&asked)));
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            drop(served);
            open.send_modify(|open| *open -= 1);
        });
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

async fn answer(
    request: hyper::Request<Incoming>,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Asked>>>,
) -> Result<hyper::Response<Full<Bytes>>, Cut> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let asked = Asked {
        host: header("host").unwrap_or_default(),
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        authorization: header("authorization"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    log.lock().unwrap().push(asked.clone());
    match script(&asked) {
        Reply::Answer { status, headers, body } => {
            let mut response = hyper::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(body)).unwrap())
        }
        Reply::Cut => Err(Cut),
        Reply::Hang => {
            std::future::pending::<()>().await;
            Err(Cut)
        }
    }
}

/// Limits under which a server that never answers is given up soon.
pub fn impatient() -> WireLimits {
    WireLimits {
        attempt: Duration::from_millis(200),
        call: Duration::from_millis(500),
        retries: 0,
        ..WireLimits::default()
    }
}
