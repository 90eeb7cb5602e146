//! What somebody could still do who runs code of their own in the sidecar: the same sandbox, put up in a process that then
//! tries.
#![allow(unsafe_code, reason = "ptrace has no safe face, and that it fails is to be shown")]

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use sidekey::sandbox::{Force, Mode, Needs, confine};

use crate::cli::process::{Azure, sidekey};

/// Runs one of the tests below, which are no tests by themselves, in a process of its own: a sandbox is for good.
fn process(test: &str, arguments: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("sandbox::{test}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .envs(arguments.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn told(name: &str) -> Option<String> {
    std::env::vars().find_map(|(key, value)| (key == name).then_some(value))
}

#[test]
fn code_that_runs_in_the_sidecar_reaches_nothing_that_the_sidecar_does_not_need() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ours", "theirs"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("file"), "content").unwrap();
    }
    // A service of somebody else's, that only a sandbox keeps apart.
    let (allowed, refused) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let name = format!("sidekey-test-{}", std::process::id());
    let _theirs = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let ports = [allowed, refused].map(|listener| (listener.local_addr().unwrap().port().to_string(), listener));
    let text = process(
        "tries_all_of_it",
        &[
            ("FOLDER", folder.path().to_str().unwrap()),
            ("ALLOWED", &ports[0].0),
            ("REFUSED", &ports[1].0),
            ("ABSTRACT", &name),
        ],
    );
    assert!(text.contains("all of it tried"), "{text}");
    assert!(!folder.path().join("theirs/new").exists() && folder.path().join("ours/new").exists());
}

#[test]
#[ignore = "a process of the test above"]
fn tries_all_of_it() {
    let Some(folder) = told("FOLDER") else { return };
    let folder = Path::new(&folder);
    let [allowed, refused] = ["ALLOWED", "REFUSED"].map(|name| told(name).unwrap().parse::<u16>().unwrap());
    let service = SocketAddr::from_abstract_name(told("ABSTRACT").unwrap()).unwrap();
    assert!(UnixStream::connect_addr(&service).is_ok() && TcpStream::connect(("127.0.0.1", refused)).is_ok());
    let needs = Needs {
        read: ["/proc/self".into()].into(),
        write: [folder.join("ours")].into(),
        connect: [allowed].into(),
        ..Needs::default()
    };
    let report = confine(&needs, Mode::Required).unwrap();
    assert!(report.is_whole() && !report.is_off(), "{report:?}");

    let is_denied = |outcome: std::io::Result<()>, what: &str| {
        let error = outcome.err().unwrap_or_else(|| panic!("{what} works"));
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{what}: {error}");
    };
    // What is needed works.
    fs::write(folder.join("ours/new"), "x").unwrap();
    fs::rename(folder.join("ours/file"), folder.join("ours/other")).unwrap();
    drop(UnixListener::bind(folder.join("ours/socket")).unwrap());
    TcpStream::connect(("127.0.0.1", allowed)).unwrap();
    std::thread::spawn(|| UdpSocket::bind("127.0.0.1:0").unwrap()).join().unwrap();
    assert!(fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t1"));

    // Files of others, whoever we are.
    for path in ["/etc/shadow", "/etc/passwd", "/root", "/proc/1/environ"] {
        is_denied(fs::File::open(path).map(drop), path);
    }
    is_denied(fs::read(folder.join("theirs/file")).map(drop), "reading another folder");
    is_denied(fs::write(folder.join("theirs/new"), "x"), "writing to another folder");
    is_denied(fs::rename(folder.join("ours/other"), folder.join("theirs/other")), "moving a file out");
    // The network: no other port, none of ours, no other family, no service of this machine.
    is_denied(TcpStream::connect(("127.0.0.1", refused)).map(drop), "connecting to another port");
    is_denied(TcpStream::connect(("127.0.0.1", 80)).map(drop), "connecting to port 80");
    is_denied(TcpListener::bind("127.0.0.1:0").map(drop), "listening");
    is_denied(UnixStream::connect_addr(&service).map(drop), "reaching an abstract socket");
    for family in [rustix::net::AddressFamily::PACKET, rustix::net::AddressFamily::VSOCK] {
        let made = rustix::net::socket(family, rustix::net::SocketType::DGRAM, None);
        is_denied(made.map(drop).map_err(Into::into), "another kind of socket");
    }
    let audit = Some(rustix::net::netlink::AUDIT);
    let made = rustix::net::socket(rustix::net::AddressFamily::NETLINK, rustix::net::SocketType::RAW, audit);
    is_denied(made.map(drop).map_err(Into::into), "netlink to another part of the kernel");
    // Other programs and processes.
    is_denied(Command::new("/bin/true").spawn().map(drop), "starting a program");
    is_denied(Err(Command::new("/bin/true").exec()), "becoming another program");
    // SAFETY: the call has no pointer, and asks only that our parent may trace us.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    is_denied(if traced == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }, "ptrace");
    let parent = rustix::process::getppid().unwrap();
    let signal = rustix::process::kill_process(parent, rustix::process::Signal::CONT);
    is_denied(signal.map_err(Into::into), "a signal to another process");
    let opened = rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty());
    is_denied(opened.map(drop).map_err(Into::into), "a handle on another process");
    is_denied(rustix::process::chroot(folder).map_err(Into::into), "another root");
    println!("all of it tried");
}

/// As on a kernel that does not have these calls.
fn without_calls(calls: &[i64]) {
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, machine).unwrap();
    seccompiler::apply_filter_all_threads(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

const LANDLOCK: [i64; 3] =
    [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

#[test]
fn without_landlock_system_calls_are_refused_all_the_same() {
    let text = process("tries_calls_alone", &[("TRY", "1")]);
    assert!(text.contains("calls tried"), "{text}");
}

#[test]
#[ignore = "a process of the test above"]
fn tries_calls_alone() {
    if told("TRY").is_none() {
        return;
    }
    without_calls(&LANDLOCK);
    let report = confine(&Needs::default(), Mode::Auto).unwrap();
    assert!(matches!(report.files, Force::None(_)), "{report:?}");
    assert!(matches!(report.calls, Force::Whole(_)) && !report.is_off() && !report.is_whole(), "{report:?}");
    // What only Landlock keeps from it is there, so that what follows is the work of seccomp alone.
    assert!(fs::read("/etc/passwd").is_ok() && TcpListener::bind("127.0.0.1:0").is_ok());
    let is_refused = |outcome: std::io::Result<()>, what: &str| {
        let error = outcome.err().unwrap_or_else(|| panic!("{what} works"));
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{what}: {error}");
    };
    is_refused(Command::new("/bin/true").spawn().map(drop), "starting a program");
    is_refused(Err(Command::new("/bin/true").exec()), "becoming another program");
    // SAFETY: the call has no pointer, and asks only that our parent may trace us.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    is_refused(if traced == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }, "ptrace");
    let parent = rustix::process::getppid().unwrap();
    is_refused(rustix::process::test_kill_process(parent).map_err(Into::into), "a signal to another process");
    let opened = rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty());
    is_refused(opened.map(drop).map_err(Into::into), "a handle on another process");
    is_refused(rustix::process::chroot("/").map_err(Into::into), "another root");
    for family in [rustix::net::AddressFamily::PACKET, rustix::net::AddressFamily::VSOCK] {
        let made = rustix::net::socket(family, rustix::net::SocketType::DGRAM, None);
        is_refused(made.map(drop).map_err(Into::into), "another kind of socket");
    }
    let others = rustix::process::prlimit(Some(parent), rustix::process::Resource::Nofile, limit());
    is_refused(others.map(drop).map_err(Into::into), "another process's limits");
    // A server's own work goes on.
    std::thread::spawn(|| UdpSocket::bind("127.0.0.1:0").unwrap()).join().unwrap();
    assert!(confine(&Needs::default(), Mode::Required).is_err(), "not all of it can be had");
    println!("calls tried");
}

fn limit() -> rustix::process::Rlimit {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
}

#[test]
fn without_seccomp_files_and_ports_are_refused_all_the_same() {
    let text = process("tries_files_alone", &[("TRY", "1")]);
    assert!(text.contains("files tried"), "{text}");
}

#[test]
#[ignore = "a process of the test above"]
fn tries_files_alone() {
    if told("TRY").is_none() {
        return;
    }
    without_calls(&[libc::SYS_seccomp]);
    let folder = tempfile::tempdir().unwrap();
    let report = confine(&Needs { write: [folder.path().into()].into(), ..Needs::default() }, Mode::Auto).unwrap();
    assert!(matches!(report.calls, Force::None(_)), "{report:?}");
    assert!(matches!(report.files, Force::Whole(_)) && !report.is_off() && !report.is_whole(), "{report:?}");
    // What only seccomp keeps from it is there.
    let parent = rustix::process::getppid().unwrap();
    rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty()).unwrap();
    let is_denied = |outcome: std::io::Result<()>, what: &str| {
        let error = outcome.err().unwrap_or_else(|| panic!("{what} works"));
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{what}: {error}");
    };
    fs::write(folder.path().join("new"), "x").unwrap();
    for path in ["/etc/shadow", "/etc/passwd", "/proc/1/environ"] {
        is_denied(fs::File::open(path).map(drop), path);
    }
    is_denied(fs::write("/tmp/sidekey-not-ours", "x"), "writing elsewhere");
    is_denied(TcpStream::connect(("127.0.0.1", 80)).map(drop), "connecting to port 80");
    is_denied(TcpListener::bind("127.0.0.1:0").map(drop), "listening");
    is_denied(Command::new("/bin/true").spawn().map(drop), "starting a program");
    let signal = rustix::process::kill_process(parent, rustix::process::Signal::CONT);
    is_denied(signal.map_err(Into::into), "a signal to another process");
    assert!(confine(&Needs::default(), Mode::Required).is_err(), "not all of it can be had");
    println!("files tried");
}

#[test]
fn where_programs_are_started_they_can_be_and_the_report_says_so() {
    process("starts_a_program", &[("TRY", "1")]);
}

#[test]
#[ignore = "a process of the test above"]
fn starts_a_program() {
    if told("TRY").is_none() {
        return;
    }
    let needs = Needs { programs: true, ..Needs::default() };
    let report = confine(&needs, Mode::Auto).unwrap();
    assert!(!report.is_whole() && !report.is_off(), "{report:?}");
    assert!(Command::new("/bin/true").status().unwrap().success());
    let refused = TcpStream::connect(("127.0.0.1", 80)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "ports are for programs too");
    assert!(confine(&needs, Mode::Required).is_err(), "not all of it can be had");
}

#[test]
fn what_is_switched_off_changes_nothing() {
    let report = confine(&Needs::default(), Mode::Off).unwrap();
    assert!(report.is_off());
    TcpListener::bind("127.0.0.1:0").unwrap();
}

#[test]
fn a_sidecar_is_shut_in_and_says_so_and_a_reload_that_needs_more_is_refused() {
    let azure = Azure::demo();
    azure.configure("[sandbox]\nmode = \"required\"");
    let (serving, told) = azure.begin("serve");
    told.until("first round done");
    let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", serving.pid())).unwrap();
    let mut ranks = Vec::new();
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
        if status.starts_with("Name:\taside\n") {
            // Behind the name in brackets, the 39th is the policy.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap();
            ranks.push(stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).map(str::to_owned));
        }
    }
    assert!(!ranks.is_empty() && ranks.iter().all(|rank| *rank == Some(libc::SCHED_IDLE.to_string())), "{ranks:?}");
    assert!(status.contains("Seccomp_filters:\t2"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", serving.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");

    azure.configure_source("", "vaults = [\"https://other.vault.azure.net:8443\"]");
    serving.signal(rustix::process::Signal::HUP);
    let refused = told.until("stays in force");
    assert!(refused.contains("a restart: connecting to port 8443"), "{refused}");
    azure.configure("[sandbox]\nmode = \"off\"");
    serving.signal(rustix::process::Signal::HUP);
    let taken = told.until("the new configuration is in force");
    assert!(taken.contains("needs a restart to take effect") && taken.contains("sandbox"), "{taken}");
    assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
}

#[test]
fn doctor_tells_what_is_in_force_and_what_was_switched_off() {
    let azure = Azure::demo();
    let config = azure.config();
    let told = sidekey(["doctor", "--config", &config]);
    for part in [
        "memory: closed to other processes",
        "core files: off",
        "key of values held: in a page",
        "environment: shows no secret",
        "new privileges: none",
        "sandbox, files and ports: enforced: Landlock ABI",
        "sandbox, system calls: enforced: seccomp",
    ] {
        assert!(told.text().contains(part), "{part}: {}", told.text());
    }
    azure.configure("[sandbox]\nmode = \"off\"");
    let told = sidekey(["doctor", "--config", &config]);
    assert!(told.text().contains("NOT GOOD: NOT enforced: switched off by sandbox.mode"), "{}", told.text());
    azure.configure("[sandbox]\nmode = \"strict\"");
    assert!(sidekey(["check", "--config", &config]).err.contains("sandbox.mode: expected \"auto\""));
}
