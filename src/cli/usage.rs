//! A wrong command line: clap's own words, but for one mistake that must not become a habit. Every process on the
//! machine can read the command lines of all others, so no flag takes a secret, and whoever tries is told where it goes.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Exit;
use super::terminal::tell;

/// The last words of flags that people would write a secret behind, each with where that secret belongs.
const CREDENTIALS: &[(&[&str], &str)] = &[
    (
        &["client-secret", "password", "passwd", "assertion", "credential", "credentials"],
        "set AZURE_CLIENT_SECRET, or name the file that holds it as client_secret_file in the configuration",
    ),
    (&["token", "bearer"], "name the file that holds it with --token-file or in SIDEKEY_TOKEN_FILE"),
];

/// Tells what clap made of a command line, and how the process is to end: help and version are answers.
pub fn refuse(error: &clap::Error) -> Exit {
    if let Some(message) = credential(error) {
        tell(&format!("sidekey: {message}"));
        return Exit::Usage;
    }
    // A reader that went away is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Ok }
}

/// What to say to a flag that nobody knows and that reads as if a secret stood behind it.
fn credential(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = flag.split('=').next().unwrap_or_default();
    let name = flag.strip_prefix("--")?.to_ascii_lowercase().replace('_', "-");
    let ends = |word: &str| name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
    let (_, place) = CREDENTIALS.iter().find(|(words, _)| words.iter().any(|word| ends(word)))?;
    Some(format!(
        "{flag}: a secret does not belong on a command line, which every process on this machine can read\n{place}"
    ))
}
