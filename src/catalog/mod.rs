//! What exists: every vault, and every secret's metadata, kept current by discovery and by listing each vault at an
//! interval. Never a value: a listing has no room for one.
//!
//! - `directory` merges rounds of discovery and gives addresses; `record` is what is known of one vault, `segment` (and
//!   `texts`) how it is packed; `listing` lists one vault, `incoming` takes in what it brings, `rounds` runs all of it.
//! - `query` is what can be asked, `matcher` finds names, `filter` lets rows through, `order` keeps the first
//!   of them, `doubt` tells what the answer does without, `search` puts it together, `cursor` is where a page ended.
//!
//! What must never happen: a partial answer that looks whole (whatever could not be asked is named with its reason and
//! the age of what is known); knowledge lost because of a failure; an address that comes to mean another vault; one
//! vault's slowness or failure reaching another.
//!
//! Reading never waits: every answer is made from what is in memory now.

mod cursor;
mod directory;
mod doubt;
mod filter;
mod incoming;
mod listing;
mod matcher;
mod news;
mod order;
mod progress;
mod query;
mod record;
mod rounds;
mod search;
mod segment;
mod status;
mod texts;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, watch};

pub use news::{Change, Listing};
pub use query::{BadQuery, Matching, Query, Sort, SortKey, TagFilter};
pub use search::{Hit, Page, SecretsPage};
pub use status::{
    DiscoveryFault, Doubtful, Entry, Holder, Holders, KnownContent, Lookup, Progress, Reach, ReadState, SkippedVault,
    Speaker, Unanswered, VaultStatus,
};

use crate::clock::Moment;
use crate::metrics::Metrics;
pub use crate::rights::{BadPattern, Pattern};
use crate::rights::{Rights, Verb};
use crate::secret::{Metadata, SecretName, VaultName};
use crate::vaults::{Source, VaultError, VaultInfo};
use directory::{Directory, Rounds};
use progress::Stage;
use record::Standing;
use segment::Segment;

/// How often the catalog looks, and how hard.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Between two rounds of discovery of a source; 10 minutes.
    pub discovery_interval: Duration,
    /// Between two listings of a vault, give or take a tenth so that vaults spread; 60 seconds.
    pub listing_interval: Duration,
    /// Vaults listed side by side; 192. Each takes up to 0.3 MB while it is listed, and a sidecar has 128 MiB: of 1,000 vaults
    /// 20 ms away, more of them at once saved nothing. A vault that stalls does not count.
    pub listings_at_once: usize,
    /// What the spread of intervals is drawn from; another one in each sidecar.
    pub seed: u64,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            discovery_interval: Duration::from_secs(600),
            listing_interval: Duration::from_secs(60),
            listings_at_once: 192,
            seed: 0,
        }
    }
}

/// What is known of one vault, apart from any process.
#[derive(Debug, Clone)]
pub struct KnownVault {
    /// The vault.
    pub info: VaultInfo,
    /// When its last whole listing began; `None` if there was none.
    pub listed: Option<Moment>,
    /// What that showed.
    pub secrets: Vec<Metadata>,
}

/// The catalog: a cheap handle, clones share it. Nothing runs before [`Catalog::run`], [`Catalog::discover`] or
/// [`Catalog::refresh`].
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    options: CatalogOptions,
    sources: Vec<Arc<dyn Source>>,
    /// One round of a source at a time; what was told of the last.
    turns: Vec<tokio::sync::Mutex<Option<rounds::Told>>>,
    rounds: Mutex<Rounds>,
    directory: ArcSwap<Directory>,
    /// A directory with new vaults in it was stored.
    changed: Notify,
    progress: watch::Sender<Progress>,
    /// What of it is waited for: nobody who does is woken for every listing of a thousand.
    stage: watch::Sender<Stage>,
    slots: Semaphore,
    metrics: Metrics,
    observers: Mutex<Vec<Observer>>,
}

/// Told of every listing that ended, on the task that listed.
type Observer = Arc<dyn Fn(&Listing) + Send + Sync>;

impl Catalog {
    /// A catalog of what these sources hold. The order of sources decides which vault has a bare name that several
    /// sources know.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn Source>>, options: CatalogOptions) -> Self {
        Self::counted(sources, options, Metrics::default())
    }

    /// The same, with its listings and rounds of discovery counted.
    #[must_use]
    pub fn counted(sources: Vec<Arc<dyn Source>>, options: CatalogOptions, metrics: Metrics) -> Self {
        let mut rounds = Rounds::new(sources.iter().map(|source| source.name().clone()));
        for (index, source) in sources.iter().enumerate() {
            rounds.name(index, source.named());
        }
        let progress = Progress { discovery_done: sources.is_empty(), ..Progress::default() };
        let shared = Shared {
            turns: sources.iter().map(|_| tokio::sync::Mutex::default()).collect(),
            directory: ArcSwap::from_pointee(rounds.directory()),
            rounds: Mutex::new(rounds),
            changed: Notify::new(),
            progress: watch::Sender::new(progress),
            stage: watch::Sender::default(),
            slots: Semaphore::new(options.listings_at_once.max(1)),
            options,
            sources,
            metrics,
            observers: Mutex::default(),
        };
        // Those that the configuration names.
        shared.count_progress();
        Self { shared: Arc::new(shared) }
    }

    /// Tells `observer` of every listing that ends from now on. It is called on the task that listed and must be quick.
    pub fn observe(&self, observer: impl Fn(&Listing) + Send + Sync + 'static) {
        self.shared.lock_observers().push(Arc::new(observer));
    }

    /// Resolves when every source has finished its first round of discovery, well or not.
    pub async fn discovered(&self) {
        self.until(|stage| stage.discovered).await;
    }

    /// Resolves when discovery is done and every vault it found was listed, or failed to be, once.
    pub async fn first_round(&self) {
        self.until(|stage| stage.listed).await;
    }

    /// How far the first round is.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// The vault of that address, bare or `source:vault`.
    #[must_use]
    pub fn vault(&self, name: &VaultName) -> Lookup {
        self.shared.directory.load().lookup(name)
    }

    /// Whether a name means a vault that the configuration names, of which no source has told yet, while another source might
    /// turn out to have a better right to the name: where this one's tenant is not the vault's.
    #[must_use]
    pub fn is_in_doubt(&self, name: &VaultName) -> bool {
        self.shared.sources.len() > 1 && self.shared.directory.load().is_merely_named(name)
    }

    /// What `work` makes of the vault of that address, where it is: nothing is counted up and down that all readers share.
    /// `None`: there is none that can be asked.
    pub fn with_vault<T>(&self, name: &VaultName, work: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.shared.directory.load().find(name).map(work)
    }

    /// Every vault by address, those that are never asked included.
    #[must_use]
    pub fn vaults(&self) -> Vec<VaultStatus> {
        self.vaults_within(&Rights::all())
    }

    /// Those in which somebody may find something, under the address by which they do, with counts of what they find.
    #[must_use]
    pub fn vaults_within(&self, rights: &Rights) -> Vec<VaultStatus> {
        let directory = self.shared.directory.load();
        let skipped = directory.skipped.iter().filter_map(|skipped| {
            let id = skipped.info.id();
            Some(VaultStatus {
                address: rights.shows_vault(&Verb::ALL, &skipped.address, &id)?.clone(),
                info: skipped.info.clone(),
                duplicate_of: None,
                reach: Reach::Skipped(skipped.reason.clone()),
                known: None,
                read: ReadState::Unknown,
            })
        });
        let live = (0..directory.live.len()).filter_map(|index| status_of(&directory, rights, index));
        let mut all: Vec<_> = live.chain(skipped).collect();
        all.sort_by(|a, b| a.address.cmp(&b.address));
        all
    }

    /// One vault's status; `None` if the address means none that can be asked.
    #[must_use]
    pub fn status(&self, vault: &VaultName) -> Option<VaultStatus> {
        let directory = self.shared.directory.load();
        directory.index(vault).and_then(|index| status_of(&directory, &Rights::all(), index))
    }

    /// Through which other source's view searches tell of that vault, if another source has found it too and they do.
    #[must_use]
    pub fn spoken_for_by(&self, vault: &VaultName) -> Option<Speaker> {
        let directory = self.shared.directory.load();
        let speaker = directory.speaker_of(directory.index(vault)?, &self.shared.options)?;
        Some(Speaker { address: speaker.address.clone(), id: speaker.id().clone() })
    }

    /// What the last listing told of a secret. `None` says nothing about a vault that could not be listed.
    #[must_use]
    pub fn metadata(&self, vault: &VaultName, name: &SecretName) -> Option<Metadata> {
        let directory = self.shared.directory.load();
        let standing = directory.find(vault)?.record.standing();
        let segment = &standing.known.as_ref()?.segment;
        Some(segment.metadata(segment.find(name.as_str())?))
    }

    /// The same, with the moments at which that listing began and ended; only a whole one counts.
    #[must_use]
    pub fn sight(&self, vault: &VaultName, name: &SecretName) -> Option<(Metadata, Moment, Moment)> {
        let directory = self.shared.directory.load();
        let standing = directory.find(vault)?.record.standing();
        let known = standing.known.as_ref().filter(|known| known.whole)?;
        Some((known.segment.metadata(known.segment.find(name.as_str())?), known.at, known.ended))
    }

    /// Which vaults hold a secret of that name, and which might.
    #[must_use]
    pub fn holders(&self, name: &SecretName) -> Holders {
        self.holders_within(&Rights::all(), name)
    }

    /// The same, of the vaults in which somebody may read that name, each under the address by which they may: the others
    /// do not exist for them.
    #[must_use]
    pub fn holders_within(&self, rights: &Rights, name: &SecretName) -> Holders {
        search::holders(&self.shared.directory.load(), rights, name, &self.shared.options)
    }

    /// A page of one vault's secrets, by name. `limit` is cut to 1,000; `cursor` is [`SecretsPage::next`] of the page
    /// before.
    ///
    /// # Errors
    /// A cursor that no page of this vault gave, or a limit of 0.
    pub fn secrets(&self, vault: &Entry, limit: usize, cursor: Option<&str>) -> Result<SecretsPage, BadQuery> {
        self.secrets_within(&Rights::all(), vault, limit, cursor)
    }

    /// The same, of those that somebody finds who addresses the vault as `vault` is.
    ///
    /// # Errors
    /// As [`Catalog::secrets`].
    pub fn secrets_within(
        &self,
        rights: &Rights,
        vault: &Entry,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<SecretsPage, BadQuery> {
        search::secrets(vault, rights, limit, cursor, &self.shared.options)
    }

    /// The secrets that a query matches, over all vaults, and what the answer does without.
    ///
    /// # Errors
    /// The query cannot be understood; says which parameter, what is wrong and where.
    pub fn search(&self, query: &Query) -> Result<Page, BadQuery> {
        self.search_within(&Rights::all(), query)
    }

    /// The same, of those that somebody finds.
    ///
    /// # Errors
    /// As [`Catalog::search`].
    pub fn search_within(&self, rights: &Rights, query: &Query) -> Result<Page, BadQuery> {
        search::search(&self.shared.directory.load(), rights, query, &self.shared.options)
    }

    /// All that is known, to be carried over a restart.
    #[must_use]
    pub fn known(&self) -> Vec<KnownVault> {
        let directory = self.shared.directory.load();
        let one = |entry: &Entry| {
            let standing = entry.record.standing();
            let whole = standing.known.as_ref().filter(|known| known.whole);
            let secrets =
                |known: &record::Known| (0..known.segment.len()).map(|row| known.segment.metadata(row)).collect();
            KnownVault {
                info: entry.vault.info().clone(),
                listed: whole.map(|known| known.at),
                secrets: whole.map_or_else(Vec::new, secrets),
            }
        };
        directory.live.iter().map(one).collect()
    }

    /// When each vault's last whole listing began, by `source:vault`.
    #[must_use]
    pub fn listings(&self) -> Vec<(VaultName, Option<Moment>)> {
        let listed =
            |entry: &Entry| entry.record.standing().known.as_ref().filter(|known| known.whole).map(|known| known.at);
        self.shared.directory.load().live.iter().map(|entry| (entry.id().clone(), listed(entry))).collect()
    }

    /// Takes in what was known before a restart: its vaults are served and asked before discovery has found them anew.
    /// What discovery has found already stays as it is. Returns how many vaults were taken in.
    pub fn recall(&self, mut known: Vec<KnownVault>) -> usize {
        // The earliest source has the first right to a bare name.
        known.sort_by_key(|known| self.shared.sources.iter().position(|source| *source.name() == known.info.source));
        let mut taken = 0;
        {
            let mut rounds = self.shared.lock_rounds();
            for KnownVault { info, listed, secrets } in known {
                let source = self.shared.sources.iter().position(|source| *source.name() == info.source);
                let Some(source) = source else { continue };
                let Some(vault) = self.shared.sources[source].recall(&info) else { continue };
                // When it ended was not carried; it had by now.
                let ended = Moment::now();
                let known = listed.map(|at| record::Known {
                    segment: Arc::new(Segment::pack(secrets)),
                    at,
                    ended,
                    whole: true,
                });
                taken += usize::from(rounds.recall(source, vault, Standing { known, ..Standing::default() }));
            }
            self.shared.directory.store(Arc::new(rounds.directory()));
        }
        self.shared.progress.send_if_modified(|progress| {
            progress.recalled |= taken > 0;
            false
        });
        self.shared.changed.notify_one();
        self.shared.count_progress();
        taken
    }

    /// Bytes that the metadata of all secrets takes, about: what the catalog adds to the process.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let directory = self.shared.directory.load();
        let standings = directory.live.iter().map(|entry| entry.record.standing());
        standings.filter_map(|standing| standing.known.as_ref().map(|known| known.segment.heap_bytes())).sum()
    }

    /// Tells what a get met, so that `vaults` can say 'listed but not readable' and 'readable though not listable'.
    /// `vault` is any address of it.
    pub fn note_read(&self, vault: &VaultName, outcome: Result<(), &VaultError>) {
        let state = match outcome {
            Ok(()) => ReadState::Ok,
            Err(error) => match search::read_state(error) {
                Some(state) => state,
                None => return,
            },
        };
        if let Some(entry) = self.shared.directory.load().find(vault) {
            entry.record.note_read(&state);
            if state == ReadState::Ok {
                self.shared.note_reached();
            }
        }
    }

    async fn until(&self, reached: impl FnMut(&Stage) -> bool) {
        // The sender lives in `self`: it cannot be closed while this waits.
        let _ = self.shared.stage.subscribe().wait_for(reached).await;
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("progress", &*self.shared.progress.borrow()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock_observers(&self) -> std::sync::MutexGuard<'_, Vec<Observer>> {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_rounds(&self) -> std::sync::MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A vault as somebody sees it; `None`: they find nothing in it.
fn status_of(directory: &Directory, rights: &Rights, index: usize) -> Option<VaultStatus> {
    let entry = &directory.live[index];
    let view = rights.view(&entry.address, entry.id());
    let address = view.vault()?.clone();
    let standing: Arc<Standing> = entry.record.standing();
    let reach = match (&standing.failure, &standing.known) {
        (Some(error), _) => Reach::ListingFailed(error.clone()),
        (None, None) => Reach::NotYetListed,
        (None, Some(_)) => Reach::Listed,
    };
    let known = standing.known.as_ref().map(|known| KnownContent {
        age: known.at.elapsed(),
        secrets: search::found(&known.segment, &view).count(),
        disabled: search::found(&known.segment, &view).filter(|row| !known.segment.enabled(*row)).count(),
        whole: known.whole,
    });
    let duplicate_of = directory.duplicate_of(index);
    Some(VaultStatus {
        address,
        info: entry.vault.info().clone(),
        duplicate_of: duplicate_of.and_then(|of| rights.shows_vault(&Verb::ALL, &of.address, of.id())).cloned(),
        reach,
        known,
        read: standing.read.clone(),
    })
}
