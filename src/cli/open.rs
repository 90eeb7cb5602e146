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
use crate::access::Access;
use crate::api::{
    Api, Capacity, Guard, ListenError, Listener, Passed, PassedSocket, ServeOptions, TakeOver, Tls, bind_metrics,
    bind_tcp, bind_tls, bind_unix, bind_unix_beside,
};
use crate::config::Config;
use crate::metrics::Metrics;

/// What is bound, and what is still to be.
pub(super) struct Open {
    pub(super) listeners: Vec<Listener>,
    guard: Guard,
    options: ServeOptions,
    take_over: Vec<TakeOver>,
    /// On which systemd asks.
    pub(super) credentials: Option<Listener>,
    /// Ports that another process still has.
    later: Vec<Later>,
    tls: Option<Tls>,
}

/// A port that is to be bound.
#[derive(Debug, Clone, Copy)]
enum Later {
    Api(SocketAddr),
    Metrics(SocketAddr),
}

impl Later {
    fn bind(self, tls: Option<&Tls>) -> Result<Vec<Listener>, ListenError> {
        match (self, tls) {
            (Self::Api(address), Some(tls)) => bind_tls(address, tls),
            (Self::Api(address), None) => bind_tcp(address),
            (Self::Metrics(address), _) => Ok(vec![bind_metrics(address)?]),
        }
    }

    fn address(self) -> SocketAddr {
        match self {
            Self::Api(address) | Self::Metrics(address) => address,
        }
    }
}

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// One look of so many is at whether the other sidecar is still there, as that connects to it.
const LOOKS: u32 = 10;

impl Open {
    /// Binds all that the configuration names.
    #[cfg(feature = "emulator")]
    pub(super) fn bind(config: &Config) -> Result<Self, Failure> {
        Self::with(config, Passed::default(), |socket| Ok((bind_unix(socket)?, None)), false)
    }

    /// The same, but for what `passed` has: that is served in its place.
    pub(super) fn passed(config: &Config, passed: Passed) -> Result<Self, Failure> {
        Self::with(config, passed, |socket| Ok((bind_unix(socket)?, None)), false)
    }

    /// The same beside a sidecar that serves the same addresses, until its place can be taken.
    pub(super) fn beside(config: &Config) -> Result<Self, Failure> {
        Self::with(config, Passed::default(), bind_unix_beside, true)
    }

    fn with(
        config: &Config,
        passed: Passed,
        bind_socket: impl Fn(&crate::api::UnixOptions) -> Result<(Listener, Option<TakeOver>), ListenError>,
        patient: bool,
    ) -> Result<Self, Failure> {
        let listen = &config.listen;
        let tls = listen.tls.clone().map(Tls::load).transpose();
        let tls = tls.map_err(|error| Failure::new(Exit::Config, format!("listen.tls: {error}")))?;
        let mut open = Self {
            listeners: Vec::new(),
            guard: Guard::new(access(config)?),
            options: ServeOptions {
                capacity: Capacity::new(places(config.connections), config.requests),
                grace: config.drain,
                ..ServeOptions::default()
            },
            take_over: Vec::new(),
            credentials: None,
            later: Vec::new(),
            tls,
        };
        let [mut has_unix, mut has_tcp, mut has_metrics] = [false; 3];
        for socket in passed.sockets {
            match socket {
                PassedSocket::Unix(_) => has_unix = true,
                PassedSocket::Tcp(_) => has_tcp = true,
                PassedSocket::Metrics(_) => has_metrics = true,
            }
            open.listeners.push(socket.listen(open.tls.as_ref()).map_err(|error| unavailable(&error))?);
        }
        if has_tcp && !is_anybody_known_over_tcp(config) {
            return Err(nobody_known());
        }
        if passed.strange > 0 {
            tracing::warn!(
                sockets = passed.strange,
                "passed by systemd, and neither unix stream sockets nor TCP: not used"
            );
        }
        if let Some(socket) = listen.socket.as_ref().filter(|_| !has_unix) {
            let (listener, take_over) = bind_socket(socket).map_err(|error| unavailable(&error))?;
            open.listeners.push(listener);
            open.take_over.extend(take_over);
        }
        if let Some(socket) = &listen.credentials {
            let (listener, take_over) = bind_socket(socket).map_err(|error| unavailable(&error))?;
            open.credentials = Some(listener);
            open.take_over.extend(take_over);
        }
        if let Some(tcp) = listen.tcp.filter(|_| !has_tcp) {
            open.bind_or_wait(Later::Api(tcp), patient)?;
        }
        if let Some(metrics) = listen.metrics.filter(|_| !has_metrics) {
            open.bind_or_wait(Later::Metrics(metrics), patient)?;
        }
        Ok(open)
    }

    /// Binds a port, at once, or, if somebody else has it and we are `patient`, as soon as nobody has.
    fn bind_or_wait(&mut self, port: Later, patient: bool) -> Result<(), Failure> {
        match port.bind(self.tls.as_ref()) {
            Ok(listeners) => self.listeners.extend(listeners),
            Err(ListenError::PortInUse(_)) if patient => self.later.push(port),
            Err(error) => return Err(unavailable(&error)),
        }
        Ok(())
    }

    /// What guards them: who may do what.
    pub(super) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Tells the log where it answers.
    pub(super) fn tell(&self) {
        for listener in &self.listeners {
            tracing::info!(address = listener.address(), "listening");
        }
        if let Some(credentials) = &self.credentials {
            tracing::info!(address = credentials.address(), "listening for systemd");
        }
        for take_over in &self.take_over {
            tracing::info!(socket = %take_over.path().display(), "another sidecar serves it; taking it over once ready");
        }
        for address in self.later.iter().map(|port| port.address()) {
            tracing::info!(%address, "in use; listening there once it is free");
        }
    }

    /// Serves until the process is told to stop.
    pub(super) async fn serve(self, api: Api, metrics: Metrics, context: &Context) -> Result<(), Failure> {
        let Self { listeners, guard, options, take_over, later, tls, credentials: _ } = self;
        let serve = async |listeners| {
            let (api, metrics, shutdown) = (api.clone(), metrics.clone(), context.shutdown.clone());
            crate::api::serve(listeners, api, guard.clone(), metrics, options.clone(), shutdown).await;
            Ok::<(), Failure>(())
        };
        let rest = async {
            match context.shutdown.run_until_cancelled(succeed(take_over, later, tls.as_ref(), &api)).await {
                Some(listeners) => serve(listeners?).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(serve(listeners), rest)?;
        Ok(())
    }
}

/// Takes the other sidecar's place, once this one is ready and as the other lets go of it.
async fn succeed(
    take_over: Vec<TakeOver>,
    later: Vec<Later>,
    tls: Option<&Tls>,
    api: &Api,
) -> Result<Vec<Listener>, Failure> {
    for take_over in take_over {
        let socket = take_over.path().display().to_string();
        let alone = left_alone(&take_over, api).await;
        take_over.finish().map_err(|error| unavailable(&error))?;
        if alone {
            tracing::warn!(socket, "the other sidecar is gone: taken over before this one is ready");
        } else {
            tracing::info!(socket, "taken over; the other sidecar can be ended");
        }
    }
    let mut listeners = Vec::new();
    for port in later {
        listeners.extend(free(port, tls).await.map_err(|error| unavailable(&error))?);
    }
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
async fn free(port: Later, tls: Option<&Tls>) -> Result<Vec<Listener>, ListenError> {
    loop {
        match port.bind(tls) {
            Err(ListenError::PortInUse(_)) => sleep(LOOK).await,
            outcome => return outcome,
        }
    }
}

/// Who may do what. Nothing is bound before that is known.
fn access(config: &Config) -> Result<Access, Failure> {
    Access::load(&config.access).map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

/// Whether a caller over TCP has a way to be let in.
fn is_anybody_known_over_tcp(config: &Config) -> bool {
    let with_certificates = config.listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    with_certificates || config.access.token_file.is_some() || !config.access.clients.is_empty()
}

fn nobody_known() -> Failure {
    let what = "a TCP socket was passed by systemd, and nobody would be known on it; set listen.tcp to its address, so that \
                callers bring the token of listen.token_file, or name them as [[client]]s";
    Failure::new(Exit::Config, what)
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
