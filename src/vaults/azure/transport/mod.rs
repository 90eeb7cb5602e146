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

mod http;
mod last_good;
mod resolve;
mod retries;
mod retry_after;
mod roots;
mod tls;
mod wire;

use std::path::Path;
use std::sync::Arc;

pub(super) use http::Carrier;
pub use last_good::LookUp;
pub(super) use last_good::System;
pub(super) use resolve::{Overrides, Unresolved};
pub(super) use retry_after::retry_after;
pub use roots::SystemRoots;
pub(super) use wire::{Answer, BearerWatch, Deadline, Peer, Wire};

use last_good::LastGood;

use super::{SetupError, WireLimits};

/// The way out of a source, with its limits.
#[derive(Debug)]
pub(super) struct Transport {
    carrier: Box<dyn Carrier>,
    limits: WireLimits,
}

impl Transport {
    /// Builds the client.
    pub(super) fn new(
        roots: &SystemRoots,
        extra_ca: Option<&Path>,
        overrides: Overrides,
        names: Arc<dyn LookUp>,
        limits: WireLimits,
    ) -> Result<Arc<Self>, SetupError> {
        let tls = tls::client_config(roots, extra_ca)?;
        let carrier = Box::new(http::Http::new(&tls, overrides, &LastGood::new(names), limits.connect)?);
        Ok(Arc::new(Self { carrier, limits }))
    }

    /// Not over the network: whoever stands there answers what he likes.
    #[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
    pub(super) fn over(carrier: impl Carrier + 'static, limits: WireLimits) -> Arc<Self> {
        Arc::new(Self { carrier: Box::new(carrier), limits })
    }

    pub(super) fn limits(&self) -> &WireLimits {
        &self.limits
    }
}
