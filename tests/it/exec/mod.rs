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

/// `exec` with these flags, of a shell that runs that script. What these tests were started with may ignore signals, as
/// `nohup` does, and a shell does not trap what was ignored before it.
fn exec(azure: &Azure, flags: &[&str], script: &str) -> Command {
    let socket = azure.socket();
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal", SIDEKEY, "exec", "--addr", &socket]).args(flags);
    command.args(["--", "/bin/sh", "-c", script]).stdin(Stdio::null());
    command.env_clear().env("XDG_RUNTIME_DIR", "/nonexistent-sidekey-test").env("PATH", "/usr/bin:/bin");
    command
}
