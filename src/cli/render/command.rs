//! What `--on-change` runs.

use std::process::{Command, Stdio};

use crate::cli::{Exit, Failure};
use crate::config::{cause, environment};
use crate::hydrate::dangerous::is_ours;

/// Has a shell run it, and waits for its end. It gets no value, and nothing of what sidekey signs in with.
pub(super) async fn run(command: &str) -> Result<(), Failure> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).env_clear();
    shell.envs(environment().filter(|(name, _)| !name.to_str().is_some_and(is_ours)));
    let ended = tokio::task::spawn_blocking(move || shell.status()).await;
    let failed =
        |why: String| Failure::new(Exit::InputOutput, format!("the files are replaced, but --on-change {why}"));
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("failed: {status}"))),
        Ok(Err(error)) => Err(failed(format!("cannot be run: {}", cause(error.kind())))),
        Err(_) => Err(failed("was not waited for".to_owned())),
    }
}
