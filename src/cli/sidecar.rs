//! The sidecar as one thing: sources, catalog, broker and routes, built from a configuration by one path for `serve`,
//! `demo` and `--direct`. What serves keeps all current; what answers one command asks for no more than that needs, as
//! `docker run … get VAULT NAME` must not list every vault of a company to read one value.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use http_body_util::BodyExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::client::{Answer, Request};
use super::terminal::stderr_is_terminal;
use super::{Context, Exit, Failure};
use crate::api::State;
use crate::broker::{Broker, Keeper};
use crate::catalog::{Catalog, CatalogOptions, Lookup, Reach};
use crate::config::{Config, SnapshotFiles};
use crate::metrics::Metrics;
use crate::secret::VaultName;
use crate::snapshot::{Key, Snapshot};
use crate::vaults::Source;
use crate::vaults::azure::{AzureSettings, AzureSource};

/// A sidecar without listeners. Dropping it stops what runs for it.
pub(super) struct Sidecar {
    pub(super) catalog: Catalog,
    broker: Broker,
    pub(super) metrics: Metrics,
    pub(super) router: Router,
    tasks: TaskTracker,
    /// The catalog is kept current by itself.
    runs: AtomicBool,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// What a command needs to be known before it can be answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need<'a> {
    /// Where that vault is.
    Vault(&'a VaultName),
    /// What that vault holds.
    Listing(&'a VaultName),
    /// What every vault holds.
    Everything,
}

impl Sidecar {
    /// Of the configuration that the context leads to. Asks nobody before [`Sidecar::prepare`].
    pub(super) fn of_config(context: &Context) -> Result<Self, Failure> {
        Self::idle(&context.config(Vec::new())?)
    }

    /// Takes in what the snapshot holds, if there is one, and starts to look for vaults, to list them, and to keep what is
    /// known current. Needs a runtime.
    pub(super) async fn start(config: &Config) -> Result<Self, Failure> {
        let sidecar = Self::idle(config)?;
        if let Some(files) = &config.snapshot {
            let keeper = Keeper::new(sidecar.broker.clone(), snapshot(files, config)?);
            keeper.restore().await;
            sidecar.tasks.spawn(keeper.run(sidecar.stop.clone()));
        }
        sidecar.run();
        Ok(sidecar)
    }

    fn idle(config: &Config) -> Result<Self, Failure> {
        let metrics = Metrics::default();
        // Sidecars of a fleet start in the same second; what they do at an interval must not fall together.
        let seed = RandomState::new().build_hasher().finish();
        let catalog_options = CatalogOptions { seed, ..config.catalog.clone() };
        let mut broker_options = config.broker.clone();
        broker_options.cache.seed = seed;
        let catalog = Catalog::counted(sources(config, &metrics)?, catalog_options, metrics.clone());
        let broker = Broker::new(catalog.clone(), broker_options, metrics.clone());
        let router = crate::api::router(State::new(broker.clone(), metrics.clone()));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let runs = AtomicBool::new(false);
        Ok(Self { catalog, broker, metrics, router, tasks, runs, _stop_when_dropped: stop.clone().drop_guard(), stop })
    }

    /// Keeps everything current from now on.
    fn run(&self) {
        if !self.runs.swap(true, Ordering::AcqRel) {
            self.tasks.spawn(self.catalog.clone().run(self.stop.clone()));
            self.tasks.spawn(self.broker.clone().run(self.stop.clone()));
        }
    }

    /// Ends what runs for it, and waits for that.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The routes, called without a network between.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let broken = || Failure::new(Exit::Unavailable, "the request cannot be made");
        let mut sent = axum::http::Request::builder().method(Method::GET).uri(request.target());
        for (name, value) in request.headers() {
            sent = sent.header(name, value);
        }
        let sent = sent.body(axum::body::Body::empty()).map_err(|_| broken())?;
        let answer = match self.router.clone().oneshot(sent).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| broken())?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Asks for that much, waits until it is known, and no longer; shows how far it is where somebody looks at stderr.
    pub(super) async fn prepare(&self, need: Need<'_>) {
        let bar = Progress::new();
        match need {
            Need::Vault(vault) => self.find(vault, &bar).await,
            Need::Listing(vault) => {
                self.find(vault, &bar).await;
                if !self.runs.load(Ordering::Acquire) {
                    self.catalog.refresh(Some(vault)).await;
                }
                self.reach(&bar, |_| {
                    let status = self.catalog.status(vault);
                    status.is_none_or(|status| !matches!(status.reach, Reach::NotYetListed))
                })
                .await;
            }
            Need::Everything => {
                self.run();
                self.reach(&bar, |progress| {
                    progress.discovery_done && progress.listed + progress.failed >= progress.vaults
                })
                .await;
            }
        }
    }

    /// Looks for vaults until it is known whether that one is among them. The sources that are not done by then are
    /// left to themselves.
    async fn find(&self, vault: &VaultName, bar: &Progress) {
        let found = self.reach(bar, |_| !matches!(self.catalog.vault(vault), Lookup::NotYet));
        if self.runs.load(Ordering::Acquire) {
            return found.await;
        }
        tokio::select! {
            () = found => {}
            () = self.catalog.discover() => {}
        }
    }

    async fn reach(&self, bar: &Progress, mut enough: impl FnMut(&crate::catalog::Progress) -> bool) {
        let mut progress = self.catalog.progress();
        let reached = progress.wait_for(|progress| {
            bar.show(*progress);
            enough(progress)
        });
        // The catalog lives as long as we do: this cannot end early.
        let _ = reached.await;
    }
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// The configured sources, ready to be asked.
pub(super) fn sources(config: &Config, metrics: &Metrics) -> Result<Vec<Arc<dyn Source>>, Failure> {
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    for settings in &config.sources {
        sources.push(Arc::new(azure(settings, metrics)?));
    }
    Ok(sources)
}

/// One source of Azure.
pub(super) fn azure(settings: &AzureSettings, metrics: &Metrics) -> Result<AzureSource, Failure> {
    AzureSource::counted(settings.clone(), metrics.clone())
        .map_err(|error| Failure::new(Exit::Config, format!("source {}: {error}", settings.name)))
}

/// The snapshot of the identities that this configuration signs in with.
fn snapshot(files: &SnapshotFiles, config: &Config) -> Result<Snapshot, Failure> {
    let key = Key::load_or_create(&files.key_file)
        .map_err(|error| Failure::new(Exit::Config, format!("cache.snapshot: {error}")))?;
    let mut identities: Vec<_> = config.sources.iter().map(AzureSettings::principal).collect();
    identities.sort_unstable();
    Ok(Snapshot::new(&files.file, key, identities.join("\n").as_bytes()))
}

/// A line on stderr that follows the first round; nothing where nobody looks.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new() -> Self {
        let bar = stderr_is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}").expect("a constant template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
            bar
        });
        Self(bar)
    }

    fn show(&self, progress: crate::catalog::Progress) {
        let Some(bar) = &self.0 else { return };
        let crate::catalog::Progress { discovery_done, vaults, listed, failed, secrets, recalled: _, reached: _ } =
            progress;
        bar.set_message(if discovery_done {
            format!("{} of {vaults} vaults listed, {secrets} secrets", listed + failed)
        } else {
            "looking for vaults".to_owned()
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
