//! `serve`: the sidecar itself. Everything that can be wrong is found before the first address is bound.

use std::path::PathBuf;
use std::sync::PoisonError;

use super::open::Open;
use super::reload::Reload;
use super::sidecar::Sidecar;
use super::systemd::Systemd;
use super::{Context, Failure, folder, trace};
use crate::api::Api;
use crate::catalog::{Catalog, Reach};
use crate::config::Flag;
use crate::credentials;
use crate::tasks::keep;
use crate::vaults::azure::AzureSettings;
use clap::Args;
use futures::FutureExt as _;
use tokio::task::JoinSet;

/// Run the sidecar: sign in, find the vaults, and serve their secrets until told to stop (SIGTERM, or Ctrl-C). SIGHUP: read
/// the configuration again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey serve
  sidekey serve --config /etc/sidekey/sidekey.toml --tcp 127.0.0.1:7733
  sidekey serve --take-over                     in the place of one that runs, without a failed read")]
pub struct Serve {
    /// The unix socket; 'off' for none [variable: SIDEKEY_LISTEN_SOCKET; default: /run/sidekey/sidekey.sock as root, else under $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// A loopback address, such as 127.0.0.1:7733; any other only with listen.tls [variable: SIDEKEY_LISTEN_TCP; default: off]
    #[arg(long, value_name = "ADDRESS")]
    tcp: Option<String>,
    /// The file with the token that TCP asks for; made if it does not exist [variable: SIDEKEY_LISTEN_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// If a sidecar serves the socket already, take it over from that one once this one is ready, without a moment
    /// between; then end the other with SIGTERM
    #[arg(long)]
    take_over: bool,
}

impl Serve {
    /// What this command line sets over the configuration.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let token_file = self.token_file.as_ref().map(|file| file.display().to_string());
        let flags = [
            ("listen.socket", "--socket", self.socket.clone()),
            ("listen.tcp", "--tcp", self.tcp.clone()),
            ("listen.token_file", "--token-file", token_file),
        ];
        flags.into_iter().filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value? })).collect()
    }
}

pub(super) async fn run(args: &Serve, context: &Context) -> Result<(), Failure> {
    let flags = args.flags();
    let config = context.config(flags.clone())?;
    trace::start(&config.log, context.global.verbose);
    context.protection.tell();
    folder::prepare(&config, context)?;
    let passed = std::mem::take(&mut *context.passed.lock().unwrap_or_else(PoisonError::into_inner));
    let mut open = if args.take_over { Open::beside(&config)? } else { Open::passed(&config, passed)? };
    let mut sidecar = Sidecar::start(&config).await?;
    for settings in &config.sources {
        tell_source(settings);
    }
    open.tell();
    let systemd = Systemd::of(&context.vars);
    systemd.listening().await;
    // On a worker of the runtime, where what is to be watched runs too.
    let mut watchdog = JoinSet::new();
    watchdog.spawn(systemd.clone().watchdog());
    let (catalog, metrics, api) = (sidecar.catalog.clone(), sidecar.metrics.clone(), Api::new(sidecar.state()));
    let told = async {
        catalog.first_round().await;
        tell_vaults(&catalog);
        std::future::pending::<()>().await
    };
    let guard = open.guard();
    let tokens = keep("tokens", &metrics, || guard.access().keep_current(context.shutdown.clone()));
    let credentials = sidecar.credentials(&config);
    let units = match open.credentials.take() {
        Some(listener) => {
            let (grace, shutdown) = (config.drain, context.shutdown.clone());
            credentials::serve(listener, credentials.clone(), metrics.clone(), grace, shutdown).left_future()
        }
        None => std::future::ready(()).right_future(),
    };
    let units = async {
        units.await;
        Ok(())
    };
    let reload = Reload::new(context, flags, config, api.clone(), open.guard(), credentials);
    let stopping = async {
        context.shutdown.cancelled().await;
        tracing::info!("told to stop; finishing what is under way");
        systemd.stopping().await;
        Ok(())
    };
    // It ends when it was told to stop, or fails; that it stops is told even if there is nothing to finish.
    let serving = async { tokio::try_join!(open.serve(api, metrics.clone(), context), units, stopping).map(drop) };
    let outcome = tokio::select! {
        () = told => Ok(()),
        () = async { tokens.await; std::future::pending().await } => Ok(()),
        () = reload.run(&mut sidecar) => Ok(()),
        outcome = serving => outcome,
    };
    sidecar.stop().await;
    tracing::info!("stopped");
    outcome
}

fn tell_source(settings: &AzureSettings) {
    tracing::info!(source = %settings.name, identity = super::check::identity(&settings.identity), "signing in");
}

/// What the first round found, and each vault that is not asked at all, with the reason. Of those that were asked in vain
/// the catalog has told.
fn tell_vaults(catalog: &Catalog) {
    let vaults = catalog.vaults();
    let (mut listed, mut secrets) = (0, 0);
    for vault in &vaults {
        secrets += vault.known.map_or(0, |known| known.secrets);
        match &vault.reach {
            Reach::Listed => listed += 1,
            Reach::NotYetListed | Reach::ListingFailed(_) => {}
            Reach::Skipped(reason) => {
                tracing::warn!(vault = %vault.info.id(), reason = reason.code(), "vault not asked: {reason}");
            }
        }
    }
    tracing::info!(vaults = vaults.len(), listed, secrets, "first round done");
}
