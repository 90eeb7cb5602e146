use std::ffi::OsString;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, Mode};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Kind, ListenError, Listener, Name as Named};

const LONGEST: usize = 107;
/// As long as the system lets it be, mostly: a burst of connects is no reason to fail one.
const BACKLOG: i32 = 4_096;

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

/// A bound socket's name in the file system. Dropping it takes the name away, if it still leads to what was bound.
pub(in crate::api) struct Place(Arc<Name>);

struct Name {
    /// Where it stands; elsewhere once it was moved to where it belongs.
    path: Mutex<PathBuf>,
    /// Where it belongs: whose lock is taken.
    home: PathBuf,
    /// Device and inode of what was bound. They stay its own for as long as the socket is open.
    own: (u64, u64),
}

impl Place {
    pub(super) fn path(&self) -> PathBuf {
        self.0.path().clone()
    }
}

impl Name {
    fn path(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Locked, so that what another process puts there between the look and the removal is not removed.
        let Ok(_locked) = lock(&self.0.home) else { return };
        let path = self.0.path();
        if inode(&path).ok() == Some(self.0.own) {
            let _ = std::fs::remove_file(&*path);
        }
    }
}

/// A socket that is listened on under another name, until it is put in the place of the one that another process serves.
#[must_use = "the socket stands aside until this is finished"]
pub struct TakeOver {
    name: Arc<Name>,
}

impl TakeOver {
    /// The place that is taken over.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.name.home
    }

    /// Whether nobody answers in that place any more: the old one was ended, or fell.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        let path = &self.name.home;
        lock(path).and_then(|_locked| look(path)).is_ok_and(|found| match found {
            Found::Nothing | Found::LeftBehind => true,
            Found::Live { .. } => false,
        })
    }

    /// Puts the new socket in the old one's place, in one step: who connects finds the one or the other, and never none.
    /// Whoever is connected to the old one, or waits in its queue, stays there.
    ///
    /// # Errors
    /// If something that is no socket stands there by now, or the socket cannot be renamed.
    pub fn finish(self) -> Result<(), ListenError> {
        let path = &self.name.home;
        let _locked = lock(path)?;
        if std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(ListenError::NotASocket { path: path.clone() });
        }
        let mut aside = self.name.path();
        std::fs::rename(&*aside, path).map_err(|error| ListenError::Unix {
            path: path.clone(),
            action: "putting the new one in its place",
            error,
        })?;
        aside.clone_from(path);
        Ok(())
    }
}

impl fmt::Debug for TakeOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TakeOver").field(&self.name.home).finish()
    }
}

/// Listens on a unix socket. One that a process left behind when it died is replaced; one that answers is not.
///
/// # Errors
/// If the path is too long, is no socket, is taken or lies where everybody can write, or the socket cannot be made.
pub fn bind_unix(options: &UnixOptions) -> Result<Listener, ListenError> {
    prepare(&options.path)?;
    let _locked = lock(&options.path)?;
    match look(&options.path)? {
        Found::Nothing => {}
        Found::LeftBehind => remove(&options.path)?,
        Found::Live { .. } => return Err(ListenError::Taken { path: options.path.clone() }),
    }
    bind(options, &options.path).map(|(listener, _)| listener)
}

/// The same, but one that answers is taken over: the new socket is listened on under the name `PATH.next` until
/// [`TakeOver::finish`] puts it in the old one's place. Without one that answers there is nothing to take over.
///
/// # Errors
/// As [`bind_unix`]; or if the one that answers is another user's, or yet another process is about to take it over.
pub fn bind_unix_beside(options: &UnixOptions) -> Result<(Listener, Option<TakeOver>), ListenError> {
    let path = &options.path;
    prepare(path)?;
    let _locked = lock(path)?;
    match look(path)? {
        Found::Nothing => return bind(options, path).map(|(listener, _)| (listener, None)),
        Found::LeftBehind => {
            remove(path)?;
            return bind(options, path).map(|(listener, _)| (listener, None));
        }
        Found::Live { owner } if owner == rustix::process::geteuid().as_raw() => {}
        Found::Live { .. } => return Err(ListenError::AnotherUsers { path: path.clone() }),
    }
    let aside = beside(path, ".next");
    check_length(&aside)?;
    match look(&aside)? {
        Found::Nothing => {}
        Found::LeftBehind => remove(&aside)?,
        Found::Live { .. } => return Err(ListenError::Taken { path: aside }),
    }
    let (listener, name) = bind(options, &aside)?;
    Ok((listener, Some(TakeOver { name })))
}

/// Binds at that path, where nothing stands. Called with the lock held.
fn bind(options: &UnixOptions, path: &Path) -> Result<(Listener, Arc<Name>), ListenError> {
    let failed = |action| move |error| ListenError::Unix { path: path.to_owned(), action, error };
    let group = options.group.as_ref().map(find_group).transpose()?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(failed("opening it"))?;
    // Before bind, so that there is no moment at which it is wider than asked for; narrower while its group is not set.
    let first = if group.is_some() { 0o600 } else { options.mode };
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(first))
        .map_err(|error| failed("setting its mode")(error.into()))?;
    socket.bind(&SockAddr::unix(path).map_err(failed("naming it"))?).map_err(failed("binding it"))?;
    let own = inode(path).map_err(failed("finding it"))?;
    let made = Made(path);
    if group.is_some() {
        std::os::unix::fs::lchown(path, None, group).map_err(failed("giving it to its group"))?;
    }
    // bind took away what the process's umask forbids.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(options.mode))
        .map_err(failed("setting its mode"))?;
    socket.listen(BACKLOG).map_err(failed("listening"))?;
    let listener = tokio::net::UnixListener::from_std(socket.into()).map_err(failed("listening"))?;
    std::mem::forget(made);
    let name = Arc::new(Name { path: Mutex::new(path.to_owned()), home: options.path.clone(), own });
    Ok((Listener(Kind::Unix(listener, Named::Ours(Place(Arc::clone(&name))))), name))
}

/// A name that is taken away if what it was made for fails. Not [`Place`]: that would wait for the lock, which is held.
struct Made<'a>(&'a Path);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

fn prepare(path: &Path) -> Result<(), ListenError> {
    check_length(path)?;
    prepare_directory(path)
}

fn check_length(path: &Path) -> Result<(), ListenError> {
    match path.as_os_str().as_bytes().len() {
        length if length > LONGEST => Err(ListenError::TooLong { path: path.to_owned(), length }),
        _ => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(ending);
    path.with_file_name(name)
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

/// A file beside the socket, locked while somebody looks at what stands in the socket's place and changes it, so that of
/// two that start together one finds the other. Never for longer: to wait for it is to wait for a few system calls. The
/// file is never removed, as that would race.
fn lock(path: &Path) -> Result<File, ListenError> {
    let failed = |action| move |error| ListenError::Unix { path: path.to_owned(), action, error };
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(beside(path, ".lock"))
        .map_err(failed("making its lock file"))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| failed("locking its lock file")(error.into()))?;
    Ok(file)
}

/// What stands where a socket shall stand.
enum Found {
    Nothing,
    /// A socket that nobody listens on.
    LeftBehind,
    /// A socket that somebody listens on.
    Live {
        /// The user who bound it.
        owner: u32,
    },
}

/// Called with the lock held.
fn look(path: &Path) -> Result<Found, ListenError> {
    let failed = |action| move |error| ListenError::Unix { path: path.to_owned(), action, error };
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed("looking at it")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket { path: path.to_owned() }),
        Ok(found) => found,
    };
    // Not blocking: a live socket whose queue is full would hold us up.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(failed("probing it"))?;
    let address = SockAddr::unix(path).map_err(failed("naming it"))?;
    match probe.connect(&address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::LeftBehind),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(failed("probing it")(error)),
        Ok(()) | Err(_) => Ok(Found::Live { owner: found.uid() }),
    }
}

/// Removes a socket that nobody listens on. Called with the lock held.
fn remove(path: &Path) -> Result<(), ListenError> {
    tracing::info!(socket = %path.display(), "removing a socket that nobody listens on");
    std::fs::remove_file(path).map_err(|error| ListenError::Unix {
        path: path.to_owned(),
        action: "removing the one that was left behind",
        error,
    })
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
