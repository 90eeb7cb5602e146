//! The audit: what is written, when, and what becomes of reads that cannot be recorded.

mod book;
mod file;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sidekey::access::audit::{Audit, Book, Cut, Line, Names, Operation, Sink};
use sidekey::metrics::Metrics;

/// Takes everything.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Vec<u8>>>);

impl Sink for Paper {
    fn write(&mut self, lines: &[u8]) -> Result<(), Cut> {
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }

    fn at_once(&self) -> usize {
        usize::MAX
    }
}

impl Paper {
    /// An audit that is required, on it.
    pub fn required(&self) -> Audit {
        Audit::from(Book::on(self.clone(), Names::default(), true, &Metrics::default()).unwrap())
    }

    /// What was written since it was asked last, line by line.
    pub fn taken(&self) -> Vec<Value> {
        lines(&std::mem::take(&mut *self.0.lock().unwrap()))
    }
}

/// Does with each write what the test says, when it says so.
pub struct Asking {
    asked: Sender<String>,
    verdicts: Receiver<Verdict>,
    at_once: usize,
}

pub enum Verdict {
    Take,
    /// After so many bytes the disk is full.
    Cut(usize),
    Panic,
}

/// The test's side of it.
pub struct Asked {
    writes: Receiver<String>,
    verdicts: Sender<Verdict>,
}

impl Asking {
    pub fn new(at_once: usize) -> (Self, Asked) {
        let ((asked, writes), (tell, verdicts)) = (channel(), channel());
        (Self { asked, verdicts, at_once }, Asked { writes, verdicts: tell })
    }
}

impl Sink for Asking {
    fn write(&mut self, lines: &[u8]) -> Result<(), Cut> {
        let text = String::from_utf8(lines.to_vec()).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        // Once the test is over, all is taken.
        let _ = self.asked.send(text);
        match self.verdicts.recv() {
            Ok(Verdict::Take) | Err(_) => Ok(()),
            Ok(Verdict::Cut(written)) => Err(Cut { written, error: std::io::ErrorKind::StorageFull.into() }),
            Ok(Verdict::Panic) => panic!("as the test wants it"),
        }
    }

    fn at_once(&self) -> usize {
        self.at_once
    }
}

impl Asked {
    /// The next write, which waits for its verdict.
    pub fn next(&self) -> String {
        self.writes.recv().unwrap()
    }

    /// Nothing is being written.
    pub fn is_quiet(&self) -> bool {
        self.writes.try_recv().is_err()
    }

    pub fn tell(&self, verdict: Verdict) {
        self.verdicts.send(verdict).unwrap();
    }
}

pub fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no line: {line:?}"))).collect()
}

/// A line that is told from others by its request.
pub fn line(request: &str) -> Line<'_> {
    Line {
        request,
        caller: None,
        peer: None,
        from: None,
        operation: Operation::Read,
        vault: None,
        name: None,
        version: None,
        outcome: "ok",
        served: None,
        searched: None,
    }
}

/// Which requests these lines are of.
pub fn requests(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["request"].as_str().unwrap_or("a gap")).collect()
}

pub fn counted(metrics: &Metrics, outcome: &str) -> u64 {
    let begin = format!("sidekey_audit_lines_total{{outcome=\"{outcome}\"}} ");
    metrics.encode().lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok()).unwrap_or(0)
}
