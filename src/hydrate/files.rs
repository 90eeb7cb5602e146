//! Values as files, replaced together: whoever reads them finds all old ones or all new ones, as Kubernetes mounts a
//! Secret. In the folder, `NAME` leads to `..data/NAME`, and `..data` to the folder of one generation, which is only
//! renamed into its place when every file in it is written. Everything is done through descriptors of these folders, and no
//! link is followed: who else can write to the folder cannot lead us out of it.
//!
//! Must never happen: a value on a disk that nobody allowed, or outside of the folder; a file that others can read, or that
//! is half written; a mix of two generations under one `..data`; a generation that is left behind when the next one is there;
//! anything removed or replaced that is not ours, but plain files of the names that are put.

use std::cell::Cell;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, fstatfs, mkdirat, openat, readlinkat,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::kept::Kept;
use generation::{discard, is_generation, names, new_name, opened};

mod generation;

/// `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// What leads to the generation that counts.
const CURRENT: &str = "..data";

/// A folder for values.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Everything is done beneath it: what becomes of its path does not matter.
    folder: OwnedFd,
    /// It was not there before.
    made: bool,
    /// What is in it is ours.
    filled: Cell<bool>,
    /// How the files in it are to be.
    kept: Kept,
    /// How the folders of its generations are to be.
    reach: Mode,
}

/// What became of a set that was put.
#[derive(Debug)]
#[must_use = "a name may lead to something else than the set"]
pub enum Put {
    /// It was there already, just so.
    Same,
    /// All of it is in force.
    Whole,
    /// It is in force, but something else has this name, and could not be replaced.
    But(String, io::Error),
}

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
    /// Something else has its name.
    #[error("is no folder")]
    NoFolder,
    /// The system's own.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Folder {
    /// That folder for a program's values, each file 0400, made for its owner alone if it is not there.
    ///
    /// # Errors
    /// It is not fit for values; with `disk`, a disk is.
    pub fn open(path: &Path, uid: u32, disk: bool) -> Result<Self, BadFolder> {
        let folder = Self::at(path, Kept { mode: 0o400, user: None, group: None }, Mode::RWXU)?;
        let fit = match folder.belongs_to(&[uid]) {
            Ok(()) if !disk && !in_memory(&folder.folder)? => Err(BadFolder::Disk),
            fit => fit,
        };
        folder.if_so(fit)
    }

    /// That folder for files that others read as their mode lets them, made with the folders above it if it is not there.
    ///
    /// # Errors
    /// It belongs neither to root, nor to this user, nor to the one that its files are for, or others may write to it.
    pub fn open_for_readers(path: &Path, uid: u32, kept: Kept) -> Result<Self, BadFolder> {
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            std::fs::create_dir_all(above)?;
        }
        // Who may read a file says its mode; the folder lets them come to it.
        let folder = Self::at(path, kept, Mode::from_raw_mode(0o755))?;
        let fit = folder.belongs_to(&[0, uid, kept.user.unwrap_or(uid)]);
        folder.if_so(fit)
    }

    fn at(path: &Path, kept: Kept, reach: Mode) -> Result<Self, BadFolder> {
        let path = std::path::absolute(path)?;
        let made = match DirBuilder::new().mode(reach.as_raw_mode()).create(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error.into()),
        };
        // Of a pipe, to be opened at all would have to be waited for.
        let folder = match openat(CWD, &path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOTDIR) => return Err(BadFolder::NoFolder),
            folder => folder.map_err(io::Error::from)?,
        };
        Ok(Self { path, folder, made, filled: Cell::new(false), kept, reach })
    }

    fn belongs_to(&self, users: &[u32]) -> Result<(), BadFolder> {
        let found = fstat(&self.folder).map_err(io::Error::from)?;
        if users.contains(&found.st_uid) && found.st_mode & 0o022 == 0 { Ok(()) } else { Err(BadFolder::Shared) }
    }

    fn if_so(self, fit: Result<(), BadFolder>) -> Result<Self, BadFolder> {
        if let Err(bad) = fit {
            self.remove();
            return Err(bad);
        }
        Ok(self)
    }

    /// Where a file of that name is found.
    #[must_use]
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Puts these files in the place of all that were put before.
    ///
    /// # Errors
    /// The system's own, such as that the memory is used up; or a name is none for a file, or a folder's. What was there stays.
    pub fn put(&self, files: &[(&str, &[u8])]) -> io::Result<Put> {
        // Somebody else's sweep would take the generation that is not in force yet. Where there are no locks, there are none.
        if flock(&self.folder, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process replaces files in it just now"));
        }
        let put = self.put_alone(files);
        let _ = flock(&self.folder, FlockOperation::Unlock);
        put
    }

    fn put_alone(&self, files: &[(&str, &[u8])]) -> io::Result<Put> {
        let is_wanted = |name: &str| files.iter().any(|(wanted, _)| *wanted == name);
        if let Some(current) = self.holding(files) {
            self.filled.set(true);
            self.sweep(&current, is_wanted);
            return Ok(Put::Same);
        }
        let generation = new_name();
        let mut led = Vec::new();
        let turned = self.generate(&generation, files).and_then(|()| {
            // A name that is new leads nowhere until the turn.
            for (name, _) in files {
                match statat(&self.folder, *name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => {
                        self.lead(name, &within(name))?;
                        led.push(*name);
                    }
                    Err(error) => return Err(error.into()),
                    Ok(found) => match FileType::from_raw_mode(found.st_mode) {
                        FileType::RegularFile | FileType::Symlink => {}
                        _other => {
                            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is no file")));
                        }
                    },
                }
            }
            self.lead(CURRENT, &generation)
        });
        if let Err(error) = turned {
            for name in led {
                let _ = unlinkat(&self.folder, name, AtFlags::empty());
            }
            let _ = discard(&self.folder, &generation);
            return Err(error);
        }
        // The new ones are in force, whatever fails now: what of the old ones cannot be removed goes with the next.
        self.filled.set(true);
        let mut put = Put::Whole;
        for (name, _) in files {
            if let Err(error) = self.lead(name, &within(name)) {
                put = Put::But((*name).to_owned(), error);
            }
        }
        self.sweep(&generation, is_wanted);
        let _ = rustix::fs::fsync(&self.folder);
        Ok(put)
    }

    /// Takes away all that was put here, if that was done by this one, and the folder if it was made by it.
    pub fn remove(&self) {
        if self.filled.take() {
            let _ = unlinkat(&self.folder, CURRENT, AtFlags::empty());
            self.sweep("", |_| false);
        }
        if self.made {
            // Somebody else's file keeps it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    fn generate(&self, generation: &str, files: &[(&str, &[u8])]) -> io::Result<()> {
        mkdirat(&self.folder, generation, Mode::RWXU)?;
        let new = opened(&self.folder, generation)?;
        // Whoever may write to the folder may have put another one in its place.
        if fstat(&new)?.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        for (name, value) in files {
            if !is_own_name(name) {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            self.kept.fill(&openat(&new, *name, flags, Mode::RUSR | Mode::WUSR)?.into(), value)?;
        }
        fchmod(&new, self.reach)?;
        // Where it is refused, as some file systems do, the turn is still at once.
        let _ = rustix::fs::fsync(&new);
        Ok(())
    }

    /// The generation in force, if it has these files, each as it is to be, and every name leads to it.
    fn holding(&self, files: &[(&str, &[u8])]) -> Option<String> {
        let current = self.leads(CURRENT).filter(|to| is_generation(to))?;
        let folder = opened(&self.folder, &current).ok()?;
        let entries = names(&folder).ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let is_so = |name: &str, value: &[u8]| {
            let file = openat(&folder, name, flags, Mode::empty()).ok()?;
            Some(self.kept.is_so(&file.into(), value).ok()? && self.leads(name)? == within(name))
        };
        let found = fstat(&folder).ok()?;
        let so = found.st_uid == rustix::process::geteuid().as_raw()
            && found.st_mode & 0o7777 == self.reach.as_raw_mode()
            && entries.len() == files.len()
            && files.iter().all(|(name, value)| is_own_name(name) && is_so(name, value) == Some(true));
        so.then_some(current)
    }

    /// Makes `name` lead there, whatever it was before, in one step.
    fn lead(&self, name: &str, to: &str) -> io::Result<()> {
        if self.leads(name).is_some_and(|now| now == to) {
            return Ok(());
        }
        let draft = new_name();
        symlinkat(to, &self.folder, &draft)?;
        renameat(&self.folder, &draft, &self.folder, name).map_err(|error| {
            let _ = unlinkat(&self.folder, &draft, AtFlags::empty());
            io::Error::from(error)
        })
    }

    fn leads(&self, name: &str) -> Option<String> {
        readlinkat(&self.folder, name, Vec::new()).ok()?.into_string().ok()
    }

    /// Removes every generation but that one, and every name of ours that is not wanted; of these, whatever can be.
    fn sweep(&self, generation: &str, is_wanted: impl Fn(&str) -> bool) {
        for name in names(&self.folder).unwrap_or_default() {
            if is_generation(&name) && name != generation {
                let _ = discard(&self.folder, &name);
            } else if !is_wanted(&name) && self.leads(&name).is_some_and(|to| to == within(&name)) {
                let _ = unlinkat(&self.folder, &name, AtFlags::empty());
            }
        }
    }
}

/// Where a name leads.
fn within(name: &str) -> String {
    format!("{CURRENT}/{name}")
}

/// Whether a variable's file can have that name beside ours.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    is_own_name(name) && !name.starts_with('.')
}

/// Whether it is the name of one file, and none of ours.
fn is_own_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name.len() <= 255 && !name.contains(['/', '\0']) && !name.starts_with("..")
}

fn in_memory(folder: &OwnedFd) -> io::Result<bool> {
    #[allow(clippy::cast_sign_loss, reason = "a magic number")]
    let kind = fstatfs(folder)?.f_type as u64 & 0xffff_ffff;
    Ok(kind == TMPFS || kind == RAMFS)
}

#[cfg(test)]
mod tests;
