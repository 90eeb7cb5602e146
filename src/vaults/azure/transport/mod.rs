//! The one way to Azure: a single HTTP client per source, and the last policy of every pipeline.
//!
//! One client, because each default client of the SDK would load the CA roots again. A pipeline may talk to one origin
//! only ([`Peer`]): the SDK's bearer policy authorises whatever URL it is given, and links to further pages come from
//! the wire, so without this check a token could be sent to a foreign host. Redirects are not followed, bodies are
//! capped after decompression, and retries happen here and nowhere else: those of a vault within a budget, and none after
//! a 429, which is for `budget` to heed.
//!
//! Proxies are honoured: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case, as the HTTP client reads them
//! from the environment when it is built. Two kinds of peers are never looked for at a proxy: hosts that `resolve`
//! places at an address, and the machine's own identity endpoint, whose header and token are for nobody else.

mod last_good;
mod resolve;
mod retries;
mod retry_after;
mod tls;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect;
use url::Url;

pub use last_good::LookUp;
pub(super) use last_good::System;
pub(super) use resolve::{Overrides, Unresolved};
pub(super) use retry_after::retry_after;
pub(super) use wire::{Answer, BearerWatch, Deadline, Peer, Wire};

use last_good::LastGood;

use super::{SetupError, WireLimits};

/// An idle connection is closed after this long, or up to twice that, as the pool looks so often: its buffers hold what
/// went over it last, token and value, and are wiped when it goes. A round of listings, or a burst of reads, keeps its
/// connections; a read after that pays for a new one, which TLS resumes.
const POOL_IDLE: Duration = Duration::from_secs(5);
/// How soon a dead peer of an idle connection is noticed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The HTTP client of a source, with its limits.
#[derive(Debug)]
pub(super) struct Transport {
    /// Goes through `HTTPS_PROXY` and its kin, where they are set.
    outward: reqwest::Client,
    /// Never through a proxy: names that the configuration places at an address, and the machine's own metadata service.
    direct: reqwest::Client,
    overrides: Arc<Overrides>,
    limits: WireLimits,
}

impl Transport {
    /// Loads the roots and builds the client.
    pub(super) fn new(
        extra_ca: Option<&Path>,
        overrides: Overrides,
        names: Arc<dyn LookUp>,
        limits: WireLimits,
    ) -> Result<Arc<Self>, SetupError> {
        let tls = tls::client_config(extra_ca)?;
        let overrides = Arc::new(overrides);
        let names = LastGood::new(names);
        let builder = || {
            let resolver = resolve::Resolver { overrides: Arc::clone(&overrides), names: names.clone() };
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(resolver)
                .redirect(redirect::Policy::none())
                .http1_only()
                .connect_timeout(limits.connect)
                .pool_idle_timeout(POOL_IDLE)
                .tcp_keepalive(TCP_KEEPALIVE)
        };
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|e| SetupError::Client(e.into()));
        Ok(Arc::new(Self {
            outward: build(builder())?,
            direct: build(builder().no_proxy())?,
            overrides: Arc::clone(&overrides),
            limits,
        }))
    }

    pub(super) fn limits(&self) -> &WireLimits {
        &self.limits
    }

    /// The client for a URL: a host that is placed by an override is there, not behind a proxy.
    fn client(&self, url: &Url, peer: &Peer) -> &reqwest::Client {
        let placed = url.host_str().is_some_and(|host| self.overrides.find(host).is_some());
        if placed || peer.is_local() { &self.direct } else { &self.outward }
    }
}
