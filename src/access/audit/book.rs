use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::line::write_gap;
use super::{AuditError, AuditOptions, Cut, FileSink, LeftOut, Line, Names, Place, Sink, Stderr};
use crate::metrics::Metrics;

/// Where lines go: a queue, and a thread that writes it out. When it is dropped, the thread writes what is there and ends.
pub struct Book {
    shared: Arc<Shared>,
    names: Names,
    required: bool,
    metrics: Metrics,
}

struct Shared {
    queue: Mutex<Queue>,
    /// For the thread.
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    /// The thread waits for the first line.
    idle: bool,
    /// Somebody waits for what is there.
    hurry: bool,
    /// No line will come any more.
    closed: bool,
    /// The thread is gone.
    ended: bool,
}

/// What is written together.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    count: u64,
    /// Each with where its line ends.
    waiting: Vec<(usize, oneshot::Sender<bool>)>,
    /// Whoever wants to know that all of it was tried.
    flushes: Vec<oneshot::Sender<()>>,
    /// Lines that found no room.
    overflowed: u64,
}

/// What became of a line that was added.
pub(super) enum Queued {
    /// It will be written, or counted as lost.
    NotAwaited,
    /// It tells whether the line was written.
    Awaited(oneshot::Receiver<bool>, Metrics),
    /// It cannot even wait.
    Refused,
}

/// A book's unwritten end.
#[derive(Clone)]
pub(super) struct Tail(Arc<Shared>);

/// Lines that wait, in bytes: a sink that takes nothing for long costs that much memory and no more.
const ROOM: usize = 8 * 1024 * 1024;
/// So many bytes are worth a call to the system.
const ENOUGH: usize = 64 * 1024;
/// Where nobody waits, lines gather for so long: to wake the thread for each of them would cost more than the line.
const GATHER: Duration = Duration::from_millis(1);

impl Book {
    /// The book that these options tell of. Needs no runtime.
    ///
    /// # Errors
    /// If it could not be written to, or there is no key to hash names with.
    pub fn open(options: &AuditOptions, metrics: &Metrics) -> Result<Self, AuditError> {
        let names = options.hash_names.as_deref().map(Names::hashed).transpose()?.unwrap_or_default();
        match &options.place {
            Place::Stderr => Self::on(Stderr::default(), names, options.required, metrics),
            Place::File { path, max_size, keep } => {
                Self::on(FileSink::open(path, *max_size, *keep)?, names, options.required, metrics)
            }
        }
    }

    /// The same on another sink.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn on(sink: impl Sink, names: Names, required: bool, metrics: &Metrics) -> Result<Self, AuditError> {
        let shared = Arc::new(Shared { queue: Mutex::default(), arrived: Condvar::new() });
        let mut writer = Writer { sink, required, metrics: metrics.clone(), gap: None, scratch: Vec::new() };
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || of_thread.run(&mut writer, if required { None } else { Some(GATHER) }))
            .map_err(AuditError::Thread)?;
        Ok(Self { shared, names, required, metrics: metrics.clone() })
    }

    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn add(&self, line: &Line<'_>) -> Queued {
        thread_local! {
            static TEXT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        // Made before the lock is taken, so that readers wait for each other's copying only.
        TEXT.with_borrow_mut(|text| {
            text.clear();
            line.write(text, OffsetDateTime::now_utc(), &self.names);
            self.push(text)
        })
    }

    /// Nobody waits for it.
    pub(super) fn leave_out(&self, left_out: &LeftOut) {
        let mut text = Vec::new();
        left_out.write(&mut text, OffsetDateTime::now_utc());
        drop(self.push(&text));
    }

    fn push(&self, line: &[u8]) -> Queued {
        let mut queue = self.shared.lock();
        if queue.batch.lines.len() + line.len() > ROOM {
            queue.batch.overflowed += 1;
            drop(queue);
            self.metrics.audited(if self.required { "refused" } else { "lost" }, 1);
            return if self.required { Queued::Refused } else { Queued::NotAwaited };
        }
        queue.batch.lines.extend_from_slice(line);
        queue.batch.count += 1;
        let end = queue.batch.lines.len();
        let queued = if self.required {
            let (tell, told) = oneshot::channel();
            queue.batch.waiting.push((end, tell));
            Queued::Awaited(told, self.metrics.clone())
        } else {
            Queued::NotAwaited
        };
        // Told once of the first, and once when it need not wait for more.
        let wake = queue.idle || (end >= ENOUGH && end - line.len() < ENOUGH);
        queue.idle = false;
        drop(queue);
        if wake {
            self.shared.arrived.notify_one();
        }
        queued
    }

    pub(super) fn tail(&self) -> Tail {
        Tail(Arc::clone(&self.shared))
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_one();
    }
}

impl Tail {
    pub(super) fn has_ended(&self) -> bool {
        self.0.lock().ended
    }

    /// Returns when all that is there now was written or given up.
    pub(super) async fn flush(&self) {
        let told = {
            let mut queue = self.0.lock();
            if queue.ended {
                return;
            }
            let (tell, told) = oneshot::channel();
            queue.batch.flushes.push(tell);
            queue.hurry = true;
            told
        };
        self.0.arrived.notify_one();
        // It is dropped where writing panicked: then all was tried.
        let _ = told.await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes batch after batch, and ends when the book is closed and nothing is left.
    fn run(&self, writer: &mut Writer<impl Sink>, gather: Option<Duration>) {
        let mut batch = Batch::default();
        while self.next(&mut batch, gather) {
            let lines = batch.count;
            // The thread must not die: readers wait for it. Who waits for this batch is told that it failed by its drop.
            if catch_unwind(AssertUnwindSafe(|| writer.write(&mut batch))).is_err() {
                writer.lose(lines, &io::Error::other("a fault of our own"));
                batch = Batch::default();
            }
            batch.clear();
        }
        writer.close();
        // Nobody can have come after it: it is set under the same lock under which the end was seen.
    }

    /// Waits for lines, and takes all that are there. False: none will come.
    fn next(&self, batch: &mut Batch, gather: Option<Duration>) -> bool {
        let mut queue = self.lock();
        while queue.batch.is_empty() {
            if queue.closed {
                queue.ended = true;
                return false;
            }
            queue.idle = true;
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle = false;
        if let Some(gather) = gather {
            let more = |queue: &mut Queue| !queue.hurry && !queue.closed && queue.batch.lines.len() < ENOUGH;
            queue = self.arrived.wait_timeout_while(queue, gather, more).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.hurry = false;
        std::mem::swap(&mut queue.batch, batch);
        true
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.count == 0 && self.flushes.is_empty() && self.overflowed == 0
    }

    /// Keeps its buffers for the next, unless a flood has made them large.
    fn clear(&mut self) {
        self.lines.clear();
        self.waiting.clear();
        self.flushes.clear();
        if self.lines.capacity() > 4 * ENOUGH {
            self.lines.shrink_to(ENOUGH);
            self.waiting.shrink_to(64);
        }
        (self.count, self.overflowed) = (0, 0);
    }
}

/// The thread's own.
struct Writer<S> {
    sink: S,
    required: bool,
    metrics: Metrics,
    /// What no line has told of yet.
    gap: Option<Gap>,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Gap {
    since: OffsetDateTime,
    lines: u64,
}

impl<S: Sink> Writer<S> {
    fn write(&mut self, batch: &mut Batch) {
        if batch.overflowed > 0 {
            self.begin_gap(batch.overflowed, &"lines come faster than they can be written");
        }
        let (written, failed) = self.written_of(&batch.lines);
        for (end, tell) in batch.waiting.drain(..) {
            // Who has gone away does not want to know.
            let _ = tell.send(end <= written);
        }
        let lines = if failed.is_none() { batch.count } else { lines_in(&batch.lines[..written]) };
        self.metrics.audited("written", lines);
        if let Some(error) = failed {
            self.lose(batch.count - lines, &error);
        }
        for tell in batch.flushes.drain(..) {
            let _ = tell.send(());
        }
    }

    /// How many bytes were written, and why not all.
    fn written_of(&mut self, lines: &[u8]) -> (usize, Option<io::Error>) {
        if lines.is_empty() {
            return (0, None);
        }
        if let Err(cut) = self.tell_gap() {
            return (0, Some(cut.error));
        }
        let mut written = 0;
        while written < lines.len() {
            let some = &lines[written..][..whole_lines(&lines[written..], self.sink.at_once())];
            match self.sink.write(some) {
                Ok(()) => written += some.len(),
                Err(cut) => return (written + cut.written, Some(cut.error)),
            }
        }
        (written, None)
    }

    fn tell_gap(&mut self) -> Result<(), Cut> {
        let Some(Gap { since, lines }) = self.gap else { return Ok(()) };
        self.scratch.clear();
        write_gap(&mut self.scratch, OffsetDateTime::now_utc(), since, lines, !self.required);
        self.sink.write(&self.scratch)?;
        self.gap = None;
        if self.required {
            tracing::info!(refused = lines, "the audit is written again; meanwhile reads were refused");
        } else {
            tracing::info!(lost = lines, "the audit is written again; meanwhile reads were not recorded");
        }
        Ok(())
    }

    fn lose(&mut self, lines: u64, error: &dyn fmt::Display) {
        if !self.required {
            self.metrics.audited("lost", lines);
        }
        self.begin_gap(lines, error);
    }

    /// Told when it begins; how long it was, when it ends.
    fn begin_gap(&mut self, lines: u64, error: &dyn fmt::Display) {
        match &mut self.gap {
            Some(gap) => gap.lines += lines,
            None if lines == 0 => {}
            None => {
                self.gap = Some(Gap { since: OffsetDateTime::now_utc(), lines });
                if self.required {
                    tracing::error!("the audit cannot be written, and reads are refused: {error}");
                } else {
                    tracing::error!("the audit cannot be written, and reads are not recorded: {error}");
                }
            }
        }
    }

    fn close(&mut self) {
        if let (Some(gap), Err(_)) = (self.gap, self.tell_gap()) {
            tracing::error!(lines = gap.lines, "the audit ends with a gap that no line tells of");
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// The longest run of whole lines of at most so many bytes, or the first line alone.
fn whole_lines(lines: &[u8], most: usize) -> usize {
    if lines.len() <= most {
        return lines.len();
    }
    match memchr::memrchr(b'\n', &lines[..most]) {
        Some(last) => last + 1,
        None => memchr::memchr(b'\n', lines).map_or(lines.len(), |first| first + 1),
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").field("names", &self.names).field("required", &self.required).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_lines_is_divided_between_lines_only() {
        for (most, expected) in [(100, 12), (12, 12), (11, 8), (8, 8), (7, 3), (3, 3), (2, 3), (1, 3)] {
            assert_eq!(whole_lines(b"ab\nabcd\nabc\n", most), expected, "{most}");
        }
    }
}
