//! The tokens that stand between loopback TCP, which every process and every container of a pod can reach, and the
//! secrets.
//!
//! Each lies in a file of its own: made at start if there is none, read by the clients that the file's mode lets in. It
//! is never printed, and not kept by who compares others with it: of a token a server keeps a digest under a key that
//! this process has drawn, of no use to who reads it. Digests are compared in constant time.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use crate::kernel::{scrub_stack, scrub_stack_to};
use crate::secret::SecretValue;

/// A bearer token.
#[allow(missing_debug_implementations, reason = "a token is never printed")]
pub struct Token(SecretValue);

/// What is kept of a token to compare others with: equally long for all, and of no use to who reads it.
///
/// In the largest pieces that are compared in constant time: it is done for every request.
#[derive(Clone, Copy)]
pub struct TokenDigest([u64; 4]);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("token file {path}: {action} failed: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// Others than its owner and its group may read it, or others than its owner may write it.
    #[error("token file {path} has mode {mode:04o}: others may read or change it; run: chmod 0600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds no token.
    #[error("token file {path} {reason}; delete it, and a new one is made at start")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

const SHORTEST: usize = 16;
const LONGEST: usize = 1_024;

impl Token {
    /// The token in that file, which is made if it does not exist: mode 0600, 32 random bytes as base64url, in a
    /// directory that is made as well. Two processes that start together end up with the same one.
    ///
    /// # Errors
    /// As [`Token::load`], or if the file cannot be made.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        match Self::load(path) {
            Err(TokenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(|error| TokenError::Io { path: path.to_owned(), action: "making it", error })?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// The token in that file.
    ///
    /// # Errors
    /// If it cannot be read, is open to others, or holds no token.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let io = |error| TokenError::Io { path: path.to_owned(), action: "reading it", error };
        let content = |reason| TokenError::Content { path: path.to_owned(), reason };
        // Not blocking: what stands there may be a pipe.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(content("is not a file"));
        }
        let mode = metadata.mode() & 0o7777;
        // A group may read it: that is how a pod's containers share a mounted secret.
        if mode & 0o037 != 0 {
            return Err(TokenError::Open { path: path.to_owned(), mode });
        }
        let mut bytes = Zeroizing::new(vec![0; LONGEST + 2]);
        let length = read_up_to(&mut file, &mut bytes).map_err(io)?;
        let text = bytes[..length].strip_suffix(b"\n").unwrap_or(&bytes[..length]);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match text.len() {
            0 => Err(content("is empty")),
            1..SHORTEST => Err(content("holds fewer than 16 characters")),
            SHORTEST..=LONGEST if text.iter().all(u8::is_ascii_graphic) => Ok(Self(SecretValue::new(text))),
            SHORTEST..=LONGEST => Err(content("holds something else than one line of visible ASCII")),
            _ => Err(content("holds more than 1024 characters")),
        }
    }

    /// As a client sends it in `Authorization`: `Bearer` and the token.
    #[must_use]
    pub fn bearer(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([b"Bearer ", &*self.0.expose()].concat())
    }

    /// What a server keeps of it.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0.expose())
    }
}

impl TokenDigest {
    /// Of what may be a token.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let digest = Self(hash(text));
        scrub_stack_to::<DEPTH>();
        digest
    }

    /// Whether that is the token. Takes as long for a nearly right one as for any other of its length.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        self.is(&Self::of(offered)).into()
    }

    pub(super) fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Nearly twice as deep as a digest reaches, which is 2.1 KiB, and 4.2 KiB where nothing is optimised. No deeper: it is done
/// for every request, and drives out of the processor's cache what the request needs next.
const DEPTH: usize = if cfg!(debug_assertions) { 8 * 1024 } else { 4 * 1024 };

/// In a frame of its own: the last block of what is hashed, a whole token as a rule, stays on the stack.
#[inline(never)]
fn hash(text: &[u8]) -> [u64; 4] {
    let hash = hmac::sign(&KEY, text);
    let (pieces, rest) = hash.as_ref().as_chunks();
    assert!(pieces.len() == 4 && rest.is_empty(), "HMAC with SHA-256 has 32 bytes");
    std::array::from_fn(|at| u64::from_ne_bytes(pieces[at]))
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Of this process alone: a digest that leaks fits nothing anywhere else, and no table can be made of it.
static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    let key = draw();
    scrub_stack();
    key
});

/// In a frame of its own, as [`hash`].
#[inline(never)]
fn draw() -> hmac::Key {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("the system gives random bytes")
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Written whole under another name and then linked, so that nobody ever reads half a token, and so that of two that
/// do this at once the second keeps the first one's.
fn create(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.exists()) {
        DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
    }
    let mut random = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random) + "\n");
    let mut mark = [0; 8];
    SystemRandom::new().fill(&mut mark).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", u64::from_ne_bytes(mark)));
    let draft = path.with_file_name(name);
    let made = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    })();
    let _ = std::fs::remove_file(&draft);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
