use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::disk::flags;
use super::{Aside, Contents, Disk, MAX_BYTES, ReadError};

/// How far into the future a snapshot may have been taken and still count as taken just now: clocks are set back by
/// seconds when they are corrected.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// The most that values of an unknown age are served without being confirmed.
const UNKNOWN_ROOM: Duration = Duration::from_secs(3_600);

/// How old is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A file that was taken longer ago is refused.
    pub max_age: Duration,
    /// A value that is this old or older is dropped.
    pub max_stale: Duration,
}

/// What a snapshot gave.
#[derive(Debug)]
pub struct Restored {
    /// What it holds, without the values that are too old.
    pub contents: Contents,
    /// False if the wall clock stands before the time when the snapshot was taken, so that nobody knows how long ago
    /// that was. See [`Restored::age`].
    pub ages_known: bool,
    /// Values that were left out because of their age.
    pub too_old: usize,
    now: OffsetDateTime,
    floor: Duration,
}

impl Restored {
    /// The age, now, of something that was true at that time of the snapshot's (`confirmed`, `listed`, `taken`).
    ///
    /// Never less than it was when the snapshot was taken. If the wall clock has gone backwards past that time, ages are
    /// not known and told as nearly `max_stale`: an hour less, or a quarter of it less if that is shorter. So such a value
    /// is never fresh, and is served as stale for that long at most unless its vault confirms it. A clock that was
    /// set back by less than the time since the snapshot was taken cannot be noticed.
    #[must_use]
    pub fn age(&self, at: OffsetDateTime) -> Duration {
        since(at, self.now).max(since(at, self.contents.taken)).max(self.floor)
    }
}

/// A file that may be looked into.
pub(super) struct Found {
    /// Or why they are not worth looking into.
    pub(super) bytes: Result<Zeroizing<Vec<u8>>, &'static str>,
    /// Which file they are of: device and number.
    pub(super) inode: (u64, u64),
}

/// Reads the file, if it is ours.
pub(super) fn load(path: &Path) -> Result<Option<Found>, ReadError> {
    let failed = |action| move |error| ReadError::Io { path: path.to_owned(), action, error };
    let untrusted = |reason, remedy| Err(ReadError::Untrusted { path: path.to_owned(), reason, remedy });
    // Not blocking: what stands there may be a pipe.
    let careful = flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let file = match OpenOptions::new().read(true).custom_flags(careful).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return untrusted("is a link", "remove the link");
        }
        Err(error) => return Err(failed("opening it")(error)),
    };
    let metadata = file.metadata().map_err(failed("reading its mode"))?;
    if !metadata.is_file() {
        return untrusted("is not a file", "give the snapshot another place");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return untrusted("belongs to another user", "give it to this one with chown, or remove it");
    }
    // Its group may: Kubernetes gives every file of a volume with an fsGroup to the group at mounting. The seal is what
    // keeps it from reading or changing anything.
    if metadata.mode() & 0o007 != 0 {
        return untrusted("is open to every user", "close it with chmod 0600");
    }
    let inode = (metadata.dev(), metadata.ino());
    let bytes = bytes_of(&file, metadata.size()).map_err(failed("reading it"))?;
    Ok(Some(Found { bytes, inode }))
}

fn bytes_of(file: &File, size: u64) -> io::Result<Result<Zeroizing<Vec<u8>>, &'static str>> {
    const TOO_LARGE: &str = "is larger than any snapshot";
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= MAX_BYTES) else {
        return Ok(Err(TOO_LARGE));
    };
    // It is opened in place, so that this buffer comes to hold clear text: one that never grows is wiped whole.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(size as u64 + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() > size { Err("grew while it was read") } else { Ok(bytes) })
}

/// Renames a damaged file, unless another has taken its place.
pub(super) fn put_aside(disk: &dyn Disk, path: &Path, inode: (u64, u64)) -> Aside {
    let stands = match std::fs::symlink_metadata(path) {
        Ok(metadata) => (metadata.dev(), metadata.ino()) == inode,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Aside::Stuck(error),
    };
    if !stands {
        return Aside::Replaced;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".corrupt");
    let aside = path.with_file_name(name);
    match disk.rename(path, &aside) {
        Ok(()) => Aside::Moved(aside),
        Err(error) => Aside::Stuck(error),
    }
}

impl Contents {
    /// What of it may still be used. `now` is the wall clock's.
    ///
    /// # Errors
    /// If all of it is too old: its age.
    pub fn within(mut self, bounds: Bounds, now: OffsetDateTime) -> Result<Restored, Duration> {
        let age = since(self.taken, now);
        if age > bounds.max_age {
            return Err(age);
        }
        let ages_known = since(now, self.taken) <= CLOCK_SLACK;
        let room = UNKNOWN_ROOM.min(bounds.max_stale / 4);
        let floor = if ages_known { Duration::ZERO } else { bounds.max_stale - room };
        let values = std::mem::take(&mut self.values);
        let mut restored = Restored { contents: self, ages_known, too_old: values.len(), now, floor };
        let kept: Vec<_> =
            values.into_iter().filter(|value| restored.age(value.confirmed) < bounds.max_stale).collect();
        restored.too_old -= kept.len();
        restored.contents.values = kept;
        Ok(restored)
    }
}

/// Time from one to the other; zero if that is the earlier one.
fn since(earlier: OffsetDateTime, later: OffsetDateTime) -> Duration {
    Duration::try_from(later - earlier).unwrap_or_default()
}
