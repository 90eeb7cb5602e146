use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MAX_BYTES;

/// Why a snapshot was not written. The old one, if there was one, is as it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Make room.
    #[error("snapshot {path}: no room for it while {action}: {error}")]
    NoRoom {
        /// The snapshot.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Let this user write there.
    #[error("snapshot {path}: not allowed while {action}: {error}; its folder must be writable for this user")]
    NotAllowed {
        /// The snapshot.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The disk fails, or something stands in the way.
    #[error("snapshot {path}: {action} failed: {error}")]
    Io {
        /// The snapshot.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Hold less: a file so large would not be read.
    #[error("snapshot {path} would have {bytes} bytes; {MAX_BYTES} is the most")]
    TooLarge {
        /// The snapshot.
        path: PathBuf,
        /// What it would have.
        bytes: usize,
    },
    /// Nothing is sealed with a salt that could be guessed or come twice.
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl WriteError {
    pub(super) fn new(path: &Path, action: &'static str, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoRoom { path, action, error }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotAllowed { path, action, error }
            }
            _ => Self::Io { path, action, error },
        }
    }
}

/// Why a snapshot was not read. None of them should end a start. Only [`ReadError::Damaged`] moves the file; the others
/// leave it to be read once their cause is mended, or to be replaced by the next write.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing to be done: the next write makes a new one. If it keeps coming, look at the disk, or at who exchanges
    /// the key file.
    #[error("snapshot {path} {reason}; {aside}")]
    Damaged {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// What became of it.
        aside: Aside,
    },
    /// It holds the estate of another configuration or identity.
    #[error(
        "snapshot {path} belongs to another identity (sources, tenant, client or cloud) and is not used; give each sidecar a file of its own, or leave it to be replaced"
    )]
    OtherIdentity {
        /// The snapshot.
        path: PathBuf,
    },
    /// It was taken too long ago.
    #[error("snapshot {path} is {} old and is not used: {} is the most", whole(*age), whole(*max_age))]
    TooOld {
        /// The snapshot.
        path: PathBuf,
        /// Time since it was taken.
        age: Duration,
        /// The most that is allowed.
        max_age: Duration,
    },
    /// A newer sidekey wrote it.
    #[error("snapshot {path} has format {format}, which this version of sidekey does not know")]
    Newer {
        /// The snapshot.
        path: PathBuf,
        /// Its format.
        format: u16,
    },
    /// Others than us may have put it there.
    #[error("snapshot {path} {reason} and is not used; {remedy}")]
    Untrusted {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// What mends it.
        remedy: &'static str,
    },
    /// The disk fails, or it is not ours to read.
    #[error("snapshot {path}: {action} failed: {error}")]
    Io {
        /// The snapshot.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// What became of a damaged snapshot.
#[derive(Debug)]
pub enum Aside {
    /// It was renamed, so that it can be looked at.
    Moved(PathBuf),
    /// Another process has replaced it meanwhile: there is nothing to move.
    Replaced,
    /// It stands where it was.
    Stuck(io::Error),
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved(path) => write!(f, "it was put aside as {}", path.display()),
            Self::Replaced => f.write_str("it has been replaced meanwhile"),
            Self::Stuck(error) => write!(f, "it could not be put aside: {error}"),
        }
    }
}

fn whole(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
