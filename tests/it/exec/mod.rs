//! `exec`, as the program that is started sees it, and as whoever started it does.
mod alone;
mod failing;
mod supervised;
mod terminal;
mod traces;

use std::process::Command;

use super::cli::process::{Azure, Staying, command};

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
    let words = ["exec", "--addr", &socket].into_iter().chain(flags.iter().copied());
    let mut command = command(words.chain(["--", "/bin/sh", "-c", script]));
    command.env("PATH", "/usr/bin:/bin");
    command
}
