//! Files that are replaced: each at once, and several of them all or none.
//!
//! A file is drafted beside the one that it replaces, open to nobody else until it has its owner and its mode, and takes
//! that one's place by one rename. [`replace`] does that with files anywhere: if one cannot take its place, those before it
//! go back. [`replace_together`] does it with the files of one folder at one instant, as the volumes of Kubernetes do: each is
//! a link through `..data`, which is turned to another folder.
//!
//! Must never happen: half a file, or a wider mode than its own, at any moment; a part of a set; a value outside of the
//! folder that it belongs into; something that is no file replaced.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::{NamedTempFile, TempPath};

use super::files::{GENERATION, discard};
use crate::secret::SecretValue;

/// How a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Permission bits.
    pub mode: u32,
    /// User and group; `None`: ours.
    pub user: Option<u32>,
    /// See `user`.
    pub group: Option<u32>,
}

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
    let mut drafts = Vec::new();
    for (path, content) in files {
        let failed = failed(path);
        if !is_so(path, content, kept).map_err(&failed)? {
            drafts.push((path, draft(folder_of(path), content, kept).map_err(&failed)?));
        }
    }
    let mut done: Vec<(&Path, TempPath, bool)> = Vec::new();
    let changed = !drafts.is_empty();
    for (path, draft) in drafts {
        match take_place(&draft, path) {
            Ok(exchanged) => done.push((path, draft, exchanged)),
            Err(error) => {
                // What was exchanged goes back, what was new goes. The drafts are removed with their names.
                for (path, draft, exchanged) in done.into_iter().rev() {
                    let _ = if exchanged {
                        renameat_with(CWD, &*draft, CWD, path, RenameFlags::EXCHANGE).map_err(io::Error::from)
                    } else {
                        fs::remove_file(path)
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

/// The same with files of that folder, which all change at one instant. `false`: they are as they should be already.
///
/// # Errors
/// The first that cannot be replaced.
pub fn replace_together(folder: &Path, files: &[(String, SecretValue)], kept: Kept) -> Result<bool, NotReplaced> {
    let failed_folder = failed(folder);
    fs::create_dir_all(folder).map_err(&failed_folder)?;
    let data = folder.join(DATA);
    let before = fs::read_link(&data).ok();
    if before.is_some() && is_set_so(folder, files, kept) {
        return Ok(false);
    }
    let next = tempfile::Builder::new().prefix(GENERATION).rand_bytes(16).tempdir_in(folder).map_err(&failed_folder)?;
    for (name, content) in files {
        let path = folder.join(name);
        let failed = failed(&path);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
            return Err(failed(no_file()));
        }
        draft(next.path(), content, kept)
            .and_then(|draft| draft.persist(next.path().join(name)).map_err(|e| e.error))
            .map_err(failed)?;
    }
    // Who may read a file says its mode; the folder lets them come to it.
    fs::set_permissions(next.path(), Permissions::from_mode(0o755)).map_err(&failed_folder)?;
    settle(next.path());
    let target = PathBuf::from(next.path().file_name().unwrap_or_default());
    // A name that is new leads nowhere until the turn.
    for (name, _) in files {
        let path = folder.join(name);
        if fs::symlink_metadata(&path).is_err() {
            symlink(Path::new(DATA).join(name), &path).map_err(failed(&path))?;
        }
    }
    link_over(&target, &data).map_err(&failed_folder)?;
    // From here on it is done.
    let _ = next.keep();
    for (name, _) in files {
        let (path, through) = (folder.join(name), Path::new(DATA).join(name));
        if fs::read_link(&path).ok().as_deref() != Some(&*through) {
            link_over(&through, &path).map_err(failed(&path))?;
        }
    }
    tidy(folder, files, before.as_deref().filter(|before| **before != *target));
    settle(folder);
    Ok(true)
}

/// As Kubernetes calls it.
const DATA: &str = "..data";

/// What is left of the set before: its folder, and names that lead nowhere now.
fn tidy(folder: &Path, files: &[(String, SecretValue)], before: Option<&Path>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(DATA).join(&name));
        if is_ours && !files.iter().any(|(kept, _)| **kept == *name) {
            let _ = fs::remove_file(entry.path());
        }
    }
    // Only one that we have made: what else `..data` led to is nothing of ours.
    if let (Some(before), Ok(folder)) = (before.and_then(Path::to_str), File::open(folder)) {
        let _ = discard(&folder.into(), before);
    }
}

fn is_set_so(folder: &Path, files: &[(String, SecretValue)], kept: Kept) -> bool {
    let count = fs::read_dir(folder.join(DATA)).map_or(0, Iterator::count);
    let is_link = |name: &str| fs::read_link(folder.join(name)).is_ok_and(|to| to == Path::new(DATA).join(name));
    count == files.len()
        && files.iter().all(|(name, content)| {
            is_link(name) && is_so(&folder.join(DATA).join(name), content, kept).unwrap_or(false)
        })
}

/// A link in the place of whatever has that name, in one step.
fn link_over(target: &Path, at: &Path) -> io::Result<()> {
    let aside = tempfile::Builder::new().prefix("..link-").make_in(folder_of(at), |path| symlink(target, path))?;
    aside.into_temp_path().persist(at).map_err(|error| error.error)
}

/// Whether it is there, with that content, that mode and that owner.
fn is_so(path: &Path, content: &SecretValue, kept: Kept) -> io::Result<bool> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        // Putting a file in a device's or a pipe's place would break more than this command.
        Ok(found) if !found.is_file() => return Err(no_file()),
        Ok(found) => found,
    };
    let owned = kept.user.is_none_or(|user| user == found.uid()) && kept.group.is_none_or(|group| group == found.gid());
    if !owned || found.mode() & 0o7777 != kept.mode || found.len() != content.len() as u64 {
        return Ok(false);
    }
    Ok(fs::read(path).map(zeroize::Zeroizing::new).is_ok_and(|held| is_same(&held, content)))
}

/// For its owner alone until it is whole; then as it is to be.
fn draft(folder: &Path, content: &SecretValue, kept: Kept) -> io::Result<TempPath> {
    let mut file: NamedTempFile = tempfile::Builder::new().prefix(".sidekey-").tempfile_in(folder)?;
    write(file.as_file_mut(), content)?;
    if kept.user.is_some() || kept.group.is_some() {
        fchown(file.as_file(), kept.user, kept.group)?;
    }
    file.as_file().set_permissions(Permissions::from_mode(kept.mode))?;
    file.as_file().sync_all()?;
    Ok(file.into_temp_path())
}

fn write(file: &mut File, content: &SecretValue) -> io::Result<()> {
    file.write_all(&content.expose())
}

fn is_same(held: &[u8], content: &SecretValue) -> bool {
    *held == *content.expose()
}

/// `true`: what was there lies under the draft's name now.
fn take_place(draft: &TempPath, path: &Path) -> io::Result<bool> {
    match renameat_with(CWD, &**draft, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(true),
        Err(rustix::io::Errno::NOENT) => {}
        // Not every file system can; there a failure of a later one cannot bring this one back.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            return fs::rename(draft, path).map(|()| false);
        }
        Err(error) => return Err(error.into()),
    }
    renameat_with(CWD, &**draft, CWD, path, RenameFlags::NOREPLACE).map(|()| false).map_err(Into::into)
}

/// Without this a rename may be lost with the power; where it is refused (some file systems do), it is still atomic.
fn settle(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no file")
}

fn failed(path: &Path) -> impl Fn(io::Error) -> NotReplaced {
    move |error| NotReplaced { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: Kept = Kept { mode: 0o400, user: None, group: None };

    fn files(folder: &Path, pairs: &[(&str, &str)]) -> Vec<(PathBuf, SecretValue)> {
        pairs.iter().map(|(name, text)| (folder.join(name), SecretValue::new(*text))).collect()
    }

    fn set(pairs: &[(&str, &str)]) -> Vec<(String, SecretValue)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), SecretValue::new(*text))).collect()
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

    #[test]
    fn a_set_changes_at_one_instant_and_leaves_nothing_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made");
        assert!(replace_together(&folder, &set(&[("a", "1"), ("b", "2")]), PRIVATE).unwrap());
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("a"), read("b"), mode(&folder.join("a"))), ("1".into(), "2".into(), 0o400));
        let first = fs::read_link(folder.join(DATA)).unwrap();
        assert!(!replace_together(&folder, &set(&[("a", "1"), ("b", "2")]), PRIVATE).unwrap());
        assert!(replace_together(&folder, &set(&[("a", "3"), ("c", "4")]), PRIVATE).unwrap());
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
        assert!(replace_together(folder, &set(&[("a", "1"), ("b", "2")]), PRIVATE).is_err());
        assert_eq!(
            (names(folder), fs::read_to_string(folder.join("a")).unwrap()),
            (vec!["a".into(), "b".into()], "old".into())
        );
        assert!(replace_together(folder, &set(&[("a", "1")]), PRIVATE).unwrap());
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
            let _ = replace_together(&folder, &set(&[("a", to)]), PRIVATE);
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), to);
            assert!(kept.iter().all(|path| path.exists()), "{to}");
        }
    }
}
