//! Who has read what: one line for each read, and for each that was refused, written before the answer leaves.
//!
//! - [`Line`] is what is told of one read; [`Names`] whether names are told or only recognised by who has a key.
//! - [`Book`] is where lines go: a queue, and one thread that writes what has gathered in one call to the system.
//! - [`Sink`] is what it writes to: a [`FileSink`] that is rotated by its size, or [`Stderr`].
//!
//! A line is recorded once `write(2)` has taken the whole of it; it is not synced to the disk, so that a loss of power may
//! take the last seconds with it, as a loss of this process does not. Where the record is required, a reader waits for that,
//! together with all who read in the same moment, and is refused if it fails. Where it is not, nobody waits: what cannot
//! be written is counted, told in the log, and told as a gap by the next line that can.
//!
//! Must never happen: a value in a line; a caller's words that end a line or begin another; two lines on one; an answer
//! before its line, where the record is required; a reader that waits for a disk, where it is not; a gap that nothing tells of.

mod book;
mod error;
mod file;
mod line;
mod names;
mod sink;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::timeout;

pub use book::Book;
pub use error::AuditError;
pub use file::FileSink;
pub use line::{Freshness, LeftOut, Line, Operation, Searched, Served};
pub use names::Names;
pub use sink::{Cut, Sink, Stderr};

use book::{Queued, Tail};

/// What is recorded, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOptions {
    /// Where lines go.
    pub place: Place,
    /// A read that cannot be recorded is refused.
    pub required: bool,
    /// Names are told as their HMAC under the key in that file, which is made if it does not exist. `None`: as they are.
    pub hash_names: Option<PathBuf>,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Beside the log.
    Stderr,
    /// To a file, and to those that it is rotated into.
    File {
        /// The file; `FILE.1` is the one before it.
        path: PathBuf,
        /// In bytes; before it grows beyond that it is rotated. 0: never.
        max_size: u64,
        /// How many rotated files are kept; at least one.
        keep: u32,
    },
}

/// The audit of one sidecar, on or off. A cheap handle: all that come from one have the same book.
#[derive(Clone, Default)]
pub struct Audit(Arc<Inner>);

#[derive(Default)]
struct Inner {
    book: ArcSwapOption<Book>,
    /// Whether there is one, without a look at it: every request asks.
    on: AtomicBool,
    /// What may still be unwritten of the books before.
    before: Mutex<Vec<Tail>>,
}

/// Lines for which nobody waits. Held for a moment, never across an await.
#[derive(Debug)]
pub struct Unawaited(arc_swap::Guard<Option<Arc<Book>>>);

/// The proof that a read was recorded, or that nobody wants it to be. Whoever gives a value away must have one.
#[derive(Debug)]
pub struct Recorded(());

/// A read could not be recorded, and must not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read cannot be recorded")]
pub struct Unrecorded;

/// A sink that takes a line for longer does not take it: the read is refused.
const PATIENCE: Duration = Duration::from_secs(5);

impl Audit {
    /// From now on, lines go to that book, or nowhere. What was recorded in the one before is written to its end.
    pub fn turn_to(&self, book: Option<Book>) {
        let on = book.is_some();
        // Before anything is changed: of two who turn it at once, one comes first in all of this.
        let mut tails = self.0.before.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.book.swap(book.map(Arc::new));
        self.0.on.store(on, Ordering::Release);
        tails.retain(|tail| !tail.has_ended());
        tails.extend(before.map(|book| book.tail()));
    }

    /// Whether lines are recorded at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Acquire)
    }

    /// Where lines go, if no read is kept waiting for its own: one and the same book, whatever it is turned to meanwhile.
    #[must_use]
    pub fn unawaited(&self) -> Option<Unawaited> {
        let book = self.0.book.load();
        let is_required = book.as_ref().is_some_and(|book| book.is_required());
        (!is_required).then_some(Unawaited(book))
    }

    /// Records a read. Where the record is required, returns when the line is written; else at once.
    ///
    /// # Errors
    /// If the record is required and the line could not be written, or not in time.
    pub async fn record(&self, line: &Line<'_>) -> Result<Recorded, Unrecorded> {
        // Not held while waiting: a book that was replaced meanwhile is still written to its end.
        let queued = match &*self.0.book.load() {
            None => return Ok(Recorded(())),
            Some(book) => book.add(line),
        };
        let (written, metrics) = match queued {
            Queued::NotAwaited => return Ok(Recorded(())),
            Queued::Refused => return Err(Unrecorded),
            Queued::Awaited(written, metrics) => (written, metrics),
        };
        match timeout(PATIENCE, written).await {
            Ok(Ok(true)) => Ok(Recorded(())),
            Ok(Ok(false) | Err(_)) | Err(_) => {
                metrics.audited("refused", 1);
                Err(Unrecorded)
            }
        }
    }

    /// Tells how many refusals of strangers have no line of their own.
    pub fn leave_out(&self, left_out: &LeftOut) {
        if let Some(book) = &*self.0.book.load() {
            book.leave_out(left_out);
        }
    }

    /// Returns when every line that was recorded before is written, or was given up.
    pub async fn flush(&self) {
        let current = self.0.book.load().as_ref().map(|book| book.tail());
        let before: Vec<_> = self.0.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for tail in before.into_iter().chain(current) {
            tail.flush().await;
        }
    }
}

impl Unawaited {
    /// Records a read.
    #[must_use]
    pub fn record(&self, line: &Line<'_>) -> Recorded {
        if let Some(book) = &*self.0 {
            drop(book.add(line));
        }
        Recorded(())
    }
}

impl From<Book> for Audit {
    fn from(book: Book) -> Self {
        let audit = Self::default();
        audit.turn_to(Some(book));
        audit
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("on", &self.is_on()).finish_non_exhaustive()
    }
}
