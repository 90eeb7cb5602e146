//! Under sidekey, which restarts it or tells it.
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{alone, exec, heeding, site};
use crate::cli::process::{Azure, Run, SIDEKEY, Staying, Told, finish, mode};

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

/// The first process of a pid namespace, as in a container: everybody's orphans are its children.
#[expect(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
fn as_the_first_process(azure: &Azure, flags: &[&str], script: &str) -> Option<Run> {
    let apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
    let mut command = heeding(apart);
    command.arg(SIDEKEY).args(["exec", "--addr", &azure.socket(), "--watch", "restart"]).args(flags);
    command.args(["--set", "A=pay-prod/db-password", "--", "/bin/sh", "-c", script]);
    let run = finish(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()));
    if run.err.contains("unshare: ") {
        eprintln!("not shown: a pid namespace ({})", run.err.trim());
        return None;
    }
    Some(run)
}

#[test]
fn as_the_first_process_it_takes_the_end_of_everybodys_orphans() {
    let (azure, _serving) = site();
    let script = "for n in 1 2 3 4 5 6 7 8 9; do (sh -c 'exit 1' & setsid sh -c 'exit 2' &); done
        n=0
        while grep -qs '^State:.Z' /proc/[0-9]*/status; do
            n=$((n + 1)); [ $n -gt 500 ] && { echo zombies; exit 1; }; sleep 0.02
        done
        read -r pid rest </proc/1/stat; echo \"no zombies under $pid\"; exit 5";
    let Some(run) = as_the_first_process(&azure, &[], script) else { return };
    assert_eq!((run.code, run.text()), (5, "no zombies under 1\n"), "{}", run.err);
}

#[test]
fn as_the_first_process_it_hands_signals_on() {
    let (azure, _serving) = site();
    // The kernel gives the first process of a namespace no signal that it does not take itself.
    // Its session began outside and has no number in here, which matters to who must tell whom of a hang-up.
    for signal in ["TERM", "HUP"] {
        let script = format!("trap 'echo told; exit 3' {signal}; kill -{signal} 1; while :; do sleep 0.02; done");
        let Some(run) = as_the_first_process(&azure, &[], &script) else { return };
        assert_eq!((run.code, run.text()), (3, "told\n"), "{signal}: {}", run.err);
    }
}

#[test]
fn what_ignores_every_request_to_end_is_killed_after_the_grace() {
    let (azure, _serving) = site();
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM HUP INT; echo left $$; while :; do sleep 1000; done' & \
                  read -r line <\"$0\"; exit 4";
    let pipe = azure.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let flags = ["--watch", "restart", "--grace", "300ms", "--set", "A=pay-prod/db-password"];
    let mut command = exec(&azure, &flags, script);
    command.arg(&pipe);
    let mut running = Staying::start(command);
    let left = running.read_until("left ").trim().rsplit_once(' ').unwrap().1.to_owned();
    std::fs::write(&pipe, "go on\n").unwrap();
    assert_eq!(running.wait(), Some(4));
    assert!(!std::path::Path::new(&format!("/proc/{left}")).exists(), "it is left behind");
}

#[test]
fn a_program_that_is_told_to_end_while_it_is_being_replaced_is_not_replaced() {
    let (azure, _serving) = site();
    let flags = ["--watch", "restart", "--grace", "2s", "--set", "A=pay-prod/db-password"];
    let script = "trap 'echo asked' TERM; echo \"begun $A\"; while :; do sleep 0.02; done";
    let mut running = Staying::start(exec(&azure, &flags, script));
    running.read_until("begun");
    azure.set("pay-prod", "db-password", "second");
    running.read_until("asked");
    running.signal(Signal::TERM);
    assert_eq!(running.read_until("asked"), "asked\n");
    assert_eq!(running.wait(), Some(137), "killed after the grace");
    assert_eq!(running.rest(), "", "and no other was begun");
}

#[test]
fn a_program_that_may_be_ending_after_a_key_is_not_replaced_meanwhile() {
    let (azure, _serving) = site();
    let flags = ["--watch", "restart", "--grace", "12h", "--set", "A=pay-prod/db-password"];
    let script = "trap 'echo drains' INT; trap 'echo still $A' USR1; trap 'echo asked; exit 3' TERM; echo begun; \
                  while :; do sleep 0.02; done";
    let mut command = exec(&azure, &flags, script);
    command.stderr(Stdio::piped());
    let mut running = Staying::start(command);
    let told = Told::of(running.stderr());
    running.read_until("begun");
    running.signal(Signal::INT);
    running.read_until("drains");
    azure.set("pay-prod", "db-password", "second");
    told.until("a secret has changed");
    running.signal(Signal::USR1);
    assert_eq!(running.read_until("still"), "still Autumn-2026-staple\n");
    running.signal(Signal::USR1);
    assert_eq!(running.read_until("still"), "still Autumn-2026-staple\n");
    running.signal(Signal::TERM);
    assert_eq!((running.rest().as_str(), running.wait()), ("asked\n", Some(3)));
}

#[test]
fn signals_of_every_kind_reach_the_program() {
    let (azure, _serving) = site();
    let script = "for s in 6 16 21 22 23 24 26 27 29 30 35 64; do trap \"echo got $s.\" $s; done; echo ready; \
                  while :; do sleep 0.02; done";
    let flags = ["--watch", "restart", "--set", "A=pay-prod/db-password"];
    let mut running = Staying::start(exec(&azure, &flags, script));
    running.read_until("ready");
    for signal in [6, 16, 21, 22, 23, 24, 26, 27, 29, 30, 35, 64] {
        let kill = format!("kill -{signal} {}", running.pid());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        assert_eq!(running.read_until("got"), format!("got {signal}.\n"));
    }
    assert_eq!(running.stop(), Some(143));
}

/// Started with this in place of its variables, and with that signal while it reads them; its code and what it prints.
fn signalled_while_it_starts(azure: &Azure, ignored: &str, signal: Signal) -> (Option<i32>, String) {
    let (pipe, socket) = (azure.path("pipe"), azure.socket());
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal", ignored, SIDEKEY, "exec", "--addr", &socket, "--watch", "restart"]);
    command.arg("--env-file").arg(&pipe).args(["--", "/bin/sh", "-c", "echo value $B; exit 5"]).stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin");
    let mut running = Staying::start(command);
    // Opens once it is read, when signals are held.
    let mut writing = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    running.signal(signal);
    if ignored.contains("HUP") {
        writeln!(writing, "B=1").unwrap();
        drop(writing);
        return (running.wait(), running.rest());
    }
    (running.wait(), running.rest())
}

#[test]
fn what_was_ignored_before_does_not_end_it_while_it_starts() {
    let (azure, _serving) = site();
    let came = signalled_while_it_starts(&azure, "--ignore-signal=HUP", Signal::HUP);
    assert_eq!(came, (Some(5), "value 1\n".to_owned()));
}

#[test]
fn a_file_that_is_slow_keeps_nobody_who_wants_it_to_end() {
    let (azure, _serving) = site();
    let came = signalled_while_it_starts(&azure, "--default-signal=TERM", Signal::TERM);
    assert_eq!(came, (Some(143), String::new()));
}

#[test]
fn files_are_replaced_under_the_program_and_gone_when_it_ends() {
    let (azure, _serving) = site();
    azure.set("pay-prod", "large", "1");
    let outer = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = outer.path().join("values");
    let files = folder.display().to_string();
    for (watch, end) in [("signal=USR1", Some(143)), ("restart", Some(143))] {
        let flags =
            ["--watch", watch, "--as-files", &files, "--set", "A=pay-prod/db-password", "--set", "B=pay-prod/large"];
        let script =
            "trap 'echo \"value $(cat $A) $A\"' USR1; echo \"value $(cat $A) $A\"; while :; do sleep 0.05; done";
        let mut running = Staying::start(exec(&azure, &flags, script));
        running.read_until("value ");
        let (value, path) = (format!("of {watch}"), folder.join("A"));
        azure.set("pay-prod", "db-password", &value);
        assert_eq!(running.read_until("value "), format!("value {value} {}\n", path.display()));
        assert_eq!((mode(&folder), mode(&path), mode(&folder.join("..data"))), (0o700, 0o400, 0o700));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4, "A, B, what counts, and one generation");
        assert_eq!(running.stop(), end);
        assert!(!folder.exists());
    }
    // One that was there before stays, and so does what others put into it.
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("others"), "").unwrap();
    let flags = ["--watch", "restart", "--as-files", &files, "--set", "A=pay-prod/large"];
    assert_eq!(finish(&mut exec(&azure, &flags, "cat $A")).text(), "1");
    assert_eq!(std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().file_name()).collect::<Vec<_>>(), ["others"]);
}

#[test]
fn the_program_has_the_same_descriptors_after_every_restart_and_nothing_of_the_supervisors() {
    let (azure, _serving) = site();
    let list = "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> .*/\\1/p' | tr '\\n' ' '; grep -E '^(SigBlk|SigIgn)' /proc/self/status | tr '\\n\\t' '  '";
    let script = format!("{list}; echo; echo \"value $(cat $A)\"; exec sleep 1000");
    let flags = ["--watch", "restart", "--fd", "A", "--set", "A=pay-prod/db-password"];
    let mut running = Staying::start(exec(&azure, &flags, &script));
    let mut seen = Vec::new();
    for value in ["Autumn-2026-staple", "second", "third"] {
        if value != "Autumn-2026-staple" {
            azure.set("pay-prod", "db-password", value);
        }
        let text = running.read_until("value ");
        let (state, told) = text.split_once('\n').unwrap();
        assert_eq!(told, format!("value {value}\n"));
        seen.push(state.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    }
    running.stop();
    let alone = finish(&mut alone(list));
    let alone: Vec<_> = alone.text().split_whitespace().map(str::to_owned).collect();
    for state in &seen {
        assert_eq!(state.len(), alone.len() + 1, "one more, which was asked for: {state:?}, alone {alone:?}");
        assert_eq!(state.iter().rev().take(4).collect::<Vec<_>>(), alone.iter().rev().take(4).collect::<Vec<_>>());
    }
}
