//! What only the order of system calls tells.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::process::{Azure, SIDEKEY, Staying, Told};

const STRACE: &str = "/usr/bin/strace";

#[test]
fn at_no_moment_is_the_socket_open_to_more_than_it_is_meant_to_be() {
    if !Path::new(STRACE).exists() {
        eprintln!("passed over: no {STRACE}");
        return;
    }
    for (group, before_it_is_bound) in [("", "0660"), ("group = \"64242\"\n", "0600")] {
        if !group.is_empty() && !rustix::process::geteuid().is_root() {
            eprintln!("passed over: only root gives a socket to a group that is not its own");
            return;
        }
        let azure = Azure::demo();
        let text = fs::read_to_string(azure.config()).unwrap();
        fs::write(azure.config(), text.replace("[listen]\n", &format!("[listen]\nmode = \"0660\"\n{group}"))).unwrap();
        let trace = azure.path("trace");
        let mut strace = Command::new(STRACE);
        strace
            .args(["-f", "-qq", "-e", "trace=bind,listen,fchmod,chmod,fchmodat,lchown,fchownat", "-o"])
            .arg(&trace)
            .args([SIDEKEY, "serve", "--config", &azure.config()])
            .env_clear()
            .env("XDG_RUNTIME_DIR", "/nonexistent-sidekey-test")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut serving = Staying::start(strace);
        Told::of(serving.stderr()).until("first round done");
        // strace passes no signal on.
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", serving.id())).unwrap();
        let sidecar = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(sidecar, rustix::process::Signal::TERM).unwrap();
        assert_eq!(serving.wait(), Some(0));
        let trace = fs::read_to_string(trace).unwrap();
        let lines: Vec<&str> = trace.lines().collect();
        let at =
            |what: &dyn Fn(&str) -> bool| lines.iter().position(|line| what(line)).unwrap_or_else(|| panic!("{trace}"));
        let bound = at(&|line| line.contains("bind(") && line.contains("s.sock\""));
        let descriptor = lines[bound].split("bind(").nth(1).unwrap().split(',').next().unwrap();
        let narrowed = at(&|line| line.contains(&format!("fchmod({descriptor}, {before_it_is_bound})")));
        let named = at(&|line| line.contains("chmod") && line.contains("s.sock\"") && line.contains("0660"));
        let listens = at(&|line| line.contains(&format!("listen({descriptor},")));
        assert!(narrowed < bound && bound < named && named < listens, "{trace}");
        if !group.is_empty() {
            let given = at(&|line| line.contains("chown") && line.contains("s.sock\"") && line.contains("64242"));
            assert!(bound < given && given < named, "{trace}");
        }
    }
}
