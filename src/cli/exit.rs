//! How a command ends: one table from the API's problem codes to exit codes, and the one or two lines that say what,
//! where and what to do.

use std::fmt;
use std::io;

use crate::api::Code;
use crate::config::{Faults, cause};

/// The process's exit code: those of `sysexits.h`, and 1 for an answer that is 'no'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// It does not exist, or several are meant.
    NotFound = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The sidecar or a vault could not be asked.
    Unavailable = 69,
    /// Reading or writing a file failed.
    InputOutput = 74,
    /// Refused: no right, a wrong credential, a disabled secret.
    Denied = 77,
    /// The configuration is wrong.
    Config = 78,
    /// `exec`: the program is there and cannot be run, as a shell says it.
    NotRunnable = 126,
    /// `exec`: there is no such program, as a shell says it.
    NoProgram = 127,
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What, where, and what to do. Empty: nothing is printed.
    pub message: String,
}

impl Failure {
    /// A failure to be told in these words.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Something of ours could not be read or written. A reader that went away is no failure: the rest of the output
    /// was not wanted.
    pub(super) fn io(what: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::new(Exit::InputOutput, format!("{what}: {}", cause(error))),
        }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let count = faults.0.len();
        let s = if count == 1 { "" } else { "s" };
        Self::new(Exit::Config, format!("{count} fault{s} in the configuration\n{faults}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// What a problem of the API means for the process that asked.
pub(super) fn exit_of(code: Code) -> Exit {
    match code {
        Code::SecretNotFound | Code::VaultNotFound | Code::VersionNotFound | Code::FieldNotFound | Code::Ambiguous => {
            Exit::NotFound
        }
        Code::BadReference | Code::BadQuery => Exit::Usage,
        Code::Unauthenticated
        | Code::Forbidden
        | Code::BadHost
        | Code::Forwarded
        | Code::SecretDisabled
        | Code::VaultDenied
        | Code::SignInFailed => Exit::Denied,
        // The rest of the 4xx are misunderstandings with a server of another version: it cannot be used.
        Code::NotFound
        | Code::MethodNotAllowed
        | Code::NotAcceptable
        | Code::TooSlow
        | Code::TooLarge
        | Code::UnsupportedMediaType
        | Code::Internal
        | Code::VaultThrottled
        | Code::VaultUnavailable
        | Code::Incomplete
        | Code::NotReady
        | Code::AuditFailed
        | Code::Overloaded
        | Code::VaultTimeout
        | Code::NotCached => Exit::Unavailable,
    }
}

/// The code of that word, if this version knows it.
pub(super) fn code_of(word: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.as_str() == word)
}
