//! Addresses that are bound, what guards them, and serving on them: at once, or, where another sidecar serves the socket,
//! once this one can take its place.
//!
//! How a sidecar takes over: it listens under another name, becomes ready there, and only then renames its socket over
//! the other's. TCP has no such step: its port is bound as soon as the other one lets go of it.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use super::{Context, Exit, Failure};
use crate::api::{
    Api, Capacity, Guard, ListenError, Listener, ServeOptions, TakeOver, Token, bind_tcp, bind_unix, bind_unix_beside,
};
use crate::config::Config;
use crate::metrics::Metrics;

/// What is bound, and what is still to be.
pub(super) struct Open {
    pub(super) listeners: Vec<Listener>,
    guard: Guard,
    options: ServeOptions,
    take_over: Option<TakeOver>,
    /// A port that another process still has.
    later: Option<SocketAddr>,
}

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// One look of so many is at whether the other sidecar is still there, as that connects to it.
const LOOKS: u32 = 10;

impl Open {
    /// Binds all that the configuration names.
    pub(super) fn bind(config: &Config) -> Result<Self, Failure> {
        Self::with(config, |socket| Ok((bind_unix(socket)?, None)), false)
    }

    /// The same beside a sidecar that serves the same addresses, until its place can be taken.
    pub(super) fn beside(config: &Config) -> Result<Self, Failure> {
        Self::with(config, bind_unix_beside, true)
    }

    fn with(
        config: &Config,
        bind_socket: impl FnOnce(&crate::api::UnixOptions) -> Result<(Listener, Option<TakeOver>), ListenError>,
        patient: bool,
    ) -> Result<Self, Failure> {
        let mut open = Self {
            listeners: Vec::new(),
            guard: Guard::new(None),
            options: ServeOptions {
                capacity: Capacity::new(places(config.connections), config.requests),
                grace: config.drain,
                ..ServeOptions::default()
            },
            take_over: None,
            later: None,
        };
        if let Some(socket) = &config.listen.socket {
            let (listener, take_over) = bind_socket(socket).map_err(|error| unavailable(&error))?;
            open.listeners.push(listener);
            open.take_over = take_over;
        }
        if let Some(tcp) = config.listen.tcp {
            let token = Token::load_or_create(&config.listen.token_file)
                .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
            open.guard = Guard::new(Some(token.digest()));
            match bind_tcp(tcp) {
                Ok(listeners) => open.listeners.extend(listeners),
                Err(ListenError::PortInUse(_)) if patient => open.later = Some(tcp),
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Ok(open)
    }

    /// What guards them.
    pub(super) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Tells the log where it answers.
    pub(super) fn tell(&self) {
        for listener in &self.listeners {
            tracing::info!(address = listener.address(), "listening");
        }
        if let Some(take_over) = &self.take_over {
            tracing::info!(socket = %take_over.path().display(), "another sidecar serves it; taking it over once ready");
        }
        if let Some(address) = self.later {
            tracing::info!(%address, "in use; listening there once it is free");
        }
    }

    /// Serves until the process is told to stop.
    pub(super) async fn serve(self, api: Api, metrics: Metrics, context: &Context) -> Result<(), Failure> {
        let Self { listeners, guard, options, take_over, later } = self;
        let serve = async |listeners| {
            let (api, metrics, shutdown) = (api.clone(), metrics.clone(), context.shutdown.clone());
            crate::api::serve(listeners, api, guard.clone(), metrics, options.clone(), shutdown).await;
            Ok::<(), Failure>(())
        };
        let rest = async {
            match context.shutdown.run_until_cancelled(succeed(take_over, later, &api)).await {
                Some(listeners) => serve(listeners?).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(serve(listeners), rest)?;
        Ok(())
    }
}

/// Takes the other sidecar's place, once this one is ready and as the other lets go of it.
async fn succeed(take_over: Option<TakeOver>, later: Option<SocketAddr>, api: &Api) -> Result<Vec<Listener>, Failure> {
    if let Some(take_over) = take_over {
        let socket = take_over.path().display().to_string();
        let alone = left_alone(&take_over, api).await;
        take_over.finish().map_err(|error| unavailable(&error))?;
        if alone {
            tracing::warn!(socket, "the other sidecar is gone: taken over before this one is ready");
        } else {
            tracing::info!(socket, "taken over; the other sidecar can be ended");
        }
    }
    let Some(address) = later else { return Ok(Vec::new()) };
    let listeners = free(address).await.map_err(|error| unavailable(&error))?;
    for listener in &listeners {
        tracing::info!(address = listener.address(), "listening");
    }
    Ok(listeners)
}

/// Resolves when this sidecar is ready, or, with true, when the other one is gone before that: what is held and an answer
/// that says why not are better than nobody there.
async fn left_alone(take_over: &TakeOver, api: &Api) -> bool {
    for look in 1_u32.. {
        if api.is_settled() {
            return false;
        }
        if look.is_multiple_of(LOOKS) && take_over.is_vacant() {
            return true;
        }
        sleep(LOOK).await;
    }
    false
}

/// Binds it as soon as nobody else has it.
async fn free(address: SocketAddr) -> Result<Vec<Listener>, ListenError> {
    loop {
        match bind_tcp(address) {
            Err(ListenError::PortInUse(_)) => sleep(LOOK).await,
            outcome => return outcome,
        }
    }
}

fn unavailable(error: &ListenError) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

/// Places for connections, as many as wanted if that leaves file descriptors for the vaults. The soft limit on descriptors
/// is for programs that use `select`; it is raised to the hard one.
pub(super) fn places(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let ours = limit / 4 * 3;
    let mut places = wanted.min(ours);
    while places > 1 && Capacity::most(places) > ours {
        places -= (places / 16).max(1);
    }
    places
}
