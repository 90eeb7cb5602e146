use std::io;
use std::path::PathBuf;

use crate::snapshot::KeyError;

/// Why there is no audit where one was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Its file cannot be opened or made.
    #[error("audit file {path}: {action} failed: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Others than us could read it, change it or put another in its place.
    #[error("audit file {path} {reason}; {remedy}")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// What mends it.
        remedy: &'static str,
    },
    /// There is no key to hash names with.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The system gives no thread to write with.
    #[error("the audit's thread cannot be started: {0}")]
    Thread(io::Error),
}
