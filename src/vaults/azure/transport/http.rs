//! One exchange over the network: a request out, a whole answer back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, Headers};
use azure_core::http::{Body, Request};
use reqwest::{redirect, retry};
use rustls::ClientConfig;
use url::Url;

use super::last_good::LastGood;
use super::resolve::{Overrides, Resolver};
use super::wire::{Answer, BEARER, Peer};
use crate::vaults::azure::{SetupError, bearer, errors};
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// An idle connection is closed after this long, or up to twice that, as the pool looks so often: its buffers hold what
/// went over it last, token and value, and are wiped when it goes. A round of listings, or a burst of reads, keeps its
/// connections; a read after that pays for a new one, which TLS resumes.
const POOL_IDLE: Duration = Duration::from_secs(5);
/// How soon a dead peer of an idle connection is noticed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// What takes a request to where it is to go. Whether it may go there was decided before.
#[async_trait]
pub(in crate::vaults::azure) trait Carrier: fmt::Debug + Send + Sync {
    /// The answer, if it has no more than `max_body` bytes, uncompressed.
    async fn exchange(&self, url: &Url, peer: &Peer, request: &Request, max_body: usize) -> Result<Answer, VaultError>;
}

/// HTTP, through a proxy where the environment names one.
#[derive(Debug)]
pub(super) struct Http {
    /// Goes through `HTTPS_PROXY` and its kin, where they are set.
    outward: reqwest::Client,
    /// Never through a proxy: names that the configuration places at an address, and the machine's own metadata service.
    direct: reqwest::Client,
    overrides: Arc<Overrides>,
}

impl Http {
    pub(super) fn new(
        tls: &ClientConfig,
        overrides: Overrides,
        names: &LastGood,
        connect: Duration,
    ) -> Result<Self, SetupError> {
        let overrides = Arc::new(overrides);
        let builder = || {
            let resolver = Resolver { overrides: Arc::clone(&overrides), names: names.clone() };
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(resolver)
                .redirect(redirect::Policy::none())
                // `Wire` repeats what may be: no copy of a request is kept for that here.
                .retry(retry::never().max_retries_per_request(0))
                .http1_only()
                .connect_timeout(connect)
                .pool_idle_timeout(POOL_IDLE)
                .tcp_keepalive(TCP_KEEPALIVE)
        };
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|e| SetupError::Client(e.into()));
        Ok(Self { outward: build(builder())?, direct: build(builder().no_proxy())?, overrides: Arc::clone(&overrides) })
    }

    /// The client for a URL: a host that is placed by an override is there, not behind a proxy.
    fn client(&self, url: &Url, peer: &Peer) -> &reqwest::Client {
        let placed = url.host_str().is_some_and(|host| self.overrides.find(host).is_some());
        if placed || peer.is_local() { &self.direct } else { &self.outward }
    }
}

#[async_trait]
impl Carrier for Http {
    async fn exchange(&self, url: &Url, peer: &Peer, request: &Request, max_body: usize) -> Result<Answer, VaultError> {
        let client = self.client(url, peer);
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|_| VaultError::new(VaultErrorKind::Unavailable(Outage::Internal), "no such HTTP method"))?;
        let mut outgoing = client.request(method, url.clone());
        for (name, value) in request.headers().iter() {
            match value.as_str().strip_prefix(BEARER).filter(|_| *name == AUTHORIZATION).map(bearer::redeem) {
                None => outgoing = outgoing.header(name.as_str(), value.as_str()),
                Some(Some(token)) => outgoing = outgoing.bearer_auth(token.as_str()),
                Some(None) => {
                    let broken = "a request has a token that is not ours to give";
                    return Err(VaultError::new(VaultErrorKind::Unavailable(Outage::Internal), broken));
                }
            }
        }
        if let Body::Bytes(bytes) = request.body() {
            outgoing = outgoing.body(bytes.clone());
        }
        let mut response = outgoing.send().await.map_err(errors::transport)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(errors::transport)? {
            if body.len() + chunk.len() > max_body {
                return Err(VaultError::new(
                    VaultErrorKind::Malformed,
                    format!("the answer is larger than the {max_body} bytes that are allowed"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status().as_u16(), headers: headers(response.headers()), body: body.into() })
    }
}

fn headers(map: &reqwest::header::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        // A header that is not text is of no use to any policy.
        if let Ok(value) = value.to_str() {
            headers.insert(HeaderName::from(name.as_str().to_owned()), value.to_owned());
        }
    }
    headers
}
