//! `serve`: the sidecar itself. Everything that can be wrong is found before the first address is bound.

use std::path::PathBuf;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::sidecar::Sidecar;
use super::{Context, Exit, Failure, folder, trace};
use crate::api::{Guard, Listener, ServeOptions, Token, bind_tcp, bind_unix};
use crate::catalog::{Catalog, Reach};
use crate::config::{Config, Flag};
use crate::vaults::azure::AzureSettings;

/// Run the sidecar: sign in, find the vaults, and serve their secrets until told to stop (SIGTERM, or Ctrl-C).
#[derive(Debug, Args)]
pub struct Serve {
    /// The unix socket; 'off' for none [variable: SIDEKEY_LISTEN_SOCKET; default: /run/sidekey/sidekey.sock as root, else under $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// A loopback address, such as 127.0.0.1:7733 [variable: SIDEKEY_LISTEN_TCP; default: off]
    #[arg(long, value_name = "ADDRESS")]
    tcp: Option<String>,
    /// The file with the token that TCP asks for; made if it does not exist [variable: SIDEKEY_LISTEN_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) async fn run(args: &Serve, context: &Context) -> Result<(), Failure> {
    let token_file = args.token_file.as_ref().map(|file| file.display().to_string());
    let flags = [
        ("listen.socket", "--socket", args.socket.clone()),
        ("listen.tcp", "--tcp", args.tcp.clone()),
        ("listen.token_file", "--token-file", token_file),
    ];
    let flags = flags.into_iter().filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value? }));
    let config = context.config(flags.collect())?;
    trace::start(&config.log, context.global.verbose);
    folder::prepare(&config, context)?;
    let open = Open::bind(&config)?;
    let sidecar = Sidecar::start(&config).await?;
    for settings in &config.sources {
        tell_source(settings);
    }
    for listener in &open.listeners {
        tracing::info!(address = listener.address(), "listening");
    }
    let catalog = sidecar.catalog.clone();
    let told = async {
        catalog.first_round().await;
        tell_vaults(&catalog);
        std::future::pending().await
    };
    tokio::select! {
        () = told => {}
        () = open.serve(&sidecar, context) => {}
    }
    sidecar.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Addresses that are bound, and what guards them.
pub(super) struct Open {
    pub(super) listeners: Vec<Listener>,
    guard: Guard,
}

impl Open {
    /// Binds all that the configuration names.
    pub(super) fn bind(config: &Config) -> Result<Self, Failure> {
        let mut listeners = Vec::new();
        let mut guard = Guard::new(None);
        if let Some(socket) = &config.listen.socket {
            listeners.push(bind_unix(socket).map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?);
        }
        if let Some(tcp) = config.listen.tcp {
            let token = Token::load_or_create(&config.listen.token_file)
                .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
            guard = Guard::new(Some(token.digest()));
            listeners.extend(bind_tcp(tcp).map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?);
        }
        Ok(Self { listeners, guard })
    }

    /// Serves until the process is told to stop.
    pub(super) async fn serve(self, sidecar: &Sidecar, context: &Context) {
        let (router, metrics) = (sidecar.router.clone(), sidecar.metrics.clone());
        let options = ServeOptions { connections: places(self.listeners.len()), ..ServeOptions::default() };
        crate::api::serve(self.listeners, router, self.guard, metrics, options, context.shutdown.clone()).await;
    }
}

/// Connections to each listener, so that all of them together leave file descriptors for the vaults: who fills one
/// listener, as anybody on the machine may fill TCP, must not keep the callers of another out. The soft limit on
/// descriptors is for programs that use `select`; it is raised to the hard one.
fn places(listeners: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (limit / 4 * 3 / listeners.max(1)).clamp(1, ServeOptions::default().connections)
}

fn tell_source(settings: &AzureSettings) {
    tracing::info!(source = %settings.name, identity = super::check::identity(&settings.identity), "signing in");
}

/// What the first round found, and each vault that cannot be used, with the reason.
fn tell_vaults(catalog: &Catalog) {
    let vaults = catalog.vaults();
    let (mut listed, mut secrets) = (0, 0);
    for vault in &vaults {
        secrets += vault.known.map_or(0, |known| known.secrets);
        let reason = match &vault.reach {
            Reach::Listed => {
                listed += 1;
                continue;
            }
            Reach::NotYetListed => continue,
            Reach::Skipped(reason) => reason.to_string(),
            Reach::ListingFailed(error) => error.to_string(),
        };
        tracing::warn!(vault = %vault.address, reason = vault.reach.code(), "cannot be listed: {reason}");
    }
    tracing::info!(vaults = vaults.len(), listed, secrets, "first round done");
}
