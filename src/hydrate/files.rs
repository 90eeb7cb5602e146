//! Values as files in memory: each 0400, whole or not there, in a folder that nobody else can change.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::fstatfs;

/// `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// A folder for values.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Why a folder is none for values.
#[derive(Debug, thiserror::Error)]
pub enum BadFolder {
    /// Its files reach a disk.
    #[error(
        "is not in memory (tmpfs or ramfs), so values would be written to a disk; /run and /dev/shm are, or say --allow-disk"
    )]
    Disk,
    /// Somebody else can put files into it.
    #[error("belongs to another user, or others may write to it")]
    Shared,
    /// The system's own.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Folder {
    /// That folder, made for its owner alone if it is not there.
    ///
    /// # Errors
    /// It is not fit for values; with `disk`, a disk is.
    pub fn open(path: &Path, uid: u32, disk: bool) -> Result<Self, BadFolder> {
        let path = std::path::absolute(path)?;
        if !path.exists() {
            DirBuilder::new().mode(0o700).create(&path)?;
        }
        let folder = File::open(&path)?;
        let found = folder.metadata()?;
        if !found.is_dir() || found.uid() != uid || found.mode() & 0o022 != 0 {
            return Err(BadFolder::Shared);
        }
        #[allow(clippy::cast_sign_loss, reason = "a magic number")]
        let kind = fstatfs(&folder).map_err(io::Error::from)?.f_type as u64 & 0xffff_ffff;
        if !disk && kind != TMPFS && kind != RAMFS {
            return Err(BadFolder::Disk);
        }
        Ok(Self(path))
    }

    /// Writes one value in the place of what was there; where.
    ///
    /// # Errors
    /// The system's own; the name is none for a file.
    pub fn write(&self, name: &str, value: &[u8]) -> io::Result<PathBuf> {
        if name.contains('/') || name.starts_with('.') {
            return Err(io::Error::from(io::ErrorKind::InvalidFilename));
        }
        let path = self.0.join(name);
        let mut draft = tempfile::Builder::new().prefix(".sidekey-").tempfile_in(&self.0)?;
        draft.write_all(value)?;
        fs::set_permissions(draft.path(), Permissions::from_mode(0o400))?;
        draft.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }
}
