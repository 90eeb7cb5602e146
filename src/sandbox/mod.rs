//! What this process may still do, once it is known what it has to do: which files, which ports, which calls to the
//! system. A fault in a parser, ours or a library's, is then worth little to whoever found it.
//!
//! It is put up in one thread, before any other is started, as Landlock binds the threads that come after it. Best effort,
//! by what the kernel has: what is and is not in force is told, and only where it is asked for is a kernel that has less a
//! reason not to start.
//!
//! Must never happen: a rule wider than what the configuration needs; a call that is refused bringing the process down.

mod calls;
mod files;
mod process;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

pub use process::{Found, Process, forgo_privileges, harden};

/// Whether there is to be a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As much of it as the kernel has.
    #[default]
    Auto,
    /// None.
    Off,
    /// All of it, or the process does not start.
    Required,
}

/// What the process has to do. All else is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files, and folders with all beneath them, to be read. Those that do not exist are passed over.
    pub read: BTreeSet<PathBuf>,
    /// Folders in which files are made, replaced and removed. For one that does not exist yet, the nearest above it.
    pub write: BTreeSet<PathBuf>,
    /// TCP ports of others.
    pub connect: BTreeSet<u16>,
    /// TCP ports of ours; 0: any.
    pub bind: BTreeSet<u16>,
    /// Other programs are started, which need what is not known here.
    pub programs: bool,
    /// Sockets without a place in the file system are reached: systemd's, where it tells of one.
    pub abstract_sockets: bool,
}

impl Needs {
    /// What of `self` is not among `others`, for people; empty if nothing is.
    #[must_use]
    pub fn beyond(&self, others: &Self) -> Vec<String> {
        let beneath = |path: &PathBuf, all: &BTreeSet<PathBuf>| all.iter().any(|known| path.starts_with(known));
        let mut beyond = Vec::new();
        let read = self.read.iter().filter(|path| !beneath(path, &others.read) && !beneath(path, &others.write));
        beyond.extend(read.map(|path| format!("reading {}", path.display())));
        let write = self.write.iter().filter(|path| !beneath(path, &others.write));
        beyond.extend(write.map(|path| format!("writing to {}", path.display())));
        beyond.extend(self.connect.difference(&others.connect).map(|port| format!("connecting to port {port}")));
        if self.programs && !others.programs {
            beyond.push("starting other programs".to_owned());
        }
        beyond
    }
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Files, ports and abstract sockets: Landlock.
    pub files: Force,
    /// Calls to the system: seccomp.
    pub calls: Force,
}

/// How far one part of the sandbox goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Force {
    /// All of it, with what that is.
    Whole(String),
    /// Some of it, with what that is.
    Partly(String),
    /// Nothing, with the reason.
    None(String),
}

impl fmt::Display for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(what) => write!(f, "enforced: {what}"),
            Self::Partly(what) => write!(f, "enforced in part: {what}"),
            Self::None(why) => write!(f, "NOT enforced: {why}"),
        }
    }
}

impl Report {
    fn off() -> Self {
        let off = || Force::None("switched off by sandbox.mode".to_owned());
        Self { files: off(), calls: off() }
    }

    /// Whether nothing at all is in force.
    #[must_use]
    pub fn is_off(&self) -> bool {
        [&self.files, &self.calls].into_iter().all(|part| matches!(part, Force::None(_)))
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        [&self.files, &self.calls].into_iter().all(|part| matches!(part, Force::Whole(_)))
    }
}

/// Gives up all that is not needed, for good, for this thread and all that it starts.
///
/// # Errors
/// All of it is required and the kernel does not have all: what is missing. What could be enforced is.
pub fn confine(needs: &Needs, mode: Mode) -> Result<Report, String> {
    if mode == Mode::Off {
        return Ok(Report::off());
    }
    // Landlock first: its own calls are among those that are refused afterwards.
    let report = Report { files: files::confine(needs), calls: calls::confine(needs) };
    if mode == Mode::Required && !report.is_whole() {
        return Err(format!("files and ports: {}; calls to the system: {}", report.files, report.calls));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_is_told_and_what_is_beneath_is_not() {
        let now = Needs {
            read: [PathBuf::from("/etc/ssl")].into(),
            write: [PathBuf::from("/var/lib/sidekey")].into(),
            connect: [443].into(),
            ..Needs::default()
        };
        let same = Needs { read: ["/etc/ssl/certs".into(), "/var/lib/sidekey/key".into()].into(), ..now.clone() };
        assert_eq!(same.beyond(&now), Vec::<String>::new());
        let more = Needs {
            read: ["/etc/sslx".into()].into(),
            write: ["/var/lib".into()].into(),
            connect: [443, 8443].into(),
            programs: true,
            ..Needs::default()
        };
        let told = ["reading /etc/sslx", "writing to /var/lib", "connecting to port 8443", "starting other programs"];
        assert_eq!(more.beyond(&now), told);
    }
}
