//! Under sidekey, which restarts it or tells it.
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{exec, site};
use crate::cli::process::{SIDEKEY, Staying, finish};

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

/// Python's `pty` is the terminal: its size, a key that interrupts, one that stops, and the shell that goes on.
#[test]
fn a_terminals_keys_and_size_reach_the_program_once() {
    const TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
watch = ["--watch", "restart"] if sys.argv[3] == "watch" else []
script = "n=0; trap 'n=$((n+1)); echo interrupted $n' INT; trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.05; done"
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "exec", "--addr", sys.argv[2], *watch, "--set", "A=pay-prod/db-password", "--",
             "/bin/bash", "-c", script])
text = b""
def until(mark):
    global text
    while mark not in text:
        text += os.read(terminal, 4096)
    text = text[text.index(mark) + len(mark):]
until(b"ready")
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
until(b"33 77")
os.write(terminal, b"\x03"); until(b"interrupted 1")
os.write(terminal, b"\x03"); until(b"interrupted 2")
os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let (azure, _serving) = site();
    for (how, end) in [("alone", "-15"), ("watch", "143")] {
        let output = Command::new("python3").args(["-c", TERMINAL, SIDEKEY, &azure.socket(), how]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(told.trim(), end, "{how}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Python waits for signals one by one, so that a second one is not lost in the first.
#[test]
fn a_terminals_key_reaches_the_program_once_and_not_from_the_supervisor_too() {
    const TERMINAL: &str = r#"
import os, pty, signal, sys
counter = "import signal\nboth={signal.SIGINT,signal.SIGUSR1}\nsignal.pthread_sigmask(signal.SIG_BLOCK,both)\nprint('ready',flush=True)\nn=0\nwhile signal.sigwait(both)==signal.SIGINT: n+=1\nprint('came',n,'times',flush=True)"
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "exec", "--addr", sys.argv[2], "--watch", "restart", "--set", "A=pay-prod/db-password", "--",
             sys.executable, "-c", counter])
text = b""
def until(mark):
    global text
    while mark not in text:
        text += os.read(terminal, 4096)
until(b"ready")
for n in range(20):
    os.write(terminal, b"\x03"); until(b"^C" * (n + 1))
os.kill(pid, signal.SIGUSR1)
until(b"times")
count = int(text.split(b"came ")[1].split()[0])
print(1 <= count <= 20)
"#;
    let (azure, _serving) = site();
    let output = Command::new("python3").args(["-c", TERMINAL, SIDEKEY, &azure.socket()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "True", "{}", String::from_utf8_lossy(&output.stderr));
}
