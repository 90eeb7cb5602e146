//! Under sidekey, which restarts it or tells it.
use std::io::Read as _;
use std::process::Stdio;

use rustix::process::Signal;

use super::{exec, site};
use crate::cli::process::{Staying, finish};

#[test]
fn a_new_value_restarts_the_program_and_what_the_old_one_left_behind_is_ended() {
    let (azure, _serving) = site();
    let script = "sleep 1000 & echo \"child $!\"; echo \"value $A\"; wait";
    let mut running = Staying::start(exec(&azure, &["--watch", "restart", "--set", "A=pay-prod/db-password"], script));
    let mut left = Vec::new();
    for value in ["Autumn-2026-staple", "second", "third"] {
        if value != "Autumn-2026-staple" {
            azure.set("pay-prod", "db-password", value);
        }
        let text = running.read_until("value ");
        assert!(text.ends_with(&format!("value {value}\n")), "{text}");
        left.extend(text.lines().filter_map(|line| line.strip_prefix("child ")).map(str::to_owned));
    }
    let alive = |pid: &str| std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert_eq!(left.iter().map(|pid| alive(pid)).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(running.stop(), Some(143), "the program's own end");
    assert!(!alive(&left[2]));
}

#[test]
fn a_signal_tells_the_program_where_that_is_asked_for() {
    let (azure, _serving) = site();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let files = folder.path().join("values").display().to_string();
    let flags = ["--watch", "signal=USR1", "--as-files", &files, "--set", "A=pay-prod/db-password"];
    let script = "trap 'echo \"told $(cat $A)\"' USR1; echo ready; while :; do sleep 0.05; done";
    let mut running = Staying::start(exec(&azure, &flags, script));
    running.read_until("ready");
    azure.set("pay-prod", "db-password", "second");
    assert!(running.read_until("told").contains("told second"));
    assert_eq!(running.stop(), Some(143));
}

#[test]
fn signals_and_ends_are_the_programs_own() {
    let (azure, _serving) = site();
    let flags = ["--watch", "restart", "--set", "A=pay-prod/db-password"];
    assert_eq!(finish(&mut exec(&azure, &flags, "exit 7")).code, 7);
    assert_eq!(finish(&mut exec(&azure, &flags, "kill -KILL $$")).code, 137);
    let script = "for s in HUP INT USR1 USR2; do trap \"echo got $s\" $s; done; trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = Staying::start(exec(&azure, &flags, script));
    running.read_until("ready");
    for (signal, name) in [(Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2")] {
        running.signal(signal);
        running.read_until(&format!("got {name}"));
    }
    assert_eq!(running.stop(), Some(3));
}

#[test]
fn the_program_does_not_outlive_a_supervisor_that_was_killed() {
    let (azure, _serving) = site();
    let mut command =
        exec(&azure, &["--watch", "restart", "--set", "A=pay-prod/db-password"], "echo ready; exec sleep 1000");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    out.read_exact(&mut ready).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Its end closes the pipe.
    assert_eq!(out.read_to_end(&mut Vec::new()).unwrap(), 0);
}
