//! `exec`, as the program that is started sees it, and as whoever started it does.
mod alone;
mod failing;
mod supervised;
mod terminal;
mod traces;

use std::process::{Command, Stdio};

use super::cli::process::{Azure, SIDEKEY, Staying};

/// A sidecar on an Azure that is listed all the time.
fn site() -> (Azure, Staying) {
    let azure = Azure::demo();
    azure.configure("[cache]\nlisting_interval = \"200ms\"");
    let (serving, _) = azure.serve("");
    (azure, serving)
}

/// `exec` with these flags, of a shell that runs that script.
fn exec(azure: &Azure, flags: &[&str], script: &str) -> Command {
    let socket = azure.socket();
    let words = [SIDEKEY, "exec", "--addr", &socket].into_iter().chain(flags.iter().copied());
    let mut command = with_all_signals(words.chain(["--", "/bin/sh", "-c", script]));
    command.env("XDG_RUNTIME_DIR", "/nonexistent-sidekey-test");
    command
}

/// A shell that runs that script, without sidekey.
fn alone(script: &str) -> Command {
    with_all_signals(["/bin/sh", "-c", script])
}

/// A program with nothing from outside: no variables, no input, no signal ignored.
fn with_all_signals<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = heeding(words);
    command.stdin(Stdio::null()).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// What these tests were started with may ignore signals, as `nohup` does; then a shell does not trap them, and a program does
/// not end by them.
fn heeding<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal").args(words);
    command
}
