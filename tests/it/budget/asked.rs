//! A vault that answers as it is told to, and notes when it was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};
use sidekey::budget::{BudgetOptions, BudgetedVault, Budgets};
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretName, SecretValue, Version};
use sidekey::vaults::{Outage, Vault, VaultError, VaultErrorKind, VaultInfo};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

pub const DOWN: VaultErrorKind = VaultErrorKind::Unavailable(Outage::Connection);

#[derive(Debug)]
pub struct Asked {
    info: VaultInfo,
    began: Instant,
    /// When each call came: reads, and pages of listings.
    calls: Mutex<Vec<Duration>>,
    running: AtomicUsize,
    pub most_at_once: AtomicUsize,
    /// What the next calls are told; then all is well, unless `always` says otherwise.
    next: Mutex<VecDeque<VaultErrorKind>>,
    pub always: Mutex<Option<VaultErrorKind>>,
    pub latency: Mutex<Duration>,
    /// Each call takes one: a test can hold them.
    pub held: Semaphore,
    /// Rows of each page of a listing.
    pub pages: Mutex<Vec<usize>>,
}

impl Asked {
    pub fn new(name: &str) -> Arc<Self> {
        Self::of(VaultInfo::new("s".parse().unwrap(), name.parse().unwrap()))
    }

    pub fn of(info: VaultInfo) -> Arc<Self> {
        Arc::new(Self {
            info,
            began: Instant::now(),
            calls: Mutex::default(),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            next: Mutex::default(),
            always: Mutex::default(),
            latency: Mutex::new(Duration::from_millis(1)),
            held: Semaphore::new(Semaphore::MAX_PERMITS),
            pages: Mutex::new(vec![1]),
        })
    }

    pub fn tell(&self, kinds: impl IntoIterator<Item = VaultErrorKind>) {
        self.next.lock().unwrap().extend(kinds);
    }

    pub fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// Calls that came within `from..to` seconds.
    pub fn between(&self, from: f64, to: f64) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|at| (from..to).contains(&at.as_secs_f64())).count()
    }

    /// The most calls of any window of that length.
    pub fn most_within(&self, window: Duration) -> usize {
        let calls = self.calls.lock().unwrap();
        let from = |n: usize| calls[n..].iter().take_while(|at| **at < calls[n] + window).count();
        (0..calls.len()).map(from).max().unwrap_or(0)
    }

    async fn call(&self) -> Result<(), VaultError> {
        self.calls.lock().unwrap().push(self.began.elapsed());
        let running = Running::one(&self.running);
        self.most_at_once.fetch_max(running.now, Ordering::Relaxed);
        let told = self.next.lock().unwrap().pop_front().or_else(|| self.always.lock().unwrap().clone());
        let latency = *self.latency.lock().unwrap();
        sleep(latency).await;
        drop(self.held.acquire().await.unwrap());
        told.map_or(Ok(()), |kind| Err(VaultError::new(kind, "as scripted")))
    }
}

struct Running<'a> {
    all: &'a AtomicUsize,
    now: usize,
}

impl<'a> Running<'a> {
    fn one(all: &'a AtomicUsize) -> Self {
        Self { all, now: all.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Vault for Asked {
    fn info(&self) -> &VaultInfo {
        &self.info
    }

    async fn get(&self, name: &SecretName, _version: Option<&Version>) -> Result<Secret, VaultError> {
        self.call().await?;
        Ok(Secret { metadata: Metadata::new(name.clone()), value: SecretValue::new("value") })
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        let pages = self.pages.lock().unwrap().clone();
        let page = move |(page, rows): (usize, usize)| async move {
            self.call().await?;
            let names = (0..rows).map(move |row| format!("n{page}-{row}").parse().unwrap());
            Ok(stream::iter(names.map(|name| Ok(Metadata::new(name)))))
        };
        stream::iter(pages.into_iter().enumerate()).then(page).try_flatten().boxed()
    }

    fn versions(&self, _name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.list()
    }
}

/// A vault within a budget of its own.
pub fn within(vault: &Arc<Asked>, options: BudgetOptions) -> (Arc<BudgetedVault>, Metrics) {
    let metrics = Metrics::default();
    let budgets = Budgets::new(options, metrics.clone());
    (Arc::new(BudgetedVault::new(Arc::<Asked>::clone(vault), &budgets)), metrics)
}

pub async fn get(vault: &BudgetedVault) -> Result<(), VaultError> {
    vault.get(&"name".parse().unwrap(), None).await.map(drop)
}

pub async fn list(vault: &BudgetedVault) -> Result<usize, VaultError> {
    vault.list().try_fold(0, |rows, _| async move { Ok(rows + 1) }).await
}

/// So many reads that come at once, each with how long it took.
pub async fn gets(vault: &BudgetedVault, how_many: usize) -> Vec<(Result<(), VaultError>, Duration)> {
    let one = |_| async {
        let began = Instant::now();
        (get(vault).await, began.elapsed())
    };
    futures::future::join_all((0..how_many).map(one)).await
}

pub async fn pass(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

pub fn throttled(seconds: Option<u64>) -> VaultErrorKind {
    VaultErrorKind::Throttled { retry_after: seconds.map(Duration::from_secs) }
}
