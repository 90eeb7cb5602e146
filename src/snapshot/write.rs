use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::{Disk, WriteError};

/// Puts a file with these bytes in place of what is there: whole or not at all.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let failed = |action| move |error| WriteError::new(path, action, error);
    let folder = folder_of(path);
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("making its folder"))?;
    }
    sweep(disk, path);
    let draft = path.with_file_name(OsStr::from_bytes(&draft_name(path)?));
    let file = disk.create(&draft).map_err(failed("making its draft"))?;
    let placed = (|| {
        write_all(disk, &file, bytes).map_err(failed("writing its draft"))?;
        disk.sync(&file).map_err(failed("syncing its draft"))?;
        disk.rename(&draft, path).map_err(failed("putting its draft in place"))
    })();
    if placed.is_err() {
        let _ = disk.remove(&draft);
    }
    placed?;
    disk.sync_folder(folder).map_err(failed("syncing its folder"))
}

/// The folder that a file is in, as system calls take it.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_all(disk: &dyn Disk, file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const ENDING: &[u8] = b".draft";
const DIGITS: usize = 16;

/// `.FILE.<16 hexadecimal digits>.draft`.
fn draft_name(path: &Path) -> Result<Vec<u8>, WriteError> {
    let mut mark = [0; 8];
    SystemRandom::new().fill(&mut mark).map_err(|_| WriteError::NoRandom)?;
    let mark = format!("{:0DIGITS$x}", u64::from_be_bytes(mark));
    Ok([&beginning(path), mark.as_bytes(), ENDING].concat())
}

fn beginning(path: &Path) -> Vec<u8> {
    [b".", path.file_name().unwrap_or_default().as_bytes(), b"."].concat()
}

/// Clears away the drafts of writers that were killed: files of exactly our naming that nobody holds locked. What cannot
/// be cleared away stays; that is no reason not to write.
fn sweep(disk: &dyn Disk, path: &Path) {
    let Ok(entries) = std::fs::read_dir(folder_of(path)) else { return };
    let beginning = beginning(path);
    for entry in entries.flatten() {
        if !is_draft(entry.file_name().as_bytes(), &beginning) {
            continue;
        }
        let careful = super::disk::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
        let Ok(file) = OpenOptions::new().read(true).custom_flags(careful).open(entry.path()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = disk.remove(&entry.path());
        }
    }
}

fn is_draft(name: &[u8], beginning: &[u8]) -> bool {
    name.strip_prefix(beginning)
        .and_then(|rest| rest.strip_suffix(ENDING))
        .is_some_and(|mark| mark.len() == DIGITS && mark.iter().all(u8::is_ascii_hexdigit))
}
