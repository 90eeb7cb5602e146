use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

/// The system calls that change the disk, one by one, so that a test can make each of them fail.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a new file that only we can read, for writing. Anything that stands there already, a link too, is an error.
    ///
    /// # Errors
    /// As `open(2)`.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Writes some of the bytes and tells how many.
    ///
    /// # Errors
    /// As `write(2)`.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;

    /// Returns when what was written would survive a loss of power.
    ///
    /// # Errors
    /// As `fsync(2)`. What was written before an error may be lost, and a second try would not tell.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Gives a file another name, in place of what has it.
    ///
    /// # Errors
    /// As `rename(2)`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in a folder would survive a loss of power.
    ///
    /// # Errors
    /// As `open(2)` and `fsync(2)`.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As `unlink(2)`.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk itself.
#[derive(Debug, Clone, Copy)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::CLOEXEC))
            .open(path)?;
        // Held while it is written, so that another sidecar on the same file (one that takes over, say) does not clear it
        // away. A file system without locks has to do without.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(file)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// As the standard library takes them.
pub(super) fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("the flags of open(2) are an int")
}
