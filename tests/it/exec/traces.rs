//! What of a value is seen from outside: nothing, but where it was asked for.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{exec, site};
use crate::cli::process::{SIDEKEY, Staying, Told, finish};

const VALUE: &str = "Autumn-2026-staple";

/// Every call to the system is looked at in which a value leaves the process.
#[test]
#[allow(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
fn a_value_is_written_into_the_file_and_the_memory_that_were_asked_for_and_nowhere_else() {
    if !Command::new("strace").arg("--version").output().is_ok_and(|run| run.status.success()) {
        eprintln!("not shown: calls to the system, as there is no strace");
        return;
    }
    let (azure, _serving) = site();
    let outer = tempfile::tempdir_in("/dev/shm").unwrap();
    let (folder, trace) = (outer.path().join("values").display().to_string(), azure.path("trace"));
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "100000", "-o", trace.to_str().unwrap(), SIDEKEY, "-vv", "exec", "--addr"]);
    command.args([&azure.socket(), "--as-files", &folder, "--fd", "B", "--set", "A=pay-prod/db-password", "--set"]);
    command.args(["B=pay-prod/db-password", "--", "/bin/true"]);
    let run = finish(command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(!run.err.contains(VALUE), "{}", run.err);
    let trace = fs::read_to_string(trace).unwrap();
    let (mut seen, mut created) = (Vec::new(), Vec::new());
    for line in trace.lines() {
        let call = line.split_once(' ').unwrap().1.trim_start();
        let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
        if line.contains(VALUE) && !["recvfrom", "recvmsg", "read", "readv"].contains(&name) {
            let to = arguments.split_once('<').unwrap_or_default().1;
            seen.push((name, to.split_once('>').unwrap_or_default().0));
        }
        if line.contains("O_CREAT") && !line.contains("ENOENT") {
            created.push(arguments.split('"').nth(1).unwrap());
        }
    }
    let [(write, memory), (again, file)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!([write, again], ["write", "write"]);
    assert!(memory.contains("memfd:secret") && file.starts_with(&folder) && file.ends_with("/A"), "{seen:?}");
    assert_eq!(created, ["A"], "no other file is made");
}

#[test]
fn command_lines_and_logs_of_the_program_and_its_supervisor_hold_no_value() {
    let (azure, _serving) = site();
    let home = azure.path("home");
    fs::create_dir(&home).unwrap();
    let flags = ["-vv", "--watch", "restart", "--set", "A=pay-prod/db-password"];
    let mut command = exec(&azure, &flags, "echo \"program $$ $PPID\"; echo \"value $A\"; sleep 1000 & wait");
    command.current_dir(&home).env("HOME", &home).env("TMPDIR", &home).stderr(Stdio::piped());
    let mut running = Staying::start(command);
    let told = Told::of(running.stderr());
    for value in [VALUE, "second"] {
        if value != VALUE {
            azure.set("pay-prod", "db-password", value);
        }
        let line = running.read_until("program ");
        assert_eq!(running.read_until("value "), format!("value {value}\n"));
        for pid in line.split_whitespace().skip(1) {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
            assert!(!words.is_empty() && !words.contains(value), "{words}");
        }
        // What the supervisor was started with refers to values, and has none.
        let environ = fs::read(Path::new("/proc").join(running.pid().to_string()).join("environ"));
        assert!(environ.is_err() || !String::from_utf8_lossy(&environ.unwrap()).contains(value));
    }
    running.stop();
    let log = told.until_quiet();
    assert!(log.contains("restarting the program"), "{log}");
    assert!(!log.contains(VALUE) && !log.contains("second"), "{log}");
    assert_eq!(fs::read_dir(home).unwrap().count(), 0, "no temporary file is made");
}
