//! Files that are replaced: each at once, and several of them all or none.
//!
//! A file is drafted beside the one that it replaces, open to nobody else until it has its owner and its mode, and takes
//! that one's place by one rename. [`replace`] does that with files anywhere: if one cannot take its place, those before it
//! go back, where the file system can exchange two files; where it cannot (some of NFS, FUSE and vfat), new files go, and those
//! that took an old one's place stay. [`replace_together`] does it with the files of one folder at one instant: see
//! [`super::files`].
//!
//! Must never happen: half a file, or a wider mode than its own, at any moment; a file of which neither the old one nor the
//! new one is left; something that is no file replaced.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempPath;

use super::files::{BadFolder, Folder, Put};
use super::kept::Kept;
use crate::secret::SecretValue;

/// Why nothing was replaced.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct NotReplaced {
    /// Which file it failed for.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// Replaces all of these, or none; `false`: they are as they should be already.
///
/// # Errors
/// The first that cannot be replaced.
pub fn replace(files: &[(PathBuf, SecretValue)], kept: Kept) -> Result<bool, NotReplaced> {
    replace_by(files, kept, |from, to, how| renameat_with(CWD, from, CWD, to, how))
}

/// A rename that not every file system can do.
type Rename = fn(&Path, &Path, RenameFlags) -> rustix::io::Result<()>;

fn replace_by(files: &[(PathBuf, SecretValue)], kept: Kept, rename: Rename) -> Result<bool, NotReplaced> {
    let mut drafts = Vec::new();
    for (path, content) in files {
        let (failed, content) = (failed(path), content.expose());
        if !is_so(path, &content, kept).map_err(&failed)? {
            drafts.push((path, draft(folder_of(path), &content, kept).map_err(&failed)?));
        }
    }
    let mut done: Vec<(&Path, TempPath, Taken)> = Vec::new();
    let changed = !drafts.is_empty();
    for (path, draft) in drafts {
        match take_place(&draft, path, rename) {
            Ok(taken) => done.push((path, draft, taken)),
            Err(error) => {
                // The drafts are removed with their names.
                for (path, draft, taken) in done.into_iter().rev() {
                    let _ = match taken {
                        Taken::Exchanged => rename(&draft, path, RenameFlags::EXCHANGE).map_err(io::Error::from),
                        Taken::New => fs::remove_file(path),
                        Taken::Over => Ok(()),
                    };
                }
                return Err(failed(path)(error));
            }
        }
    }
    for (path, ..) in &done {
        settle(folder_of(path));
    }
    Ok(changed)
}

/// The same with files of that folder, which all change at one instant. `uid` is this user.
///
/// # Errors
/// The first that cannot be replaced; or the folder is not fit for it.
pub fn replace_together(
    folder: &Path,
    files: &[(String, SecretValue)],
    kept: Kept,
    uid: u32,
) -> Result<Put, NotReplaced> {
    let opened = Folder::open_for_readers(folder, uid, kept).map_err(|bad| match bad {
        BadFolder::Io(error) => failed(folder)(error),
        bad => failed(folder)(io::Error::other(bad)),
    })?;
    let values: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.expose())).collect();
    let values: Vec<_> = values.iter().map(|(name, content)| (*name, &**content)).collect();
    opened.put(&values).map_err(failed(folder))
}

/// Whether it is there, with that content, that mode and that owner.
fn is_so(path: &Path, content: &[u8], kept: Kept) -> io::Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        // Putting a file in a device's or a pipe's place would break more than this command.
        Ok(found) if !found.is_file() => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
        Ok(_) => {}
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    #[allow(clippy::cast_possible_wrap, reason = "flags")]
    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
    Ok(file.and_then(|file| kept.is_so(&file, content)).unwrap_or(false))
}

/// For its owner alone until it is whole; then as it is to be.
fn draft(folder: &Path, content: &[u8], kept: Kept) -> io::Result<TempPath> {
    let file = tempfile::Builder::new().prefix(".sidekey-").tempfile_in(folder)?;
    kept.fill(file.as_file(), content)?;
    Ok(file.into_temp_path())
}

/// How a draft has come into its place, and so how it goes back.
enum Taken {
    /// What was there lies under the draft's name now.
    Exchanged,
    /// Nothing was there.
    New,
    /// What was there is gone: this one must stay.
    Over,
}

fn take_place(draft: &TempPath, path: &Path, rename: Rename) -> io::Result<Taken> {
    match rename(draft, path, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(Taken::Exchanged),
        Err(Errno::NOENT) => match rename(draft, path, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Taken::New),
            Err(Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        },
        Err(Errno::INVAL | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    // Here two files cannot be exchanged. A second name shows at least whether there was one.
    if fs::hard_link(draft, path).is_ok() {
        return Ok(Taken::New);
    }
    fs::rename(draft, path).map(|()| Taken::Over)
}

/// Without this a rename may be lost with the power; where it is refused (some file systems do), it is still atomic.
fn settle(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> NotReplaced {
    move |error| NotReplaced { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const DATA: &str = "..data";

    const PRIVATE: Kept = Kept { mode: 0o400, user: None, group: None };

    fn files(folder: &Path, pairs: &[(&str, &str)]) -> Vec<(PathBuf, SecretValue)> {
        pairs.iter().map(|(name, text)| (folder.join(name), SecretValue::new(*text))).collect()
    }

    fn set(pairs: &[(&str, &str)]) -> Vec<(String, SecretValue)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), SecretValue::new(*text))).collect()
    }

    fn put(folder: &Path, files: &[(String, SecretValue)]) -> Result<bool, NotReplaced> {
        let put = replace_together(folder, files, PRIVATE, rustix::process::geteuid().as_raw())?;
        Ok(matches!(put, Put::Whole))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn files_are_replaced_with_their_mode_and_only_if_they_are_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a"), "old").unwrap();
        assert!(replace(&files(folder, &[("a", "1"), ("b", "2")]), PRIVATE).unwrap());
        assert_eq!((fs::read_to_string(folder.join("a")).unwrap(), mode(&folder.join("b"))), ("1".to_owned(), 0o400));
        assert_eq!(names(folder), ["a", "b"], "no draft is left");
        let inode = || fs::metadata(folder.join("a")).unwrap().ino();
        let before = inode();
        assert!(!replace(&files(folder, &[("a", "1"), ("b", "2")]), PRIVATE).unwrap());
        assert!(replace(&files(folder, &[("a", "1"), ("b", "3")]), PRIVATE).unwrap());
        assert_eq!(inode(), before, "what is as it should be is left alone");
        assert!(replace(&files(folder, &[("a", "1")]), Kept { mode: 0o440, ..PRIVATE }).unwrap());
        assert_eq!(mode(&folder.join("a")), 0o440);
    }

    #[test]
    fn of_files_of_which_one_cannot_be_replaced_none_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a"), "old").unwrap();
        fs::create_dir(folder.join("c")).unwrap();
        for last in ["c", "nowhere/d"] {
            let error = replace(&files(folder, &[("a", "1"), ("b", "2"), (last, "3")]), PRIVATE).unwrap_err();
            assert_eq!(error.path, folder.join(last));
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "old");
            assert_eq!(names(folder), ["a", "c"]);
        }
    }

    #[test]
    fn what_took_its_place_goes_back_if_a_later_one_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a"), "old").unwrap();
        // A draft of it can be made, and then it can have no such name.
        let error = replace(&files(folder, &[("a", "1"), ("b", "2"), ("c/", "3")]), PRIVATE).unwrap_err();
        assert_eq!(error.path, folder.join("c/"));
        assert_eq!(
            (fs::read_to_string(folder.join("a")).unwrap(), names(folder)),
            ("old".into(), vec!["a".to_owned()])
        );
    }

    /// As on a file system that cannot exchange files.
    #[test]
    fn where_files_cannot_be_exchanged_a_failure_leaves_the_old_file_or_the_new_one() {
        let plain: Rename = |_, _, _| Err(Errno::INVAL);
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a"), "old").unwrap();
        let error = replace_by(&files(folder, &[("a", "1"), ("b", "2"), ("c/", "3")]), PRIVATE, plain).unwrap_err();
        assert_eq!(error.path, folder.join("c/"));
        assert_eq!((fs::read_to_string(folder.join("a")).unwrap(), names(folder)), ("1".into(), vec!["a".to_owned()]));
        assert!(replace_by(&files(folder, &[("a", "2"), ("b", "3")]), PRIVATE, plain).unwrap());
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "2");
        assert_eq!(names(folder), ["a", "b"]);
    }

    #[test]
    fn a_set_changes_at_one_instant_and_leaves_nothing_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made");
        assert!(put(&folder, &set(&[("a", "1"), ("b", "2")])).unwrap());
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("a"), read("b"), mode(&folder.join("a"))), ("1".into(), "2".into(), 0o400));
        let first = fs::read_link(folder.join(DATA)).unwrap();
        assert!(!put(&folder, &set(&[("a", "1"), ("b", "2")])).unwrap());
        assert!(put(&folder, &set(&[("a", "3"), ("c", "4")])).unwrap());
        assert_eq!((read("a"), read("c")), ("3".into(), "4".into()));
        let second = fs::read_link(folder.join(DATA)).unwrap();
        assert_ne!(first, second);
        let mut left = names(&folder);
        left.retain(|name| *name != second.to_string_lossy());
        assert_eq!(left, ["..data", "a", "c"]);
    }

    #[test]
    fn a_set_takes_the_place_of_plain_files_and_fails_before_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a"), "old").unwrap();
        fs::create_dir(folder.join("b")).unwrap();
        assert!(put(folder, &set(&[("a", "1"), ("b", "2")])).is_err());
        assert_eq!(
            (names(folder), fs::read_to_string(folder.join("a")).unwrap()),
            (vec!["a".into(), "b".into()], "old".into())
        );
        assert!(put(folder, &set(&[("a", "1")])).unwrap());
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "1");
    }

    #[test]
    fn what_a_link_of_somebody_else_leads_to_is_never_removed() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("made");
        fs::create_dir_all(outer.path().join("..sidekey-0123456789abcdef")).unwrap();
        fs::create_dir_all(folder.join("..others")).unwrap();
        let kept =
            [outer.path().join("beside"), outer.path().join("..sidekey-0123456789abcdef/x"), folder.join("..others/x")];
        kept.iter().for_each(|path| fs::write(path, "x").unwrap());
        symlink(outer.path().join("..sidekey-0123456789abcdef"), folder.join("..sidekey-fedcba9876543210")).unwrap();
        let whole = outer.path().to_str().unwrap();
        for to in [
            "..",
            ".",
            "../",
            "..//",
            "../made",
            "..others",
            "..sidekey-0123456789abcdef/..",
            "..sidekey-fedcba9876543210",
            "../..sidekey-0123456789abcdef",
            whole,
            "/",
            "nowhere",
        ] {
            let _ = fs::remove_file(folder.join(DATA));
            symlink(to, folder.join(DATA)).unwrap();
            let _ = put(&folder, &set(&[("a", to)]));
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), to);
            assert!(kept.iter().all(|path| path.exists()), "{to}");
        }
    }
}
