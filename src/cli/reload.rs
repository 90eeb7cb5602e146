//! SIGHUP: the configuration is read again while the sidecar serves.
//!
//! A new sidecar without listeners is built of it, begins with all that the old one knows and holds, and looks for its
//! vaults; when it is ready it takes the old one's place behind the same listeners, between two requests. What the old
//! one learns until then, and from reads still under way, is handed on as it learns it.
//!
//! Must never happen: a read that fails because of it, or a value read again; a configuration with a fault taken in, or
//! in part; a setting that cannot change passed over in silence; a value handed on to another identity than the one that
//! was allowed to read it; what is held given up for a configuration that reaches no vault.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::Context;
use super::sidecar::{Sidecar, book};
use super::systemd::Systemd;
use crate::access::AccessSettings;
use crate::api::{Api, Guard};
use crate::config::{Config, Flag};
use crate::credentials::Credentials;

/// What reloads.
pub(super) struct Reload<'a> {
    context: &'a Context,
    flags: Vec<Flag>,
    /// What is in force now.
    config: Config,
    api: Api,
    guard: Guard,
    credentials: Credentials,
}

/// A sidecar that does not become ready by then takes the old one's place all the same: it may be that what it is asked
/// to hold does not exist.
const PATIENCE: Duration = Duration::from_secs(30);
/// Reads under way end sooner, by their own limits.
const LAST_READS: Duration = Duration::from_secs(60);

impl<'a> Reload<'a> {
    pub(super) fn new(
        context: &'a Context,
        flags: Vec<Flag>,
        config: Config,
        api: Api,
        guard: Guard,
        credentials: Credentials,
    ) -> Self {
        Self { context, flags, config, api, guard, credentials }
    }

    /// Reloads whenever it is asked for, until it is dropped. `sidecar` is always the one that serves.
    pub(super) async fn run(mut self, sidecar: &mut Sidecar) {
        loop {
            self.context.reload.notified().await;
            tracing::info!("reading the configuration again");
            let systemd = Systemd::of(&self.context.vars);
            systemd.reloading().await;
            let metrics = sidecar.metrics.clone();
            match self.once(sidecar).await {
                Ok(()) => metrics.reloaded("ok"),
                Err(faults) => {
                    metrics.reloaded("refused");
                    for fault in faults {
                        tracing::error!("the new configuration is not taken in: {fault}");
                    }
                    tracing::error!("the configuration from before stays in force");
                }
            }
            systemd.listening().await;
        }
    }

    /// Everything that can be wrong is found before anything is changed.
    async fn once(&mut self, sidecar: &mut Sidecar) -> Result<(), Vec<String>> {
        let faults = |faults: crate::config::Faults| faults.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = self.context.configuration(self.flags.clone()).map_err(faults)?;
        self.check_sandbox(&config)?;
        let access = self.guard.access().reload(&self.access(&config)).map_err(|error| vec![error.to_string()])?;
        let same: BTreeSet<String> = self.same_principals(&config);
        let keeps = move |source: &str| same.contains(source);
        let book = book(&config, &sidecar.metrics).map_err(|failure| vec![failure.message])?;
        let next = sidecar.successor(&config, keeps.clone()).map_err(|failure| vec![failure.message])?;
        let tried = match next.keeper(&config) {
            Ok(keeper) => match timeout(PATIENCE, next.ready()).await {
                // A mistyped identity, or Azure is away: what the old one holds is better than nothing.
                Ok(Err(why)) => Err(format!("with it, {why}")),
                Ok(Ok(())) => Ok(keeper),
                Err(_elapsed) => {
                    tracing::warn!(
                        "with the new configuration, not all is ready in time; /readyz?verbose tells what is missing"
                    );
                    Ok(keeper)
                }
            },
            Err(failure) => Err(failure.message),
        };
        let keeper = match tried {
            Ok(keeper) => keeper,
            Err(fault) => {
                sidecar.disown(next).await;
                return Err(vec![fault]);
            }
        };
        sidecar.hand_over(&next, keeps);
        // First who may what: a stream that is opened by the old rules ends with the old sidecar.
        self.guard.access().replace(&access);
        sidecar.record_in(book).await;
        self.api.replace(next.state());
        self.credentials.replace(&next.credentials(&config));
        let before = std::mem::replace(sidecar, next);
        self.tell_what_stays(&config);
        let (vaults, sources) = (sidecar.catalog.vaults().len(), config.sources.len());
        tracing::info!(sources, vaults, "the new configuration is in force");
        let Config { listen, log, drain, sandbox, connections, requests, .. } = self.config.clone();
        self.config = Config { listen, log, drain, sandbox, connections, requests, ..config };
        // It writes what it holds a last time: only one of both may write.
        before.stop().await;
        if let Some(keeper) = keeper {
            sidecar.keep_on_disk(keeper);
        }
        // Nobody begins to read there any more. What was being read is handed on as it lands.
        if timeout(LAST_READS, before.landed()).await.is_err() {
            tracing::warn!("reads from before the configuration changed do not end");
        }
        Ok(())
    }

    /// What was given up at the start cannot be had again.
    fn check_sandbox(&self, config: &Config) -> Result<(), Vec<String>> {
        let Some((needs, report)) = &self.context.protection.sandbox else { return Ok(()) };
        if report.is_off() {
            return Ok(());
        }
        let beyond = super::confine::needs(config, &self.context.vars, self.context.uid).beyond(needs);
        if beyond.is_empty() {
            return Ok(());
        }
        Err(vec![format!("it needs what this process gave up at its start, and so a restart: {}", beyond.join(", "))])
    }

    /// Who may do what by that configuration, on the addresses that stay bound. The token for TCP stays the same file's.
    fn access(&self, config: &Config) -> AccessSettings {
        let clients = config.access.clients.clone();
        let token_file = self.config.listen.tcp.filter(|_| clients.is_empty() && self.config.listen.takes_token());
        AccessSettings { clients, token_file: token_file.map(|_| self.config.listen.token_file.clone()) }
    }

    /// The sources that are the same to their vaults, before and after.
    fn same_principals(&self, config: &Config) -> BTreeSet<String> {
        let before = &self.config.sources;
        let same = config.sources.iter().filter(|source| before.iter().any(|old| old.is_same_principal(source)));
        same.map(|source| source.name.to_string()).collect()
    }

    /// What is bound at the start, and stays so.
    fn tell_what_stays(&self, config: &Config) {
        let (old, new) = (&self.config, config);
        for (key, same) in [
            ("listen.socket, listen.mode, listen.group", old.listen.socket == new.listen.socket),
            ("listen.tcp", old.listen.tcp == new.listen.tcp),
            ("listen.token_file", old.listen.token_file == new.listen.token_file),
            ("listen.tls", old.listen.tls == new.listen.tls),
            ("listen.credentials", old.listen.credentials == new.listen.credentials),
            ("listen.metrics", old.listen.metrics == new.listen.metrics),
            ("limits.drain_timeout", old.drain == new.drain),
            ("limits.connections, limits.requests", (old.connections, old.requests) == (new.connections, new.requests)),
            ("sandbox", old.sandbox == new.sandbox),
            ("log", old.log == new.log),
        ] {
            if !same {
                tracing::warn!(key, "changed, which needs a restart to take effect");
            }
        }
    }
}
