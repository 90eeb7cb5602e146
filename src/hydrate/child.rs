//! The program that is started: its words, its whole environment, and the descriptors that it was promised.
//!
//! Must never happen: a program that lacks a value; a value among its words; a descriptor of ours in it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

use super::limits::{self, TooLarge};
use crate::kernel::Signals;

/// A program, ready to be started. Prints its words and the names of its variables, never what they hold.
pub struct Program {
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    descriptors: Vec<OwnedFd>,
}

impl Program {
    /// That program with these arguments, in that environment and no other.
    #[must_use]
    pub fn new(words: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> Self {
        Self { words, environment, descriptors: Vec::new() }
    }

    /// Sets a variable in the place of what it held.
    pub fn set(&mut self, name: &OsStr, value: OsString) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value));
    }

    /// Gives the program these bytes in memory that it inherits, and so does what it starts, and that nobody can change; the
    /// variable holds the path to read them at.
    ///
    /// # Errors
    /// The system's own.
    pub fn hand(&mut self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        // Whatever else is started meanwhile does not get it.
        let memory = std::fs::File::from(memfd_create("secret", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?);
        io::Write::write_all(&mut &memory, bytes)?;
        io::Seek::rewind(&mut &memory)?;
        fcntl_add_seals(&memory, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
        self.set(name, format!("/proc/self/fd/{}", memory.as_raw_fd()).into());
        self.descriptors.push(memory.into());
        Ok(())
    }

    /// Whether the kernel will take it: each variable by its name, or all together without one.
    ///
    /// # Errors
    /// All that does not fit.
    pub fn fits(&self) -> Result<(), Vec<(Option<OsString>, TooLarge)>> {
        let one = |(name, value): &(OsString, OsString)| Some((Some(name.clone()), limits::one(name, value).err()?));
        let mut wrong: Vec<_> = self.environment.iter().filter_map(one).collect();
        if wrong.is_empty() {
            let environment = self.environment.iter().map(|(name, value)| (name, value));
            wrong.extend(limits::all(self.words.iter(), environment).err().map(|error| (None, error)));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Becomes it: same process, same descriptors 0, 1 and 2. Comes back only if that fails.
    #[must_use]
    pub fn execute(self) -> io::Error {
        match self.command() {
            Ok(mut command) => command.exec(),
            Err(error) => error,
        }
    }

    /// Starts it under this process, which holds these signals back; it is asked to end when this process is gone.
    ///
    /// # Errors
    /// The system's own.
    pub fn start(self, signals: &Signals) -> io::Result<Child> {
        let mut command = self.command()?;
        signals.put_under(&mut command, Signal::TERM.as_raw());
        command.spawn()
    }

    /// Its own word for itself, to be told.
    #[must_use]
    pub fn name(&self) -> PathBuf {
        self.words.first().map(PathBuf::from).unwrap_or_default()
    }

    /// Ready to be executed at once. The standard library gives SIGPIPE its default back before it executes.
    fn command(&self) -> io::Result<Command> {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
        command.args(words).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        for descriptor in &self.descriptors {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(command)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Program").field("words", &self.words).field("names", &names).finish_non_exhaustive()
    }
}
