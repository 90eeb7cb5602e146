//! What the kernel lets a program be started with, found out before it says E2BIG, which names nothing.
//! Linux, `fs/exec.c` and `execve(2)`: one string has a bound, and all of them together have a quarter of the stack's limit.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Resource, getrlimit};

/// The longest string, its NUL among it: `MAX_ARG_STRLEN`, 32 pages of 4 KiB, the least of all machines.
pub const LONGEST: usize = 128 * 1024;
/// However large the stack may be: three quarters of 8 MiB (`_STK_LIM`).
const MOST: u64 = 6 * 1024 * 1024;
/// However small it may be.
const LEAST: u64 = LONGEST as u64;
/// The kernel's own, such as the program's path a second time, its auxiliary vector, and alignment.
const SPARE: u64 = 8 * 1024;

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// One variable.
    #[error("has {bytes} bytes with its name, and the kernel takes {LONGEST} at most; give it as a file: --as-files")]
    Variable {
        /// `NAME=value` and a NUL.
        bytes: usize,
    },
    /// All together.
    #[error(
        "arguments and environment have {bytes} bytes, and the kernel takes {most} here; give values as files: --as-files"
    )]
    All {
        /// With a pointer to each.
        bytes: u64,
        /// Of this process's limits.
        most: u64,
    },
}

/// Whether `NAME=value` fits.
///
/// # Errors
/// It is too long.
pub fn one(name: &OsStr, value: &OsStr) -> Result<(), TooLarge> {
    let bytes = name.len() + value.len() + 2;
    if bytes > LONGEST { Err(TooLarge::Variable { bytes }) } else { Ok(()) }
}

/// Whether all strings fit together with a pointer to each.
///
/// # Errors
/// They do not.
pub fn all<'a>(
    arguments: impl Iterator<Item = &'a OsString>,
    environment: impl Iterator<Item = (&'a OsString, &'a OsString)>,
) -> Result<(), TooLarge> {
    let arguments: u64 = arguments.map(|argument| in_memory(argument.as_bytes().len() + 1)).sum();
    let environment: u64 = environment.map(|(name, value)| in_memory(name.len() + value.len() + 2)).sum();
    let stack = getrlimit(Resource::Stack).current.unwrap_or(u64::MAX);
    let most = (stack / 4).clamp(LEAST, MOST) - SPARE;
    let bytes = arguments + environment;
    if bytes > most { Err(TooLarge::All { bytes, most }) } else { Ok(()) }
}

fn in_memory(string: usize) -> u64 {
    (string + size_of::<usize>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_one_string_counts_its_name_the_sign_and_the_end() {
        let value = OsString::from("v".repeat(LONGEST - "NAME".len() - 2));
        assert_eq!(one("NAME".as_ref(), &value), Ok(()));
        assert_eq!(one("NAMES".as_ref(), &value), Err(TooLarge::Variable { bytes: LONGEST + 1 }));
    }
}
