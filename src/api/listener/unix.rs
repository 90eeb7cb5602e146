use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{FlockOperation, Mode};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Kind, ListenError, Listener};

const LONGEST: usize = 107;
const BACKLOG: i32 = 1_024;

/// A unix socket as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixOptions {
    /// Where. Its directory is made (0750) if it does not exist.
    pub path: PathBuf,
    /// Who may connect: those who may write it. 0660.
    pub mode: u32,
    /// The group that shall own it; `None`: this process's own.
    pub group: Option<Group>,
}

impl UnixOptions {
    /// A socket at that path, for its owner and its group.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o660, group: None }
    }
}

/// A group, by number or by its name in `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// Its number.
    Id(u32),
    /// Its name.
    Name(String),
}

impl FromStr for Group {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id))
    }
}

/// A bound socket's place in the file system.
pub(in crate::api) struct Place {
    path: PathBuf,
    /// Device and inode of what was bound.
    own: (u64, u64),
    /// Held as long as the socket is ours, so that of two that start together one is told that it is taken.
    _lock: File,
}

impl Place {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if inode(&self.path).ok() == Some(self.own) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on a unix socket. One that a process left behind when it died is replaced; one that answers is not.
///
/// # Errors
/// If the path is too long, is no socket, is taken or lies where everybody can write, or the socket cannot be made.
pub fn bind_unix(options: &UnixOptions) -> Result<Listener, ListenError> {
    let path = &options.path;
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST {
        return Err(ListenError::TooLong { path: path.clone(), length });
    }
    let failed = |action| move |error| ListenError::Unix { path: path.clone(), action, error };
    let group = options.group.as_ref().map(find_group).transpose()?;
    prepare_directory(path)?;
    let lock = lock(path)?;
    remove_stale(path)?;

    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(failed("opening it"))?;
    // Before bind, so that there is no moment at which it is wider than asked for; narrower while its group is not set.
    let first = if group.is_some() { 0o600 } else { options.mode };
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(first))
        .map_err(|error| failed("setting its mode")(error.into()))?;
    socket.bind(&SockAddr::unix(path).map_err(failed("naming it"))?).map_err(failed("binding it"))?;
    let own = inode(path).map_err(failed("finding it"))?;
    let place = Place { path: path.clone(), own, _lock: lock };
    if group.is_some() {
        std::os::unix::fs::lchown(path, None, group).map_err(failed("giving it to its group"))?;
    }
    // bind took away what the process's umask forbids.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(options.mode))
        .map_err(failed("setting its mode"))?;
    socket.listen(BACKLOG).map_err(failed("listening"))?;
    let listener = tokio::net::UnixListener::from_std(socket.into()).map_err(failed("listening"))?;
    Ok(Listener(Kind::Unix(listener, place)))
}

fn prepare_directory(path: &Path) -> Result<(), ListenError> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    let failed = |action| move |error| ListenError::Unix { path: path.to_owned(), action, error };
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(failed("making its directory"))?;
    }
    let mode = std::fs::metadata(directory).map_err(failed("looking at its directory"))?.mode();
    // With the sticky bit only its owner can remove a file: so it is with /tmp.
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(ListenError::OpenDirectory { directory: directory.to_owned() });
    }
    Ok(())
}

/// A file beside the socket, locked for as long as the socket is ours; never removed, as that would race.
fn lock(path: &Path) -> Result<File, ListenError> {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".lock");
    let failed = |action| move |error| ListenError::Unix { path: path.to_owned(), action, error };
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path.with_file_name(name))
        .map_err(failed("making its lock file"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ListenError::Taken { path: path.to_owned() }),
        Err(error) => Err(failed("locking its lock file")(error.into())),
    }
}

/// Removes a socket that nobody listens on. Called with the lock held.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |action| move |error| ListenError::Unix { path: path.to_owned(), action, error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looking at it")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    // Not blocking: a live socket whose queue is full would hold us up.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(failed("probing it"))?;
    let address = SockAddr::unix(path).map_err(failed("naming it"))?;
    match probe.connect(&address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(socket = %path.display(), "removing a socket that nobody listens on");
            std::fs::remove_file(path).map_err(failed("removing the one that was left behind"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(failed("probing it")(error)),
        Ok(()) | Err(_) => Err(ListenError::Taken { path: path.to_owned() }),
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// `/etc/group` alone: a container's groups are nowhere else, and asking further would need the C library.
fn find_group(group: &Group) -> Result<u32, ListenError> {
    let name = match group {
        Group::Id(id) => return Ok(*id),
        Group::Name(name) => name,
    };
    let table = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let mut rows = table.lines().map(|line| line.split(':'));
    rows.find_map(|mut row| if row.next() == Some(name) { row.nth(1)?.parse().ok() } else { None })
        .ok_or_else(|| ListenError::NoGroup(name.clone()))
}
