//! The last known good values, metadata and ages in one encrypted file, so that a start while Azure is unreachable serves
//! what was held before.
//!
//! The file is sealed by AES-256-GCM with a key that HKDF-SHA256 makes anew for every file, from a random salt and the
//! 32 bytes of a key file that should lie elsewhere; its header is authenticated with it. Values cross as
//! [`SecretValue`](crate::secret::SecretValue), the clear text is in one buffer that is wiped, and nothing of a file is
//! parsed before it is proved whole. What is held and what is fresh is decided elsewhere: this module moves plain data.
//!
//! What must never happen:
//!
//! - A write that leaves neither the old file nor the new one. Everything is written and synced under another name
//!   and renamed; a write that fails leaves the old file as it was.
//! - A start that fails, or fails again, because of a bad file. A damaged one is put aside as `FILE.corrupt` (one is kept).
//!   One that is merely not for us now (too old, of another identity, of a newer sidekey, open to others) is left where
//!   it stands, so that mending the cause makes it readable; the next write replaces it. Whoever writes should
//!   therefore have something to write.
//! - A value that looks younger than it is. See [`Restored::age`].
//!
//! What it cannot do: tell that an older file was put back in place of a newer one. Both were sealed by us, and whatever
//! could tell them apart would have to be kept where it cannot be put back too. What bounds it is the file's age. Nor
//! does it hide how much is held: the file's size tells. Nor are the keys wiped that `ring` derives and holds while it
//! seals or opens.
//!
//! Everything here blocks on the disk: call it where blocking is allowed.

mod disk;
mod document;
mod error;
#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
pub(crate) mod fuzzing;
mod key;
mod read;
mod seal;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

pub use disk::{Disk, SystemDisk};
pub use error::{Aside, ReadError, WriteError};
pub use key::{Key, KeyError};
pub use read::{Bounds, Restored};

use crate::secret::{Metadata, Secret, SecretName, VaultName, Version};
use crate::vaults::VaultInfo;

/// The largest file that is written, and that is read: 256 MiB.
pub const MAX_BYTES: usize = 256 * 1024 * 1024;

/// What a snapshot holds.
#[derive(Debug, Clone)]
pub struct Contents {
    /// When it was taken, by the wall clock.
    pub taken: OffsetDateTime,
    /// The vaults, and what listings told of them.
    pub vaults: Vec<KnownVault>,
    /// The values.
    pub values: Vec<KnownValue>,
}

/// A vault and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownVault {
    /// What is known of it without asking it.
    pub info: VaultInfo,
    /// When the last whole listing began, by the wall clock. `None`: what is in `secrets` is not all.
    pub listed: Option<OffsetDateTime>,
    /// What listings told.
    pub secrets: Vec<Metadata>,
}

/// A value and when it was last known to be true.
#[derive(Debug, Clone)]
pub struct KnownValue {
    /// The vault, as `source:vault`.
    pub vault: VaultName,
    /// The name that was asked for.
    pub name: SecretName,
    /// The version that was asked for; `None` for whichever was current.
    pub version: Option<Version>,
    /// What the vault answered.
    pub secret: Arc<Secret>,
    /// When the vault last confirmed it, by the wall clock.
    pub confirmed: OffsetDateTime,
    /// Whether a listing that shows the same attributes proves that it is unchanged.
    pub settled: bool,
}

/// The snapshot of one sidecar: a file, the key it is sealed with, and whose it is.
pub struct Snapshot {
    file: PathBuf,
    key: Key,
    identity: seal::Identity,
    disk: Box<dyn Disk>,
}

impl Snapshot {
    /// The snapshot in that file. `identity` is whatever tells one sidecar's estate from another's (sources, tenants,
    /// clients, clouds), in any form that is the same at every start; the file tells nothing of it.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, key: Key, identity: &[u8]) -> Self {
        Self::on(SystemDisk, file, key, identity)
    }

    /// The same on another disk: for tests of what happens when one fails.
    #[must_use]
    pub fn on(disk: impl Disk + 'static, file: impl Into<PathBuf>, key: Key, identity: &[u8]) -> Self {
        Self { file: file.into(), key, identity: seal::Identity::of(identity), disk: Box::new(disk) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Replaces the file by one with these contents, and tells its size in bytes. Makes its folder (mode 0700) if there
    /// is none. Clears away what a writer that was killed has left.
    ///
    /// # Errors
    /// If it could not be written, or not to its end: then the old file is as it was, unless only the last step failed,
    /// the sync of the folder, when either the old or the new one is found after a loss of power.
    pub fn write(&self, contents: &Contents) -> Result<usize, WriteError> {
        let sealed = seal::seal(&self.key, &self.identity, contents).map_err(|seal::NoRandom| WriteError::NoRandom)?;
        if sealed.len() > MAX_BYTES {
            return Err(WriteError::TooLarge { path: self.file.clone(), bytes: sealed.len() });
        }
        write::replace(&*self.disk, &self.file, &sealed)?;
        Ok(sealed.len())
    }

    /// What the file holds; `None` if there is no file. `now` is the wall clock's.
    ///
    /// # Errors
    /// If what is there may not be used; see [`ReadError`] for which of them leave the file where it is.
    pub fn read(&self, now: OffsetDateTime, bounds: Bounds) -> Result<Option<Restored>, ReadError> {
        let Some(found) = read::load(&self.file)? else { return Ok(None) };
        let contents = match found.bytes {
            Err(reason) => Err(seal::Refused::Damaged(reason)),
            Ok(mut bytes) => seal::open(&self.key, &self.identity, &mut bytes),
        };
        let path = || self.file.clone();
        match contents {
            Ok(contents) => {
                let max_age = bounds.max_age;
                let restored = contents.within(bounds, now);
                restored.map(Some).map_err(|age| ReadError::TooOld { path: path(), age, max_age })
            }
            Err(seal::Refused::Damaged(reason)) => {
                let aside = read::put_aside(&*self.disk, &self.file, found.inode);
                Err(ReadError::Damaged { path: path(), reason, aside })
            }
            Err(seal::Refused::Newer(format)) => Err(ReadError::Newer { path: path(), format }),
            Err(seal::Refused::OtherIdentity) => Err(ReadError::OtherIdentity { path: path() }),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("file", &self.file).finish_non_exhaustive()
    }
}
