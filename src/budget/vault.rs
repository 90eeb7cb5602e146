use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::Budgets;
use super::allowance::{Allowance, Caller, Pass, word};
use super::circuit::Way;
use super::tap::{Lane, Tap};
use crate::clock::Moment;
use crate::secret::{Metadata, Secret, SecretName, Version};
use crate::vaults::{Vault, VaultError, VaultInfo};

/// The most items that Key Vault puts on a page: what one call of a listing brings.
const PAGE: usize = 25;

/// A vault that is asked within its budget.
pub struct BudgetedVault {
    inner: Arc<dyn Vault>,
    allowance: Arc<Allowance>,
    budgets: Budgets,
    /// `source:vault`, as the metrics have it.
    label: String,
}

impl BudgetedVault {
    /// That vault within its share of these budgets.
    #[must_use]
    pub fn new(inner: Arc<dyn Vault>, budgets: &Budgets) -> Self {
        let allowance = budgets.of_vault(inner.info());
        let label = inner.info().id().to_string();
        let watched = Arc::downgrade(&allowance);
        budgets
            .metrics()
            .vault(&label, move || watched.upgrade().map(|allowance| allowance.told()).unwrap_or_default());
        Self { inner, allowance, budgets: budgets.clone(), label }
    }

    pub(super) fn is_around(&self, vault: &Arc<dyn Vault>) -> bool {
        Arc::ptr_eq(&self.inner, vault)
    }

    async fn admit(&self, endpoint: &'static str, lane: Lane) -> Result<Pass<'_>, VaultError> {
        // Which subscription it is in may be learnt after the vault itself.
        self.allowance.admit(self.caller(endpoint), lane, &self.subscription()).await
    }

    fn subscription(&self) -> Arc<Tap> {
        self.budgets.of_subscription(self.inner.info())
    }

    fn caller(&self, endpoint: &'static str) -> Caller<'_> {
        Caller { metrics: self.budgets.metrics(), vault: &self.label, endpoint }
    }

    fn pages<'a>(&'a self, open: Open<'a>, endpoint: &'static str, lane: Lane) -> Rows<'a> {
        let rows = State::Unopened(open);
        let pages = Pages { vault: self, rows, endpoint, lane, left: 0 };
        stream::unfold(pages, |mut pages| async move { Some((pages.next().await?, pages)) }).boxed()
    }
}

type Rows<'a> = BoxStream<'a, Result<Metadata, VaultError>>;
/// Not before it may: a backend may ask as soon as it is told to list.
type Open<'a> = Box<dyn FnOnce() -> Rows<'a> + Send + 'a>;

enum State<'a> {
    Unopened(Open<'a>),
    Open(Rows<'a>),
    Over,
}

/// A listing under way. Its pages are not seen here: a call is made for every 25 rows, and whenever a row within them is
/// not there at once, as pages may be shorter.
struct Pages<'a> {
    vault: &'a BudgetedVault,
    rows: State<'a>,
    endpoint: &'static str,
    lane: Lane,
    /// Rows of this page that are yet to come.
    left: usize,
}

impl<'a> Pages<'a> {
    async fn next(&mut self) -> Option<Result<Metadata, VaultError>> {
        let row = match std::mem::replace(&mut self.rows, State::Over) {
            State::Over => return None,
            State::Open(rows) if self.left > 0 => self.within(rows).await,
            rows => self.page(rows).await,
        };
        self.left = self.left.saturating_sub(1);
        row
    }

    /// The first row of what is likely the next page.
    async fn page(&mut self, rows: State<'a>) -> Option<Result<Metadata, VaultError>> {
        let pass = match self.vault.admit(self.endpoint, self.lane).await {
            Ok(pass) => pass,
            Err(error) => return Some(Err(error)),
        };
        let mut rows = match rows {
            State::Unopened(open) => open(),
            State::Open(rows) => rows,
            State::Over => return None,
        };
        self.left = PAGE;
        let row = match at_once(&mut rows).await {
            Poll::Ready(None) => {
                pass.unused(&self.vault.subscription());
                return None;
            }
            Poll::Ready(row) => row,
            Poll::Pending => rows.next().await,
        };
        pass.end(outcome(row.as_ref()));
        self.keep(rows, row)
    }

    /// Another row of this page, or the first of a page that begins early: that call is paid for afterwards.
    async fn within(&mut self, mut rows: Rows<'a>) -> Option<Result<Metadata, VaultError>> {
        let (vault, began) = (self.vault, Moment::now());
        let row = match at_once(&mut rows).await {
            Poll::Ready(row) => row,
            Poll::Pending => {
                self.left = PAGE;
                vault.allowance.charge(&vault.subscription());
                let row = rows.next().await;
                vault.budgets.metrics().upstream(&vault.label, self.endpoint, word(outcome(row.as_ref())));
                row
            }
        };
        if let Some(Err(error)) = &row {
            vault.allowance.learn(&vault.label, Way::Open, began, Err(error));
        }
        self.keep(rows, row)
    }

    /// A stream ends after its first error.
    fn keep(
        &mut self,
        rows: Rows<'a>,
        row: Option<Result<Metadata, VaultError>>,
    ) -> Option<Result<Metadata, VaultError>> {
        if matches!(row, Some(Ok(_))) {
            self.rows = State::Open(rows);
        }
        row
    }
}

async fn at_once(rows: &mut Rows<'_>) -> Poll<Option<Result<Metadata, VaultError>>> {
    poll_fn(|context| Poll::Ready(rows.poll_next_unpin(context))).await
}

fn outcome(row: Option<&Result<Metadata, VaultError>>) -> Result<(), &VaultError> {
    match row {
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(()),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Vault for BudgetedVault {
    fn info(&self) -> &VaultInfo {
        self.inner.info()
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        let pass = self.admit("get", Lane::Read).await?;
        let answer = self.inner.get(name, version).await;
        pass.end(answer.as_ref().map(drop));
        answer
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        self.pages(Box::new(|| self.inner.list()), "list", Lane::Listing)
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        let name = name.clone();
        self.pages(Box::new(move || self.inner.versions(&name)), "versions", Lane::Read)
    }
}

impl fmt::Debug for BudgetedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetedVault").field("inner", &self.inner).finish_non_exhaustive()
    }
}
