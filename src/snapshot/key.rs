use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::disk::flags;
use crate::kernel::scrub_stack;
use crate::secret::SecretValue;

const BYTES: usize = 32;
/// 32 bytes in base64, with room to see that there is more.
const TEXT: usize = 64;

/// What snapshots are sealed with, or names are hashed with: 32 random bytes from a file, opened for the moment of use.
pub struct Key(SecretValue);

/// Why there is no key. Never quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("key file {path}: {action} failed: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error("key file {path} has mode {mode:04o}: others may read or change it; run: chmod 0600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else's key is known to somebody else.
    #[error("key file {path} belongs to user {owner}, and this is user {user}; run: chown {user} {path}")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// It holds no key.
    #[error(
        "key file {path} {reason}; put it back, or delete it: a new one is made at start, and a snapshot is started anew"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Key {
    /// The key in that file, which is made if it does not exist: mode 0600, 32 random bytes in base64 on one line, in a
    /// folder that is made as well (0700). Whole or not at all, and two processes that start together end up with the
    /// same one.
    ///
    /// # Errors
    /// As [`Key::load`], or if the file cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(|error| KeyError::Io { path: path.to_owned(), action: "making it", error })?;
                tracing::info!(key_file = %path.display(), "made a key; what another has sealed stays closed");
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// The key in that file. A link is followed: mounted keys are links.
    ///
    /// # Errors
    /// If it cannot be read, is not ours alone, or holds no key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |error| KeyError::Io { path: path.to_owned(), action: "reading it", error };
        let content = |reason| KeyError::Content { path: path.to_owned(), reason };
        // Not blocking: what stands there may be a pipe.
        let file = OpenOptions::new().read(true).custom_flags(flags(OFlags::NONBLOCK)).open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(content("is not a file"));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user {
            return Err(KeyError::Owner { path: path.to_owned(), owner, user });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(TEXT));
        file.take(TEXT as u64).read_to_end(&mut text).map_err(io)?;
        Self::parse(&text).map_err(content)
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err("is empty");
        }
        // As long as the text, so that a text of any length is measured rather than cut.
        let mut bytes = Zeroizing::new([0; TEXT]);
        let length =
            STANDARD.decode_slice(line, &mut *bytes).map_err(|_| "holds something else than one line of base64")?;
        if length != BYTES {
            return Err("holds another number of bytes than 32");
        }
        Ok(Self(SecretValue::new(&bytes[..BYTES])))
    }

    /// The same key as one that text is authenticated with (HMAC-SHA256), as it stands in the file.
    #[must_use]
    pub fn authenticator(&self) -> hmac::Key {
        let key = authenticator(&self.0.expose());
        scrub_stack();
        key
    }

    /// From which the keys for one salt are made.
    pub(super) fn salted(&self, salt: &[u8]) -> Prk {
        let salted = extract(&self.0.expose(), salt);
        scrub_stack();
        salted
    }
}

/// In a frame of its own, which `scrub_stack` then covers: the key stays on the stack.
#[inline(never)]
fn authenticator(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

/// The same.
#[inline(never)]
fn extract(key: &[u8], salt: &[u8]) -> Prk {
    Salt::new(HKDF_SHA256, salt).extract(key)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Written whole and synced under another name first: a power cut must not leave half a key, which every later start
/// would refuse. What another process has put there meanwhile stays.
fn create(path: &Path) -> io::Result<()> {
    let folder = super::write::folder_of(path);
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut random = Zeroizing::new([0; BYTES]);
    SystemRandom::new().fill(&mut *random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut text = Zeroizing::new([b'\n'; BYTES.div_ceil(3) * 4 + 1]);
    STANDARD.encode_slice(*random, &mut *text).map_err(io::Error::other)?;
    // Mode 0600, and never one that exists: what tempfile does by itself.
    let mut draft = tempfile::Builder::new().prefix(".sidekey-key-").tempfile_in(folder)?;
    draft.write_all(&*text)?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(path) {
        Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
        Ok(_) => File::open(folder)?.sync_all(),
    }
}
