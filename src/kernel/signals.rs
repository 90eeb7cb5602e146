use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Pid;
use tokio::io::unix::AsyncFd;

/// Signals that wait to be read, in the place of acting on this process.
pub struct Signals {
    waiting: OwnedFd,
    /// What was held back before.
    before: libc::sigset_t,
}

/// One signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub signal: i32,
    /// The kernel sent it, as it does to the whole foreground group when a key is pressed, and no process.
    pub of_kernel: bool,
}

impl Signals {
    /// Holds these signals back from now on, in this thread and in those that it starts, and hands them out here. A program
    /// that is started holds them back too, but for [`Signals::put_under`].
    ///
    /// # Errors
    /// The system's own, as where there are no descriptors left.
    pub fn hold(signals: &[i32]) -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is live, writable and of the right type; the call initialises all of it.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for signal in signals {
            // SAFETY: `set` was initialised above and is only written to; a number that is no signal is refused by the call.
            unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
        }
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is initialised and lives through the call, and so does `before`, which is writable.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: the call has succeeded, and so has written the former mask.
        let before = unsafe { before.assume_init() };
        // SAFETY: `set` is initialised and lives through the call; -1 asks for a new descriptor.
        let made = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        let waiting = unsafe { OwnedFd::from_raw_fd(made) };
        Ok(Self { waiting, before })
    }

    /// The same, for a runtime that wakes who waits for them.
    ///
    /// # Errors
    /// The system's own.
    pub fn registered(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: `self` owns its descriptor, gives the same one each time it is asked, and is moved into the result, which
        // takes it out of the runtime before it is closed; nobody is given the means to close it before.
        unsafe { AsyncFd::register(self) }.map_err(io::Error::from)
    }

    /// The next that has come; `None` if there is none.
    ///
    /// # Errors
    /// The system's own.
    pub fn next(&self) -> io::Result<Option<Arrived>> {
        let mut told = std::mem::MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the descriptor is ours and open; `told` is live, writable and has exactly `size` bytes.
        let read = unsafe { libc::read(self.waiting.as_raw_fd(), told.as_mut_ptr().cast(), size) };
        if read < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        // SAFETY: it was zeroed, and every pattern of bits is a valid one of this plain structure.
        let told = unsafe { told.assume_init() };
        let signal = i32::try_from(told.ssi_signo).map_err(io::Error::other)?;
        Ok((signal != 0).then_some(Arrived { signal, of_kernel: told.ssi_code > 0 }))
    }

    /// Lets the program that this command starts hold back what this process did before, and get `signal` when the thread that
    /// started it is gone, whatever became of it.
    pub fn put_under(&self, command: &mut Command, signal: i32) {
        let (parent, before) = (std::process::id(), self.before);
        let ask = move || {
            // SAFETY: a plain call to the system with numbers alone.
            let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
            // It may have ended before it was asked.
            if std::os::unix::process::parent_id() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // SAFETY: `before` is an initialised mask and lives through the call; the former mask is not asked for.
            let error = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
            if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
        };
        // SAFETY: between fork and exec, `ask` makes three calls to the system that are async-signal-safe; it allocates
        // nothing, takes no lock, and touches no memory but its own.
        unsafe { command.pre_exec(ask) };
    }
}

/// Whether this process ignores that signal, as one does that was started by `nohup`.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no action is set, and `action` is live, writable and of the right type; a wrong number is refused.
    let told = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has succeeded, and so has written all of it.
    told == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// The signals that mean what two programs agree on. The C library keeps some of the kernel's for itself.
#[must_use]
pub fn real_time() -> std::ops::RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Whether this process is the leader of its session, which is told alone that the terminal has gone. In a pid namespace whose
/// first process did not begin a session, as under `unshare`, the session's number is 0, which is no process's and no value
/// of a [`Pid`].
#[must_use]
pub fn leads_session() -> bool {
    // SAFETY: a plain call to the system with a number alone.
    let session = unsafe { libc::getsid(0) };
    u32::try_from(session) == Ok(std::process::id())
}

/// Sends that process any signal there is, those for real time too. It may have ended.
pub fn send(to: Pid, signal: i32) {
    // SAFETY: a plain call to the system with numbers alone.
    let _ = unsafe { libc::kill(to.as_raw_nonzero().get(), signal) };
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiting.as_fd()
    }
}

impl std::os::fd::AsRawFd for Signals {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.waiting.as_raw_fd()
    }
}
