//! What an identity proves itself with, as it was read: bytes in memory, or what its files held at one moment.
//!
//! Read whole each time, because nothing less tells of every way in which platforms replace a file: a rename, a link that
//! is moved (Kubernetes' `..data`), a write in place within the same second. Watching the file itself misses the first
//! two.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::{Exposed, SecretValue};
use crate::vaults::azure::settings::Credential;
use crate::vaults::{VaultError, VaultErrorKind};

/// A credential is a few kilobytes at most; what is larger is some other file.
const MOST_BYTES: usize = 1024 * 1024;
/// Group and others, to read or to write.
const OTHERS: u32 = 0o077;

/// One piece of a proof: a client secret, a certificate, a password, a token.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its name for people.
    pub(super) what: &'static str,
    pub(super) from: Credential,
    pub(super) form: Form,
}

/// How a file's bytes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Text; one newline at the file's end is not part of it.
    Line,
    /// As they stand.
    Bytes,
}

/// What was read of one part.
pub(super) struct Piece {
    pub(super) value: Arc<SecretValue>,
    /// Others than the file's owner may read or change it.
    pub(super) open: bool,
}

impl Part {
    /// Reads it now. Blocks.
    ///
    /// # Errors
    /// [`VaultErrorKind::Unauthenticated`] says which file is at fault and why, never what it holds.
    pub(super) fn read(&self) -> Result<Piece, VaultError> {
        let (value, open) = match &self.from {
            Credential::Inline(value) => (Arc::clone(value), false),
            Credential::File(path) => {
                let failed =
                    |error: io::Error| self.unusable(&format!("cannot be read: {}", error.kind())).with_source(error);
                let (mut bytes, open) = read_file(path).map_err(failed)?;
                if bytes.len() > MOST_BYTES {
                    return Err(self.unusable("is larger than 1 MiB, which no credential is"));
                }
                if self.form == Form::Line && bytes.ends_with(b"\n") {
                    bytes.pop();
                    if bytes.ends_with(b"\r") {
                        bytes.pop();
                    }
                }
                if self.form == Form::Line && bytes.is_empty() {
                    return Err(self.unusable("is empty"));
                }
                (Arc::new(SecretValue::new(std::mem::take(&mut *bytes))), open)
            }
        };
        if self.form == Form::Line && text(&value).is_none() {
            return Err(self.unusable("is not UTF-8 text"));
        }
        Ok(Piece { value, open })
    }

    /// A sign-in that fails for what this part is, or is not.
    pub(super) fn unusable(&self, reason: &str) -> VaultError {
        let detail = match &self.from {
            Credential::Inline(_) => format!("the {} {reason}", self.what),
            Credential::File(path) => format!("the {} file {} {reason}", self.what, path.display()),
        };
        VaultError::new(VaultErrorKind::Unauthenticated { code: None }, detail)
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.from {
            Credential::Inline(_) => None,
            Credential::File(path) => Some(path),
        }
    }
}

fn read_file(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
    let file = File::open(path)?;
    let facts = file.metadata()?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(facts.len()).unwrap_or(MOST_BYTES).min(MOST_BYTES) + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, facts.mode() & OTHERS != 0))
}

/// What all parts held at one moment.
pub(super) struct Proof {
    /// Counts the contents that were ever read of one identity; a content that comes back gets a new number, unless it is
    /// the one that signed in last.
    pub(super) edition: u64,
    parts: Vec<Arc<SecretValue>>,
}

impl Proof {
    pub(super) fn new(edition: u64, parts: Vec<Arc<SecretValue>>) -> Self {
        Self { edition, parts }
    }

    /// Whether these are its bytes too.
    pub(super) fn holds(&self, parts: &[Arc<SecretValue>]) -> bool {
        self.parts.len() == parts.len() && self.parts.iter().zip(parts).all(|(own, other)| *bytes(own) == *bytes(other))
    }

    /// Whether both hold the same.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.holds(&other.parts)
    }

    /// A part of [`Form::Line`]; the empty text if there is no such part.
    pub(super) fn line(&self, at: usize) -> Zeroizing<String> {
        self.parts.get(at).and_then(|value| text(value)).unwrap_or_default()
    }

    /// A part as it stands.
    pub(super) fn bytes(&self, at: usize) -> Option<Exposed> {
        self.parts.get(at).map(|value| bytes(value))
    }

    /// Whether it has so many parts.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({})", self.edition)
    }
}

fn text(value: &SecretValue) -> Option<Zeroizing<String>> {
    let bytes = bytes(value);
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// To Entra, in whatever form, and to be compared with what was read before.
fn bytes(value: &SecretValue) -> Exposed {
    value.expose()
}
