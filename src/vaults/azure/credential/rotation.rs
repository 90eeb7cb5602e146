//! Credentials that change on disk: what a file holds now is noticed, tried, and taken over once it signs in.
//!
//! What must never happen: to be left without a credential because of what somebody writes into a file. What signed in
//! last is kept in memory and used until something newer has signed in, whether the file is empty, cut short, garbage,
//! gone, unreadable, or holds a secret that Entra does not know (yet). Each change is told once, in plain words, and never
//! what was read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::AccessToken;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::issuer::{Issued, Issuer};
use super::proof::{Part, Proof};
use crate::clock::Moment;
use crate::vaults::azure::pace;
use crate::vaults::{VaultError, VaultErrorKind};

/// After it was refused, new content is not tried again for this long, doubling with each further time. Entra's replicas
/// know a new secret after seconds, mostly.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A file that takes longer to be read, as on a network share that hangs, is left to itself; what it held last is used.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes tokens of a proof.
#[async_trait]
pub(super) trait Exchange: std::fmt::Debug + Send + Sync {
    /// Whether these bytes can be a proof at all, decided here, without asking anybody. May take milliseconds.
    ///
    /// # Errors
    /// What is wrong with the first part, as the end of a sentence.
    fn check(&self, _proof: &Proof) -> Result<(), &'static str> {
        Ok(())
    }

    /// Signs in.
    async fn exchange(&self, proof: &Proof, scope: &str) -> Result<AccessToken, VaultError>;
}

/// An identity whose proof may change while it is used.
#[derive(Debug, Clone)]
pub(super) struct Rotating(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exchange: Box<dyn Exchange>,
    /// Never empty.
    parts: Vec<Part>,
    book: Mutex<Book>,
    patience: Duration,
}

#[derive(Default)]
struct Book {
    /// What was read last and could be a proof.
    newest: Option<Arc<Proof>>,
    /// What signed in last.
    good: Option<Arc<Proof>>,
    /// While the newest has not signed in, and something else has.
    doubt: Option<Doubt>,
    /// Why the last reading gave nothing, as it was told.
    trouble: Option<VaultError>,
    editions: u64,
    told_open: Vec<PathBuf>,
    reading: Option<Shared<BoxFuture<'static, ()>>>,
}

/// Content that was tried in vain, or is being tried.
struct Doubt {
    edition: u64,
    tries: u32,
    until: Moment,
    told: bool,
}

impl Rotating {
    /// Of parts that are read when a token is first asked for.
    pub(super) fn new(exchange: impl Exchange + 'static, first: Part, second: Option<Part>) -> Self {
        let parts = std::iter::once(first).chain(second).collect();
        Self(Arc::new(Inner { exchange: Box::new(exchange), parts, book: Mutex::default(), patience: PATIENCE }))
    }

    /// What to sign in with, best first.
    fn candidates(&self) -> Result<Vec<Arc<Proof>>, VaultError> {
        let book = self.0.book();
        let Some(newest) = &book.newest else {
            return Err(book.trouble.clone().unwrap_or_else(|| self.0.parts[0].unusable(SLOW)));
        };
        let older = book.good.as_ref().filter(|good| good.edition != newest.edition);
        let paused = book.doubt.as_ref().is_some_and(|doubt| doubt.pauses(newest, Moment::now()));
        Ok(match older {
            None => vec![Arc::clone(newest)],
            // Someone needs a token now: what is known to work goes first while the newest is known not to.
            Some(older) if paused => vec![Arc::clone(older), Arc::clone(newest)],
            Some(older) => vec![Arc::clone(newest), Arc::clone(older)],
        })
    }

    async fn sign_in(&self, proof: &Arc<Proof>, scope: &str) -> Result<Issued, VaultError> {
        self.0.begin(proof);
        let outcome = self.0.exchange.exchange(proof, scope).await.map(|token| Issued::new(&token, proof.edition));
        self.0.end(proof, outcome.as_ref().err());
        outcome
    }
}

const SLOW: &str = "cannot be read in time";

#[async_trait]
impl Issuer for Rotating {
    async fn issue(&self, scope: &str) -> Result<Issued, VaultError> {
        self.look().await;
        let mut refusal: Option<VaultError> = None;
        let candidates = self.candidates()?;
        let newest = candidates.iter().map(|proof| proof.edition).max();
        for proof in candidates {
            match self.sign_in(&proof, scope).await {
                Ok(issued) => return Ok(issued),
                // Entra is out: another proof would meet the same.
                Err(error) if !is_refusal(error.kind()) => return Err(error),
                Err(error) if refusal.is_none() || newest == Some(proof.edition) => refusal = Some(error),
                Err(_) => {}
            }
        }
        Err(refusal.expect("there is a candidate, and it was refused"))
    }

    fn rotates(&self) -> bool {
        self.0.parts.iter().any(|part| part.file().is_some())
    }

    async fn look(&self) {
        let reading = {
            let mut book = self.0.book();
            let inner = Arc::clone(&self.0);
            let start = || {
                let over = ReadingOver(Arc::clone(&inner));
                let task = tokio::task::spawn_blocking(move || {
                    inner.read();
                    drop(over);
                });
                task.map(drop).boxed().shared()
            };
            book.reading.get_or_insert_with(start).clone()
        };
        if tokio::time::timeout(self.0.patience, reading).await.is_err() {
            let slow = self.0.parts.iter().find(|part| part.file().is_some()).unwrap_or(&self.0.parts[0]);
            self.0.trouble(&mut self.0.book(), slow.unusable(SLOW));
        }
    }

    fn untried(&self) -> Option<u64> {
        let book = self.0.book();
        let newest = book.newest.as_ref()?;
        let paused = book.doubt.as_ref().is_some_and(|doubt| doubt.pauses(newest, Moment::now()));
        (!paused).then_some(newest.edition)
    }

    async fn issue_newest(&self, scope: &str) -> Result<Issued, VaultError> {
        let newest = self.0.book().newest.clone();
        match newest {
            Some(newest) => self.sign_in(&newest, scope).await,
            None => self.issue(scope).await,
        }
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        // No state is half-written, whoever panicked.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all parts and takes note of what is new. Blocks.
    fn read(&self) {
        match self.parts.iter().map(Part::read).collect::<Result<Vec<_>, _>>() {
            Ok(pieces) => {
                for (part, piece) in self.parts.iter().zip(&pieces) {
                    if let Some(path) = part.file().filter(|_| piece.open) {
                        self.tell_open(part, path);
                    }
                }
                self.found(pieces.into_iter().map(|piece| piece.value).collect());
            }
            Err(error) => self.trouble(&mut self.book(), error),
        }
    }

    fn found(&self, parts: Vec<Arc<crate::secret::SecretValue>>) {
        let edition = {
            let mut book = self.book();
            if book.newest.as_ref().is_some_and(|newest| newest.holds(&parts)) {
                self.healed(&mut book);
                return;
            }
            book.editions += 1;
            book.editions
        };
        // Not under the lock: a PFX takes its time.
        let proof = Proof::new(edition, parts);
        let checked = self.exchange.check(&proof);
        let mut book = self.book();
        if let Err(reason) = checked {
            self.trouble(&mut book, self.parts[0].unusable(reason));
            return;
        }
        self.healed(&mut book);
        let what = self.parts[0].what;
        let back = book.good.clone().filter(|good| proof.equals(good));
        if let Some(good) = back {
            tracing::info!(file = %self.name(), "the {what} file holds again what signed in last");
            book.newest = Some(good);
            book.doubt = None;
            return;
        }
        if book.newest.is_some() {
            tracing::info!(file = %self.name(), "the {what} file has changed; signing in with what it holds now");
        }
        book.newest = Some(Arc::new(proof));
        book.doubt = None;
    }

    /// The last reading gave nothing to sign in with. Told once, until something else is wrong or nothing is.
    fn trouble(&self, book: &mut Book, error: VaultError) {
        let again = book.trouble.as_ref().is_some_and(|known| known.to_string() == error.to_string());
        if !again && book.newest.is_some() {
            tracing::warn!(%error, "a credential cannot be read anew; what was read before is used on");
        }
        book.trouble = Some(error);
    }

    fn healed(&self, book: &mut Book) {
        if book.trouble.take().is_some() && book.newest.is_some() {
            tracing::info!(file = %self.name(), "the {} file can be used again", self.parts[0].what);
        }
    }

    fn tell_open(&self, part: &Part, path: &std::path::Path) {
        let mut book = self.book();
        if !book.told_open.iter().any(|told| told == path) {
            book.told_open.push(path.to_owned());
            tracing::warn!(
                file = %path.display(),
                "the {} file may be read or changed by others than its owner; make its mode 0400 (in Kubernetes: the \
                 volume's defaultMode)",
                part.what
            );
        }
    }

    /// Before a proof is tried that has not signed in yet: should the attempt never end, it counts as failed.
    fn begin(&self, proof: &Proof) {
        let mut book = self.book();
        if book.good.is_none() || book.is_good(proof) || !book.is_newest(proof) {
            return;
        }
        let known = book.doubt.take().filter(|doubt| doubt.edition == proof.edition);
        let tries = known.as_ref().map_or(0, |doubt| doubt.tries).saturating_add(1);
        let until = Moment::now() + pace::growing(tries, FIRST_PAUSE, LONGEST_PAUSE);
        let told = known.is_some_and(|doubt| doubt.told);
        book.doubt = Some(Doubt { edition: proof.edition, tries, until, told });
    }

    fn end(&self, proof: &Arc<Proof>, error: Option<&VaultError>) {
        let mut book = self.book();
        let (what, file) = (self.parts[0].what, self.name());
        match error {
            None if book.is_newest(proof) => {
                if book.good.is_some() && !book.is_good(proof) {
                    tracing::info!(%file, "signed in with the new content of the {what} file");
                }
                book.good = Some(Arc::clone(proof));
                book.doubt = None;
            }
            // Older than what the file holds now, and still better than nothing.
            None if book.good.as_ref().is_none_or(|good| good.edition < proof.edition) => {
                book.good = Some(Arc::clone(proof));
            }
            None => {}
            Some(error) if is_refusal(error.kind()) => {
                if let Some(doubt) = book.doubt.as_mut().filter(|doubt| doubt.edition == proof.edition && !doubt.told) {
                    doubt.told = true;
                    tracing::warn!(
                        %error,
                        %file,
                        "what the {what} file holds now does not sign in; what signed in last is used on, and the new \
                         content is tried again"
                    );
                }
            }
            Some(_) => {}
        }
    }

    fn name(&self) -> String {
        let files = self.parts.iter().filter_map(Part::file).map(|path| path.display().to_string());
        files.collect::<Vec<_>>().join(", ")
    }
}

impl Book {
    fn is_good(&self, proof: &Proof) -> bool {
        self.good.as_ref().is_some_and(|good| good.edition == proof.edition)
    }

    fn is_newest(&self, proof: &Proof) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.edition == proof.edition)
    }
}

impl Doubt {
    fn pauses(&self, newest: &Proof, now: Moment) -> bool {
        self.edition == newest.edition && now < self.until
    }
}

/// Whether a sign-in failed for what was sent: then another proof may do better.
fn is_refusal(kind: &VaultErrorKind) -> bool {
    match kind {
        VaultErrorKind::Unauthenticated { .. }
        | VaultErrorKind::Denied(_)
        | VaultErrorKind::Malformed
        | VaultErrorKind::NotFound
        | VaultErrorKind::Disabled => true,
        VaultErrorKind::Throttled { .. } | VaultErrorKind::TimedOut | VaultErrorKind::Unavailable(_) => false,
    }
}

/// Ends a reading, even one that panicked or never began.
struct ReadingOver(Arc<Inner>);

impl Drop for ReadingOver {
    fn drop(&mut self) {
        self.0.book().reading = None;
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("newest", &self.newest).field("good", &self.good).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
