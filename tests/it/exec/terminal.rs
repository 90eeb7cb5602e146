//! A terminal, its keys, its size, and a shell's job control reach the program as if it were alone. Python's `pty` is the
//! terminal, and the program too: a shell that waits for a child may swallow a key that comes as the child ends.
use std::process::Command;

use super::{heeding, site};
use crate::cli::process::{Azure, SIDEKEY, Staying};

/// Tells what it is and every signal that comes, by itself, and ends with 7 when it is told to.
const PROGRAM: &str = r#"
import os, signal
told = {signal.SIGINT, signal.SIGWINCH, signal.SIGCONT, signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
def tell(what, *more):
    print(what, *more, "pid", os.getpid(), "parent", os.getppid(), "size", *os.get_terminal_size(0),
          "foreground" if os.tcgetpgrp(0) == os.getpgrp() else "background", flush=True)
interrupted = 0
tell("ready")
while True:
    signalled = signal.sigwait(told)
    if signalled == signal.SIGINT:
        interrupted += 1
        tell("interrupted", interrupted)
    elif signalled == signal.SIGWINCH: tell("resized")
    elif signalled == signal.SIGCONT: tell("continued")
    elif signalled == signal.SIGUSR1: tell("asked", interrupted)
    else: os._exit(7)
"#;

/// What each drive begins with: `terminal`, `until`, which gives the line that begins so, and the command line.
const DRIVER: &str = r#"
import fcntl, os, pty, re, select, shlex, signal, struct, sys, termios, time
sidekey, socket, how, program = sys.argv[1:]
words = [sidekey, "exec", "--addr", socket, *(["--watch", "restart"] if how == "watch" else []),
         "--set", "A=pay-prod/db-password", "--", sys.executable, "-c", program]
def begin(words):
    global pid, terminal, text
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    text = ""
def until(mark):
    global text
    while True:
        found = re.search(mark + r"[^\n]*\n", text)
        if found:
            text = text[found.end():]
            return found[0]
        assert select.select([terminal], [], [], 600)[0], f"no {mark} in {text!r}"
        text += os.read(terminal, 4096).decode()
def field(line, name):
    return int(line.split()[line.split().index(name) + 1])
def state(pid):
    return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
def end():
    global code
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"#;

/// Runs it in sidekey's place and under it; what it prints in the end.
fn drive(azure: &Azure, drive: &str) {
    for how in ["alone", "watch"] {
        let script = format!("{DRIVER}\n{drive}");
        let words = ["python3", "-c", &script, SIDEKEY, &azure.socket(), how, PROGRAM];
        let output = heeding(words).output().unwrap();
        let (told, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(told.trim(), "as it should be", "{how}: {err}");
    }
}

#[expect(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
fn shown(test: impl FnOnce(&Azure, Staying)) {
    if Command::new("python3").args(["-c", "import pty"]).output().is_ok_and(|run| run.status.success()) {
        let (azure, serving) = site();
        test(&azure, serving);
    } else {
        eprintln!("not shown: a terminal, as there is no python3");
    }
}

#[test]
fn keys_and_size_reach_the_program_once() {
    const DRIVE: &str = r#"
begin(words)
line = until("ready")
assert field(line, "pid" if how == "alone" else "parent") == pid, line
assert "foreground" in line, line
own = field(line, "pid")
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
assert "size 77 33 " in until("resized")
for n in 1, 2, 3:
    # Under a supervisor that hears of the key only when the program has: one sent twice would be seen as two.
    if how == "watch": os.kill(pid, signal.SIGSTOP)
    os.write(terminal, b"\x03")
    until(f"interrupted {n} ")
    if how == "watch":
        os.kill(pid, signal.SIGCONT)
        until("continued")
os.kill(pid, signal.SIGUSR1)
until("asked 3 ")
os.kill(pid, signal.SIGTERM)
end()
assert code == 7, code
print("as it should be")
"#;
    shown(|azure, _serving| drive(azure, DRIVE));
}

#[test]
fn a_shell_stops_it_with_a_key_and_brings_it_back() {
    const DRIVE: &str = r#"
os.environ.update(PS1="$ ", HISTFILE="/dev/null")
begin(["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"])
os.write(terminal, b"stty -echo\n")
with open(os.path.dirname(socket) + "/" + how + ".sh", "w") as file:
    file.write("exec " + shlex.join(words) + "\n")
os.write(terminal, f"sh {shlex.quote(file.name)}\n".encode())
line = until("ready")
own, parent = field(line, "pid"), field(line, "parent")
for n in 1, 2:
    os.write(terminal, b"\x1a")
    until("Stopped")
    assert state(own) == "T", state(own)
    assert how == "alone" or state(parent) == "T", state(parent)
    os.write(terminal, b"fg\n")
    assert "foreground" in until("continued")
    os.write(terminal, b"\x03")
    until(f"interrupted {n} ")
os.kill(own, signal.SIGTERM)
os.write(terminal, b"echo the code is $?\n")
assert "the code is 7" in until("the code is ")
os.write(terminal, b"exit\n")
print("as it should be")
"#;
    shown(|azure, _serving| drive(azure, DRIVE));
}

#[test]
fn a_terminal_that_hangs_up_ends_the_program() {
    const DRIVE: &str = r#"
begin(words)
own = field(until("ready"), "pid")
os.close(terminal)
end()
assert code in (-1, 129), code
assert not os.path.exists(f"/proc/{own}"), "it outlives its terminal"
print("as it should be")
"#;
    shown(|azure, _serving| drive(azure, DRIVE));
}
