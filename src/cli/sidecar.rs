//! The sidecar as one thing: sources, catalog, broker and routes, built from a configuration by one path for `serve`,
//! `demo` and `--direct`. What serves keeps all current; what answers one command asks for no more than that needs, as
//! `docker run … get VAULT NAME` must not list every vault of a company to read one value.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::client::{Answer, Request};
use super::open::places;
use super::terminal::stderr_is_terminal;
use super::{Context, Exit, Failure};
use crate::access::audit::{Audit, Book};
use crate::api::State;
use crate::broker::{Broker, Keeper};
use crate::budget::{BudgetOptions, BudgetedSource, Budgets};
use crate::cache;
use crate::catalog::{Catalog, CatalogOptions, Lookup, Reach};
use crate::clock::Moment;
use crate::config::{Config, SnapshotFiles};
use crate::credentials::Credentials;
use crate::metrics::Metrics;
use crate::secret::VaultName;
use crate::snapshot::{Key, Snapshot};
use crate::tasks::keep;
use crate::vaults::Source;
use crate::vaults::azure::{AzureSettings, AzureSource, SystemRoots};

/// A sidecar without listeners. Dropping it stops what runs for it.
pub(super) struct Sidecar {
    pub(super) catalog: Catalog,
    broker: Broker,
    pub(super) metrics: Metrics,
    state: State,
    inherited: Inherited,
    tasks: TaskTracker,
    /// The catalog is kept current by itself.
    runs: AtomicBool,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// What a successor goes on with, whatever its configuration.
#[derive(Clone)]
struct Inherited {
    metrics: Metrics,
    /// Sidecars of a fleet start in the same second; what they do at an interval must not fall together.
    seed: u64,
    /// When the first of them began.
    began: Moment,
    /// What was spent, and which vaults are to be left alone.
    budgets: Option<Budgets>,
    /// Where reads are recorded: one and the same for all that answer in this process.
    audit: Audit,
}

/// Between two looks at whether what was declared is there.
const LOOK: Duration = Duration::from_millis(50);

/// What was read is recorded by then, or cannot be.
const LAST_LINES: Duration = Duration::from_secs(5);

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
        let mut sidecar = Self::idle(&with_room(config))?;
        if let Some(mut keeper) = sidecar.keeper(config)? {
            keeper.restore().await;
            sidecar.inherited.began = keeper.began();
            sidecar.keep_on_disk(keeper);
        }
        sidecar.run();
        Ok(sidecar)
    }

    /// One of another configuration that is to stand in this one's place: it counts on where this one does, begins with
    /// what this one knows of the sources that `keeps` lets through, and is told of them whatever this one is told.
    pub(super) fn successor(
        &self,
        config: &Config,
        keeps: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let next = Self::heir(&with_room(config), self.inherited.clone())?;
        next.recall(self, &keeps);
        let keeps = move |key: &cache::Key| key.vault.as_str().split_once(':').is_some_and(|(source, _)| keeps(source));
        self.broker.cache().bequeath(next.broker.cache(), keeps);
        next.run();
        Ok(next)
    }

    /// Readers are sent to that successor now: it is told which values are in use, and of the vaults that were found
    /// since it was made and that it has not found itself, or what is held of them could not be served.
    pub(super) fn hand_over(&self, next: &Self, keeps: impl Fn(&str) -> bool) {
        next.recall(self, keeps);
        self.broker.cache().tell_use();
    }

    fn recall(&self, before: &Self, keeps: impl Fn(&str) -> bool) {
        let known = before.catalog.known();
        self.catalog.recall(known.into_iter().filter(|vault| keeps(vault.info.source.as_str())).collect());
    }

    fn idle(config: &Config) -> Result<Self, Failure> {
        let seed = RandomState::new().build_hasher().finish();
        let first = Inherited {
            metrics: Metrics::default(),
            seed,
            began: Moment::now(),
            budgets: None,
            audit: Audit::default(),
        };
        let sidecar = Self::heir(config, first)?;
        sidecar.inherited.audit.turn_to(book(config, &sidecar.metrics)?);
        Ok(sidecar)
    }

    fn heir(config: &Config, mut inherited: Inherited) -> Result<Self, Failure> {
        let Inherited { metrics, seed, .. } = inherited.clone();
        let options = BudgetOptions { seed, ..config.budget.clone() };
        let budgets = inherited.budgets.take().filter(|budgets| *budgets.options() == options);
        let budgets = budgets.unwrap_or_else(|| Budgets::new(options, metrics.clone()));
        inherited.budgets = Some(budgets.clone());
        let catalog_options = CatalogOptions { seed, ..config.catalog.clone() };
        let mut broker_options = config.broker.clone();
        broker_options.cache.seed = seed;
        let catalog = Catalog::counted(sources(config, &budgets, &metrics)?, catalog_options, metrics.clone());
        let broker = Broker::new(catalog.clone(), broker_options, metrics.clone());
        let state = State::audited(broker.clone(), metrics.clone(), inherited.audit.clone());
        let state = state.with_aws(config.aws.as_slice());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let runs = AtomicBool::new(false);
        Ok(Self {
            catalog,
            broker,
            metrics,
            state,
            inherited,
            tasks,
            runs,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Keeps everything current from now on.
    fn run(&self) {
        if !self.runs.swap(true, Ordering::AcqRel) {
            let (catalog, broker, stop) = (self.catalog.clone(), self.broker.clone(), self.stop.clone());
            self.keep("catalog", move || catalog.clone().run(stop.clone()));
            let stop = self.stop.clone();
            self.keep("renewal", move || broker.clone().run(stop.clone()));
        }
    }

    /// What writes what is held to disk, if the configuration wants that.
    pub(super) fn keeper(&self, config: &Config) -> Result<Option<Keeper>, Failure> {
        let Some(files) = &config.snapshot else { return Ok(None) };
        Ok(Some(Keeper::new(self.broker.clone(), snapshot(files, config)?, self.inherited.began)))
    }

    /// Lets it write from now on.
    pub(super) fn keep_on_disk(&self, keeper: Keeper) {
        let stop = self.stop.clone();
        self.keep("snapshot", move || keeper.clone().run(stop.clone()));
    }

    /// Resolves when its sources were asked and `/readyz` would say so.
    ///
    /// # Errors
    /// If all of them were asked, and every vault that they told of, and none has answered: why.
    pub(super) async fn ready(&self) -> Result<(), String> {
        while !self.state.is_settled() {
            let progress = *self.catalog.progress().borrow();
            if let (true, Some(why)) = (progress.is_shut_out(), self.state.waiting_for()) {
                return Err(why);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// That one will not stand in this one's place after all.
    pub(super) async fn disown(&self, successor: Self) {
        self.broker.cache().disinherit();
        successor.stop().await;
    }

    /// Runs it beside the others, and gets it up again when it falls.
    fn keep<F>(&self, task: &'static str, begin: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let metrics = self.metrics.clone();
        self.tasks.spawn(async move { keep(task, &metrics, begin).await });
    }

    /// From now on, reads are recorded as in that book, or not at all. What was recorded is written first.
    pub(super) async fn record_in(&self, book: Option<Book>) {
        self.inherited.audit.turn_to(book);
        self.recorded().await;
    }

    /// Resolves when all that was read is recorded; a sink that takes nothing is not waited for long.
    pub(super) async fn recorded(&self) {
        if timeout(LAST_LINES, self.inherited.audit.flush()).await.is_err() {
            tracing::error!("the last lines of the audit could not be written in time");
        }
    }

    /// What is served.
    pub(super) fn state(&self) -> State {
        self.state.clone()
    }

    /// What units of systemd are given, by that configuration.
    pub(super) fn credentials(&self, config: &Config) -> Credentials {
        Credentials::new(self.broker.clone(), self.inherited.audit.clone(), config.credentials.clone())
    }

    /// Ends what runs for it, and waits for that.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.recorded().await;
    }

    /// Resolves when no vault is being read.
    pub(super) async fn landed(&self) {
        self.broker.landed().await;
    }

    /// The routes, called without a network between.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let (head, body) = self.open(request).await?.into_parts();
        let body = body.collect().await.map_err(|_| broken())?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The same, with a body that is still to come.
    pub(super) async fn open(&self, request: &Request<'_>) -> Result<axum::response::Response, Failure> {
        let mut sent = axum::http::Request::builder().method(request.method()).uri(request.target());
        for (name, value) in request.headers() {
            sent = sent.header(name, value);
        }
        let sent = sent.body(axum::body::Body::from(request.body())).map_err(|_| broken())?;
        match crate::api::router(self.state.clone()).oneshot(sent).await {
            Ok(answer) => {
                // The process may end with this answer.
                self.recorded().await;
                Ok(answer)
            }
            Err(never) => match never {},
        }
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
        let found = self
            .reach(bar, |_| !matches!(self.catalog.vault(vault), Lookup::NotYet) && !self.catalog.is_in_doubt(vault));
        if self.runs.load(Ordering::Acquire) {
            return found.await;
        }
        tokio::select! {
            // A vault that the configuration names need not be looked for.
            biased;
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

fn broken() -> Failure {
    Failure::new(Exit::Unavailable, "the request cannot be made")
}

/// A stream of events keeps its connection for as long as it likes: most connections are left to others. Nor may listings
/// take what few files may be open, if few may.
fn with_room(config: &Config) -> Config {
    let mut config = config.clone();
    config.broker.watchers = config.broker.watchers.min(places(config.connections) / 4).max(1);
    let listings = &mut config.catalog.listings_at_once;
    *listings = (places(*listings * 4) / 4).max(1);
    config
}

/// The configured sources, ready to be asked, within their budgets.
fn sources(config: &Config, budgets: &Budgets, metrics: &Metrics) -> Result<Vec<Arc<dyn Source>>, Failure> {
    let roots = SystemRoots::read();
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    for settings in &config.sources {
        let source = BudgetedSource::new(Arc::new(azure(settings, metrics, &roots)?), budgets.clone());
        sources.push(Arc::new(source));
    }
    Ok(sources)
}

/// One source of Azure.
pub(super) fn azure(settings: &AzureSettings, metrics: &Metrics, roots: &SystemRoots) -> Result<AzureSource, Failure> {
    AzureSource::counted(settings.clone(), metrics.clone(), roots)
        .map_err(|error| Failure::new(Exit::Config, format!("source {}: {error}", settings.name)))
}

/// Where reads are to be recorded, if the configuration wants that.
pub(super) fn book(config: &Config, metrics: &Metrics) -> Result<Option<Book>, Failure> {
    let book = config.audit.as_ref().map(|options| Book::open(options, metrics)).transpose();
    book.map_err(|error| Failure::new(Exit::Config, format!("audit: {error}")))
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
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self(bar)
    }

    fn show(&self, progress: crate::catalog::Progress) {
        let Some(bar) = &self.0 else { return };
        let crate::catalog::Progress { discovery_done, vaults, listed, failed, secrets, .. } = progress;
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
