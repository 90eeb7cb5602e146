//! Values as files in memory, replaced together: whoever reads them finds all old ones or all new ones, as Kubernetes mounts a
//! Secret. In the folder, `NAME` leads to `..data/NAME`, and `..data` to the folder of one generation, which is only
//! renamed into its place when every file in it is written.
//!
//! Must never happen: a value on a disk that nobody allowed; a file that others can read, or that is half written; a mix of
//! two generations under one `..data`; a generation that is left behind when the next one is there.

use std::cell::Cell;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstatfs, mkdirat, openat, readlinkat, renameat, symlinkat, unlinkat};

/// `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// What leads to the generation that counts.
const CURRENT: &str = "..data";
/// How the names of generations begin, and of what is to take [`CURRENT`]'s place.
pub(super) const GENERATION: &str = "..sidekey-";

/// A folder for the values of one program.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Everything is done beneath it: what becomes of its path does not matter.
    folder: OwnedFd,
    /// It was not there before.
    made: bool,
    /// What is in it is ours.
    filled: Cell<bool>,
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
        let made = match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error.into()),
        };
        let file = File::open(&path)?;
        let found = file.metadata()?;
        let folder = Self { path, folder: file.into(), made, filled: Cell::new(false) };
        let fit = if !found.is_dir() || found.uid() != uid || found.mode() & 0o022 != 0 {
            Err(BadFolder::Shared)
        } else if !disk && !in_memory(&folder.folder)? {
            Err(BadFolder::Disk)
        } else {
            Ok(())
        };
        if let Err(bad) = fit {
            folder.remove();
            return Err(bad);
        }
        Ok(folder)
    }

    /// Where a file of that name is found.
    #[must_use]
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Puts these files, each 0400, in the place of all that were put before.
    ///
    /// # Errors
    /// The system's own, such as that the memory is used up; or a name is none for a file. What was there stays.
    pub fn put<'f>(&self, files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> io::Result<()> {
        let generation = format!("{GENERATION}{}", random());
        let put = self.generate(&generation, files).and_then(|names| {
            for name in &names {
                self.lead(name, &format!("{CURRENT}/{name}"))?;
            }
            self.lead(CURRENT, &generation)?;
            self.filled.set(true);
            Ok(names)
        });
        match put {
            Ok(names) => {
                // The new ones are in force: what of the old ones cannot be removed now goes with the next.
                let _ = self.sweep(&generation, |name| names.contains(&name));
                Ok(())
            }
            Err(error) => {
                let _ = discard(&self.folder, &generation);
                Err(error)
            }
        }
    }

    /// Takes away all that was put here, if that was done by this one, and the folder if it was made by it.
    pub fn remove(&self) {
        if self.filled.take() {
            let _ = unlinkat(&self.folder, CURRENT, AtFlags::empty());
            let _ = self.sweep("", |_| false);
        }
        if self.made {
            // Somebody else's file keeps it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    fn generate<'f>(
        &self,
        generation: &str,
        files: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> io::Result<Vec<&'f str>> {
        mkdirat(&self.folder, generation, Mode::RWXU)?;
        let new = openat(&self.folder, generation, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for (name, value) in files {
            if !is_file_name(name) {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            File::from(openat(&new, name, flags, Mode::RUSR)?).write_all(value)?;
            names.push(name);
        }
        Ok(names)
    }

    /// Makes `name` lead there, whatever it was before, in one step.
    fn lead(&self, name: &str, to: &str) -> io::Result<()> {
        if self.leads(name).is_some_and(|now| now == to) {
            return Ok(());
        }
        let draft = format!("{GENERATION}{}", random());
        symlinkat(to, &self.folder, &draft)?;
        renameat(&self.folder, &draft, &self.folder, name).map_err(|error| {
            let _ = unlinkat(&self.folder, &draft, AtFlags::empty());
            io::Error::from(error)
        })
    }

    fn leads(&self, name: &str) -> Option<String> {
        readlinkat(&self.folder, name, Vec::new()).ok()?.into_string().ok()
    }

    /// Removes every generation but that one, and every name of ours that is not wanted.
    fn sweep(&self, generation: &str, is_wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        for name in names {
            if is_generation(&name) && name != generation {
                discard(&self.folder, &name)?;
            } else if !is_wanted(&name) && self.leads(&name).is_some_and(|to| to == format!("{CURRENT}/{name}")) {
                unlinkat(&self.folder, &name, AtFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// Whether that is the name of a generation, or of the draft of a link: only such are ever removed.
pub(super) fn is_generation(name: &str) -> bool {
    name.strip_prefix(GENERATION)
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|c| c.is_ascii_alphanumeric()))
}

/// Removes a generation, or the draft of a link: nothing else, no folder within it, and nothing that a link leads to.
pub(super) fn discard(folder: &OwnedFd, name: &str) -> io::Result<()> {
    if !is_generation(name) {
        return Ok(());
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(old) = openat(folder, name, flags, Mode::empty()) else {
        return Ok(unlinkat(folder, name, AtFlags::empty())?);
    };
    for entry in Dir::read_from(&old)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            unlinkat(&old, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Whether a file can have that name beside ours.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']) && !name.starts_with('.')
}

fn in_memory(folder: &OwnedFd) -> io::Result<bool> {
    #[allow(clippy::cast_sign_loss, reason = "a magic number")]
    let kind = fstatfs(folder)?.f_type as u64 & 0xffff_ffff;
    Ok(kind == TMPFS || kind == RAMFS)
}

/// No other generation has it.
fn random() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn opened(path: &Path) -> Folder {
        let uid = fs::metadata(path.parent().unwrap()).unwrap().uid();
        Folder::open(path, uid, true).unwrap()
    }

    fn listed(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_set_is_replaced_as_a_whole_and_nothing_of_the_old_one_is_left() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = opened(&path);
        folder.put([("A", b"1".as_slice()), ("B", b"1")]).unwrap();
        let old = fs::canonicalize(path.join("..data")).unwrap();
        assert_eq!(fs::read_to_string(folder.place("A")).unwrap(), "1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&old), mode(&path.join("A"))), (0o700, 0o700, 0o400));
        folder.put([("A", b"2".as_slice()), ("C", b"")]).unwrap();
        assert!(!old.exists());
        assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "2");
        let new = fs::canonicalize(path.join("..data")).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(listed(&path), ["..data".to_owned(), new, "A".to_owned(), "C".to_owned()]);
        folder.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_set_that_cannot_be_written_whole_changes_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = opened(&path);
        folder.put([("A", b"1".as_slice())]).unwrap();
        let before = listed(&path);
        for bad in ["a/b", "..data", "", ".hidden"] {
            assert!(folder.put([("A", b"2".as_slice()), (bad, b"2")]).is_err());
        }
        assert!(folder.put([("A", b"2".as_slice()), ("A", b"3")]).is_err(), "one name twice");
        assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "1");
        assert_eq!(listed(&path), before);
    }

    /// Once with the folder that counts, everything beneath it is of one generation, until that is gone.
    #[test]
    fn who_reads_while_a_set_is_replaced_finds_all_old_values_or_all_new_ones() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = opened(&path);
        folder.put(["A", "B", "C"].map(|name| (name, b"0".as_slice()))).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut whole = 0;
                loop {
                    let last = done.load(Ordering::Acquire);
                    // It may be gone before it is read: then the next one is there.
                    let generation = fs::canonicalize(path.join(CURRENT)).ok();
                    let read = |name| fs::read_to_string(generation.as_ref()?.join(name)).ok();
                    if let (Some(a), Some(b), Some(c)) = (read("A"), read("B"), read("C")) {
                        assert!(!a.is_empty() && a == b && b == c, "{a} {b} {c}");
                        whole += 1;
                    }
                    assert!(path.join("A").symlink_metadata().is_ok(), "the name is always there");
                    if last {
                        return whole;
                    }
                }
            });
            let put = (0..300).try_for_each(|n| {
                let value = format!("{n}").repeat(1 + n);
                folder.put(["A", "B", "C"].map(|name| (name, value.as_bytes())))
            });
            done.store(true, Ordering::Release);
            assert!(reading.join().unwrap() > 0);
            put.unwrap();
        });
    }

    #[test]
    fn what_a_killed_process_left_behind_goes_with_the_next_set_and_what_is_others_stays() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        opened(&path).put([("OLD", b"1".as_slice())]).unwrap();
        fs::create_dir(path.join("..sidekey-0123456789abcdef")).unwrap();
        fs::write(path.join("..sidekey-0123456789abcdef/A"), "half").unwrap();
        fs::write(path.join("others"), "x").unwrap();
        fs::write(path.join("A"), "a plain file of this name").unwrap();
        let folder = opened(&path);
        folder.put([("A", b"2".as_slice())]).unwrap();
        let names = listed(&path);
        assert_eq!(
            (names.len(), names[0].as_str(), names[2].as_str(), names[3].as_str()),
            (4, "..data", "A", "others")
        );
        assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "2");
        folder.remove();
        assert_eq!(listed(&path), ["others"]);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_none_and_one_that_was_made_for_nothing_is_gone() {
        let outer = tempfile::tempdir().unwrap();
        let uid = fs::metadata(outer.path()).unwrap().uid();
        let path = outer.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(Folder::open(&path, uid, true), Err(BadFolder::Shared)));
        let path = outer.path().join("others");
        assert!(matches!(Folder::open(&path, uid + 1, true), Err(BadFolder::Shared)));
        assert!(!path.exists());
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Folder::open(&file, uid, true).is_err());
    }
}
