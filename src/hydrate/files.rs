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
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, fstatfs, mkdirat, openat,
    readlinkat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::kept::Kept;

/// `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// What leads to the generation that counts.
const CURRENT: &str = "..data";
/// How the names of generations begin, and of what is to take [`CURRENT`]'s place.
const GENERATION: &str = "..sidekey-";

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
        let generation = format!("{GENERATION}{}", random());
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

/// Whether that is the name of a generation, or of the draft of a link: only such are ever removed.
fn is_generation(name: &str) -> bool {
    name.strip_prefix(GENERATION)
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

/// Removes a generation, or the draft of a link: nothing else, no folder within it, and nothing that a link leads to.
fn discard(folder: &OwnedFd, name: &str) -> io::Result<()> {
    if !is_generation(name) {
        return Ok(());
    }
    let Ok(old) = opened(folder, name) else {
        return Ok(unlinkat(folder, name, AtFlags::empty())?);
    };
    for name in names(&old)? {
        // One that cannot be removed keeps the folder, and no other file.
        let _ = unlinkat(&old, name, AtFlags::empty());
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// A folder of that name, and nothing that a link leads to.
fn opened(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

/// What is in a folder. A name that is no text is none of ours.
fn names(folder: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        names.extend(entry?.file_name().to_str().map(str::to_owned).ok().filter(|name| name != "." && name != ".."));
    }
    Ok(names)
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

/// No other generation has it.
fn random() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
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
        let _ = folder.put(&[("A", b"1".as_slice()), ("B", b"1")]).unwrap();
        let old = fs::canonicalize(path.join("..data")).unwrap();
        assert_eq!(fs::read_to_string(folder.place("A")).unwrap(), "1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&old), mode(&path.join("A"))), (0o700, 0o700, 0o400));
        let _ = folder.put(&[("A", b"2".as_slice()), ("C", b"")]).unwrap();
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
        let _ = folder.put(&[("A", b"1".as_slice())]).unwrap();
        let before = listed(&path);
        for bad in ["a/b", "..data", "", ".", "..", "..hidden"] {
            assert!(folder.put(&[("A", b"2".as_slice()), (bad, b"2")]).is_err());
        }
        assert!(folder.put(&[("A", b"2".as_slice()), ("A", b"3")]).is_err(), "one name twice");
        assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "1");
        assert_eq!(listed(&path), before);
    }

    /// Once with the folder that counts, everything beneath it is of one generation, until that is gone.
    #[test]
    fn who_reads_while_a_set_is_replaced_finds_all_old_values_or_all_new_ones() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = opened(&path);
        let _ = folder.put(&["A", "B", "C"].map(|name| (name, b"0".as_slice()))).unwrap();
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
            let put = (0..100).try_for_each(|n| {
                let value = format!("{n}").repeat(1 + n);
                folder.put(&["A", "B", "C"].map(|name| (name, value.as_bytes()))).map(drop)
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
        let _ = opened(&path).put(&[("OLD", b"1".as_slice())]).unwrap();
        fs::create_dir(path.join("..sidekey-0123456789abcdef")).unwrap();
        fs::write(path.join("..sidekey-0123456789abcdef/A"), "half").unwrap();
        fs::write(path.join("others"), "x").unwrap();
        fs::write(path.join("A"), "a plain file of this name").unwrap();
        let folder = opened(&path);
        let _ = folder.put(&[("A", b"2".as_slice())]).unwrap();
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

    const READABLE: Kept = Kept { mode: 0o444, user: None, group: None };

    fn for_readers(path: &Path) -> Result<Folder, BadFolder> {
        Folder::open_for_readers(path, rustix::process::geteuid().as_raw(), READABLE)
    }

    #[test]
    fn where_the_turn_fails_every_name_is_what_it_was() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = opened(&path);
        fs::write(path.join("A"), "plain").unwrap();
        symlink("elsewhere", path.join("B")).unwrap();
        // A folder of that name cannot be turned.
        fs::create_dir(path.join(CURRENT)).unwrap();
        let before = listed(&path);
        assert!(folder.put(&[("A", b"1"), ("B", b"2"), ("C", b"3")]).is_err());
        assert_eq!(listed(&path), before);
        assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "plain");
        assert_eq!(fs::read_link(path.join("B")).unwrap(), Path::new("elsewhere"));
    }

    /// Where the file system and the rights of who tests let a file be made one that nobody can replace.
    #[test]
    fn what_fails_after_the_turn_is_told_by_its_name_and_the_set_is_in_force() {
        use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = for_readers(&path).unwrap();
        let _ = folder.put(&[("B", b"1")]).unwrap();
        fs::write(path.join("A"), "plain").unwrap();
        let fixed = fs::File::open(path.join("A")).unwrap();
        let Ok(flags) = ioctl_getflags(&fixed) else { return };
        if ioctl_setflags(&fixed, flags | IFlags::IMMUTABLE).is_err() {
            return;
        }
        let put = folder.put(&[("A", b"2"), ("B", b"2")]);
        ioctl_setflags(&fixed, flags).unwrap();
        assert!(matches!(put.unwrap(), Put::But(name, _) if name == "A"));
        assert_eq!(listed(&path).len(), 4, "the generation before is gone, and no draft is left");
        let read = |name| fs::read_to_string(path.join(name)).unwrap();
        assert_eq!((read("A"), read("B"), read("..data/A")), ("plain".into(), "2".into(), "2".into()));
        assert!(matches!(folder.put(&[("A", b"2"), ("B", b"2")]).unwrap(), Put::Whole), "it is tried again");
        assert_eq!(read("A"), "2");
    }

    #[test]
    fn what_was_left_behind_goes_even_where_nothing_changes_and_one_of_it_cannot_be_removed() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = for_readers(&path).unwrap();
        assert!(matches!(folder.put(&[("A", b"1")]).unwrap(), Put::Whole));
        let names = listed(&path);
        // Nothing of ours has a folder within it: what is in that one is not ours.
        fs::create_dir_all(path.join("..sidekey-0000000000000000/inner")).unwrap();
        fs::write(path.join("..sidekey-0000000000000000/inner/x"), "others").unwrap();
        fs::write(path.join("..sidekey-0000000000000000/A"), "old").unwrap();
        for n in 1..=3 {
            let left = path.join(format!("..sidekey-000000000000000{n}"));
            fs::create_dir(&left).unwrap();
            fs::write(left.join("A"), "old").unwrap();
        }
        symlink("..", path.join("..sidekey-0000000000000004")).unwrap();
        assert!(matches!(folder.put(&[("A", b"1")]).unwrap(), Put::Same));
        assert_eq!(listed(&path.join("..sidekey-0000000000000000")), ["inner"]);
        fs::remove_dir_all(path.join("..sidekey-0000000000000000")).unwrap();
        assert_eq!(listed(&path), names);
    }

    #[test]
    fn a_generation_is_open_as_its_folder_is_meant_and_one_that_is_not_so_is_made_anew() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("above/values");
        let folder = for_readers(&path).unwrap();
        let _ = folder.put(&[("A", b"1"), (".B", b"")]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let data = path.join(CURRENT);
        assert_eq!((mode(&data), mode(&path.join("A")), mode(&path.join(".B"))), (0o755, 0o444, 0o444));
        for change in [
            &|| fs::set_permissions(data.join("A"), fs::Permissions::from_mode(0o404)).unwrap(),
            &|| fs::write(data.join("more"), "").unwrap(),
            &|| fs::remove_file(path.join("A")).unwrap(),
            &|| {
                fs::remove_file(path.join("A")).unwrap();
                fs::write(path.join("A"), "1").unwrap();
            },
        ] as [&dyn Fn(); 4]
        {
            change();
            assert!(matches!(folder.put(&[("A", b"1"), (".B", b"")]).unwrap(), Put::Whole));
            assert_eq!((mode(&path.join("A")), listed(&data)), (0o444, vec![".B".to_owned(), "A".to_owned()]));
            assert_eq!(fs::read_link(path.join("A")).unwrap(), Path::new("..data/A"));
        }
    }

    #[test]
    fn while_one_replaces_another_one_does_not() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("values");
        let folder = for_readers(&path).unwrap();
        let held = fs::File::open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(folder.put(&[("A", b"1")]).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert!(listed(&path).is_empty());
        drop(held);
        let _ = folder.put(&[("A", b"1")]).unwrap();
    }

    #[test]
    fn what_is_no_folder_is_told_without_waiting_and_so_is_one_of_somebody_else() {
        let outer = tempfile::tempdir().unwrap();
        let pipe = outer.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::write(outer.path().join("file"), "").unwrap();
        for name in ["pipe", "file"] {
            let path = outer.path().join(name);
            assert!(matches!(for_readers(&path), Err(BadFolder::NoFolder)), "{name}");
            assert!(matches!(Folder::open(&path, 0, true), Err(BadFolder::NoFolder)), "{name}");
        }
        let open = outer.path().join("open");
        fs::create_dir(&open).unwrap();
        for mode in [0o775, 0o757, 0o1777] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(for_readers(&open), Err(BadFolder::Shared)), "{mode:o}");
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&open, Some(1001), None).unwrap();
            assert!(matches!(for_readers(&open), Err(BadFolder::Shared)));
            let theirs = Kept { user: Some(1001), ..READABLE };
            let _ = Folder::open_for_readers(&open, 0, theirs).unwrap().put(&[("A", b"1")]).unwrap();
            assert_eq!(fs::metadata(open.join("A")).unwrap().uid(), 1001);
            assert_eq!(fs::metadata(open.join(CURRENT)).unwrap().uid(), 0);
        }
    }
}
