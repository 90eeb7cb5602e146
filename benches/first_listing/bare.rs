//! A client that asks Azure what a first listing asks, all vaults at once, and throws the answers away: no SDK, no budget,
//! no parser, no catalog. It knows beforehand which vaults there are.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::azure::{CLIENT, TENANT};

/// What Resource Graph is asked, as we ask it: rows of all vaults, not of the first hundred, and as wide.
const VAULTS: &str = "{\"query\": \"resources | where type =~ 'microsoft.keyvault/vaults' \
    | project id, name, subscriptionId, tenantId, location, vaultUri=tostring(properties.vaultUri), \
    vaultTenant=tostring(properties.tenantId) | order by id asc\", \
    \"options\": {\"resultFormat\": \"objectArray\", \"$top\": 1000}}";

#[derive(Clone)]
pub(super) struct Bare {
    tls: TlsConnector,
    addr: SocketAddr,
}

impl Bare {
    pub(super) fn new(addr: SocketAddr, ca: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), addr }
    }

    /// Signs in, looks for vaults, and asks each for all of its pages.
    pub(super) async fn list(&self, vaults: usize) {
        let vaults_scope = "https://vault.azure.net/.default";
        let (arm, token) = tokio::join!(self.token("https://management.azure.com/.default"), self.token(vaults_scope));
        let request = Request::post("/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01")
            .header(HOST, "management.azure.com")
            .header(AUTHORIZATION, arm)
            .header("content-type", "application/json");
        let mut connection = self.connect("management.azure.com").await;
        ask(&mut connection, request.body(VAULTS.into()).unwrap()).await;
        let token: Arc<str> = token.into();
        let mut all = JoinSet::new();
        for vault in 0..vaults {
            let (client, token) = (self.clone(), Arc::clone(&token));
            all.spawn(async move { client.pages(&format!("vault-{vault}.vault.azure.net"), &token).await });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
    }

    async fn pages(&self, host: &str, token: &str) {
        let mut connection = self.connect(host).await;
        let mut path = "/secrets?maxresults=25&api-version=2025-07-01".to_owned();
        loop {
            let request = Request::get(&path).header(HOST, host).header(AUTHORIZATION, token).body(Full::default());
            let answer = ask(&mut connection, request.unwrap()).await;
            // The link is the only thing in it that is looked at.
            let Some(link) = field(&answer, "nextLink") else { return };
            let start = link.find("/secrets").unwrap();
            link[start..].clone_into(&mut path);
        }
    }

    async fn token(&self, scope: &str) -> String {
        let host = "login.microsoftonline.com";
        let form =
            format!("client_id={CLIENT}&client_secret=right&grant_type=client_credentials&scope={scope}&client_info=1");
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token"))
            .header(HOST, host)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = ask(&mut self.connect(host).await, request.body(form.into()).unwrap()).await;
        format!("Bearer {}", field(&answer, "access_token").unwrap())
    }

    async fn connect(&self, host: &str) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = self.tls.connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        drop(tokio::spawn(connection));
        sender
    }
}

async fn ask(to: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Bytes {
    to.ready().await.unwrap();
    let answer = to.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.unwrap().to_bytes()
}

/// The text of a field, of which there is one, without escapes.
fn field<'t>(json: &'t Bytes, name: &str) -> Option<&'t str> {
    let start = memmem::find(json, format!("\"{name}\":").as_bytes())? + name.len() + 3;
    let text = std::str::from_utf8(&json[start..]).unwrap().trim_start().strip_prefix('"')?;
    text.split('"').next()
}
