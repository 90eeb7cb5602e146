use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing that is wrong with the configuration: which key, where it was set, and what was expected. Never what it
/// held, as that may be a credential in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was set.
    pub place: Place,
    /// The key, such as `cache.ttl`; empty where the file as a whole is at fault.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; lines and columns count from 1, columns in characters.
    File {
        /// As it was named.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// The file as a whole.
    WholeFile(PathBuf),
    /// A variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nothing was set, and something must be.
    Unset,
}

/// What the system said, in words for people and nothing else: an error may have been given a text of its own. The library's
/// words for a missing file are 'entity not found', and for many it has none, where the system has.
pub(crate) fn cause(error: &io::Error) -> String {
    let without_words = io::Error::from_raw_os_error(i32::MAX).kind();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => "no such file or directory".to_owned(),
        (kind, Some(code)) if kind == without_words => io::Error::from_raw_os_error(code).to_string(),
        (kind, _) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn an_error_is_told_in_the_systems_words_and_never_in_somebodys_own() {
        let told = |code: rustix::io::Errno| cause(&std::io::Error::from(code));
        assert_eq!(told(rustix::io::Errno::NOENT), "no such file or directory");
        assert_eq!(told(rustix::io::Errno::ACCESS), "permission denied");
        assert!(told(rustix::io::Errno::MFILE).starts_with("Too many open files"));
        assert_eq!(cause(&std::io::Error::other("a secret")), "other error");
    }
}

/// Every fault of a configuration, in the order of the file, then variables, then flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Unset => f.write_str("configuration"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// One fault a line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
