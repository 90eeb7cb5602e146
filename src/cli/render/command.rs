//! What `--on-change` runs.
//!
//! Must never happen: a command that hangs and stops all that comes after it; one that is left behind.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{io, mem};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::cli::{Exit, Failure};
use crate::config::{cause, environment};
use crate::hydrate::dangerous::is_ours;

/// Has a shell run it, and waits for its end, but not for longer than that. It gets no value, and nothing of what sidekey
/// signs in with. Dropped before its end, it is killed.
pub(super) async fn run(command: &str, longest: Duration) -> Result<(), Failure> {
    let failed =
        |why: String| Failure::new(Exit::InputOutput, format!("the files are replaced, but --on-change {why}"));
    match timeout(longest, ended(command)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("failed: {status}"))),
        Ok(Err(error)) => Err(failed(format!("cannot be run: {}", cause(&error)))),
        Err(_) => Err(failed(format!("took longer than {}, and was killed", humantime::format_duration(longest)))),
    }
}

async fn ended(command: &str) -> io::Result<ExitStatus> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).env_clear().process_group(0);
    shell.envs(environment().filter(|(name, _)| !name.to_str().is_some_and(is_ours)));
    // Before it is started, so that its end is not missed.
    let mut ends = signal(SignalKind::child())?;
    let mut group = Group(Some(shell.spawn()?));
    loop {
        if let Some(status) = group.status()? {
            return Ok(status);
        }
        ends.recv().await;
    }
}

/// The shell and what it has started. What outlives a shell that ended by itself was meant to.
struct Group(Option<Child>);

impl Group {
    fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.0.as_mut().map(Child::try_wait).transpose()?.flatten();
        if status.is_some() {
            self.0 = None;
        }
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(mut shell) = mem::take(&mut self.0) {
            // Nobody has waited for it, so the number is still its own.
            let _ = kill_process_group(Pid::from_child(&shell), Signal::KILL);
            drop(tokio::task::spawn_blocking(move || shell.wait()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    // Time that stands still goes on at once where there is nothing else to wait for.
    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_is_killed_with_what_it_has_started_and_told() {
        let (mut read, write) = io::pipe().unwrap();
        let held = std::os::fd::AsRawFd::as_raw_fd(&write);
        let path = format!("/proc/{}/fd/{held}", std::process::id());
        let hangs = format!("sleep 1000 >{path} & exec sleep 1000 >{path}");
        let failure = run(&hangs, Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(failure.message, "the files are replaced, but --on-change took longer than 1m, and was killed");
        drop(write);
        // Its end closes the pipe.
        assert_eq!(read.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn the_end_of_a_command_is_its_own() {
        assert!(run("exit 0", Duration::from_hours(1)).await.is_ok());
        let failure = run("exit 3", Duration::from_hours(1)).await.unwrap_err();
        assert!(failure.message.ends_with("failed: exit status: 3"), "{}", failure.message);
        assert!(run("kill -KILL $$", Duration::from_hours(1)).await.is_err());
    }
}
