use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::sink::put;
use super::{AuditError, Cut, Sink};

/// A file that only grows, and is put aside when it is large. Another that renames or removes it, as `logrotate` does, is
/// noticed with the next line; two sidecars may write to the same one.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Open,
    /// That something stands in the way was told.
    told: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: (u64, u64),
    size: u64,
    /// It ends within a line.
    torn: bool,
}

/// More is not written in one call: a file that is rotated must not grow far beyond its size.
const AT_ONCE: u64 = 256 * 1024;

impl FileSink {
    /// The file, which is made if it does not exist: mode 0600, in a folder that is made as well (0700). It is rotated into
    /// `FILE.1` before it grows beyond `max_size` bytes (0: never), and `keep` of these are kept, at least one.
    ///
    /// # Errors
    /// If it cannot be opened, or others could read it, change it or put another in its place.
    pub fn open(path: &Path, max_size: u64, keep: u32) -> Result<Self, AuditError> {
        let folder = folder_of(path);
        if !folder.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| AuditError::Io { path: path.to_owned(), action: "making its folder", error })?;
        }
        let open = Open::at(path)?;
        Ok(Self { path: path.to_owned(), max_size, keep: keep.max(1), open, told: false })
    }

    /// Turns to the file that stands at the path now.
    fn follow(&mut self) -> io::Result<()> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.open.inode => {
                self.open.size = found.size();
                return Ok(());
            }
            _ => {}
        }
        match Open::at(&self.path) {
            Ok(open) => {
                self.open = open;
                self.told = false;
                Ok(())
            }
            // What was renamed can still be read by whoever has renamed it; what was removed, by nobody.
            Err(error) if self.open.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) => {
                self.tell(&error);
                Ok(())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Puts the file aside and begins another. Nothing is lost if that fails: it goes on as it is.
    fn rotate(&mut self) {
        // Another sidecar on the same file may be about to do the same.
        if flock(&self.open.file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        let rotated = match std::fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.open.inode => self.shift(),
            _ => Ok(()),
        };
        let _ = flock(&self.open.file, FlockOperation::Unlock);
        match rotated.map(|()| Open::at(&self.path)) {
            Ok(Ok(open)) => {
                self.open = open;
                self.told = false;
            }
            Ok(Err(error)) => self.tell(&error),
            Err(error) => self.tell(&error),
        }
    }

    fn shift(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, self.aside(1))
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{number}"));
        self.path.with_file_name(name)
    }

    fn tell(&mut self, error: &dyn std::fmt::Display) {
        if !self.told {
            self.told = true;
            tracing::warn!(file = %self.path.display(), "the audit goes on in the file from before: {error}");
        }
    }
}

impl Sink for FileSink {
    fn write(&mut self, lines: &[u8]) -> Result<(), Cut> {
        self.follow().map_err(|error| Cut { written: 0, error })?;
        let Open { size, .. } = self.open;
        if self.max_size > 0 && size > 0 && size + lines.len() as u64 > self.max_size {
            self.rotate();
        }
        let Open { file, torn, .. } = &mut self.open;
        put(torn, lines, |bytes| Ok(rustix::io::write(&*file, bytes)?))
    }

    fn at_once(&self) -> usize {
        let most = if self.max_size > 0 { self.max_size.min(AT_ONCE) } else { AT_ONCE };
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

impl Open {
    fn at(path: &Path) -> Result<Self, AuditError> {
        let failed = |action| move |error| AuditError::Io { path: path.to_owned(), action, error };
        let untrusted = |reason, remedy| Err(AuditError::Untrusted { path: path.to_owned(), reason, remedy });
        let folder = std::fs::metadata(folder_of(path)).map_err(failed("looking at its folder"))?;
        if folder.mode() & 0o002 != 0 && folder.mode() & 0o1000 == 0 {
            return untrusted("is in a folder that every user may change", "give it a folder of its own, of mode 0700");
        }
        // Not blocking: what stands there may be a pipe. It is read to see whether it ends within a line.
        let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let careful = i32::try_from(careful.bits()).expect("the flags of open(2) are an int");
        let opened =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(careful).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return untrusted("is a link", "name the file itself");
            }
            Err(error) => return Err(failed("opening it")(error)),
        };
        let metadata = file.metadata().map_err(failed("reading its mode"))?;
        if !metadata.is_file() {
            return untrusted("is not a file", "name a file, or \"stderr\"");
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return untrusted("belongs to another user", "give it to this one with chown, or move it away");
        }
        // Its group may read it: that is how a collector of logs does.
        if metadata.mode() & 0o027 != 0 {
            return untrusted("can be read by every user, or changed by its group", "close it with chmod 0600 or 0640");
        }
        let size = metadata.size();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_at(&mut last, size - 1).map_err(failed("reading its end"))?;
        }
        Ok(Self { file, inode: (metadata.dev(), metadata.ino()), size, torn: last != *b"\n" })
    }
}

/// The folder that a file is in, as system calls take it.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
