//! The audit of the built binary: where its lines are, and what it does where they cannot be written.
use std::fs::{self, File, OpenOptions};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, Signal};
use serde_json::Value;

use super::process::{Azure, Run, SIDEKEY, Staying, command, mode};
use super::relay::Load;
use crate::audit::lines;

const VALUE: &str = "Autumn-2026-staple";
const GET: &str = "get pay-prod db-password";

fn configured(audit: &str) -> Azure {
    let azure = Azure::demo();
    azure.configure(&format!("[audit]\n{audit}"));
    azure
}

fn told(azure: &Azure, file: &str) -> Vec<Value> {
    lines(&fs::read(azure.path(file)).unwrap())
}

/// Lines in a file that is being written.
fn so_far(azure: &Azure, file: &str) -> usize {
    fs::read(azure.path(file)).unwrap().iter().filter(|byte| **byte == b'\n').count()
}

/// Asks until the sidecar listens and knows its vaults.
fn asked(azure: &Azure, line: &str) -> Run {
    loop {
        let run = azure.ask(line);
        if !["cannot be reached", "still being discovered"].iter().any(|not| run.err.contains(not)) {
            return run;
        }
    }
}

#[test]
fn what_was_read_until_it_was_told_to_stop_is_in_the_file() {
    for required in [false, true] {
        let azure = configured(&format!("file = \"audit.log\"\nrequired = {required}\n"));
        let (mut serving, _) = azure.serve("");
        let load = Load::on(&azure.socket(), "pay-prod", "db-password", VALUE);
        assert_eq!(azure.ask("get pay-prod absent").code, 1);
        assert_eq!(azure.ask("search redis").code, 0);
        while so_far(&azure, "audit.log") < 100 {
            std::thread::yield_now();
        }
        let figures = load.end();
        assert_eq!(azure.ask(GET).text(), VALUE);
        assert_eq!(serving.stop(), Some(0));
        let lines = told(&azure, "audit.log");
        let of = |operation: &str, outcome: &str| {
            lines.iter().filter(|line| line["operation"] == operation && line["outcome"] == outcome).count() as u64
        };
        assert!(of("read", "ok") > figures.reads, "{} of {figures:?}", of("read", "ok"));
        assert_eq!((of("read", "secret-not-found"), of("search", "ok")), (1, 1));
        let last = lines.last().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(
            (&last["uid"], &last["vault"], &last["name"]),
            (&uid.into(), &"pay-prod".into(), &"db-password".into())
        );
        assert_eq!(mode(&azure.path("audit.log")), 0o600);
        assert!(!fs::read_to_string(azure.path("audit.log")).unwrap().contains(VALUE));
    }
}

#[test]
fn a_command_that_signs_in_by_itself_is_recorded_as_well() {
    let azure = configured("file = \"audit.log\"\n");
    assert_eq!(azure.direct(GET).text(), VALUE);
    let lines = told(&azure, "audit.log");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["caller"], &lines[0]["name"]), (&"in-process".into(), &"db-password".into()));
    fs::set_permissions(azure.path("audit.log"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let run = azure.direct(GET);
    assert_eq!((run.code, run.text(), run.err.contains("chmod 0600")), (78, "", true), "{}", run.err);
}

#[test]
fn a_file_that_may_not_grow_is_met_as_a_full_disk_is_and_does_not_end_the_process() {
    let azure = configured("file = \"audit.log\"\nrequired = true\n");
    let (mut serving, _) = azure.serve("");
    assert_eq!(azure.ask(GET).text(), VALUE);
    let pid = rustix::process::Pid::from_raw(serving.id().cast_signed());
    let limit = |current| {
        let limit = Rlimit { current, maximum: None };
        rustix::process::prlimit(pid, Resource::Fsize, limit).unwrap();
    };
    limit(Some(fs::metadata(azure.path("audit.log")).unwrap().len() + 10));
    for _ in 0..3 {
        let run = azure.ask(GET);
        assert_eq!((run.code, run.text()), (69, ""), "{}", run.err);
        assert!(run.err.contains("the read cannot be recorded"), "{}", run.err);
    }
    limit(None);
    assert_eq!(azure.ask(GET).text(), VALUE);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn a_reload_turns_to_another_file_and_loses_no_line() {
    let azure = configured("file = \"one.log\"\n");
    let (mut serving, log) = azure.begin("serve");
    log.until("first round done");
    let load = Load::on(&azure.socket(), "pay-prod", "db-password", VALUE);
    azure.configure("[audit]\nfile = \"two.log\"\nrequired = true\n");
    serving.signal(Signal::HUP);
    log.until("is in force");
    azure.configure("[audit]\nfile = \"nowhere\"\nmax_size = \"soon\"\n");
    serving.signal(Signal::HUP);
    log.until("stays in force");
    while so_far(&azure, "two.log") < 100 {
        std::thread::yield_now();
    }
    let figures = load.end();
    assert!(figures.failed.is_empty(), "{figures:?}");
    assert_eq!(serving.stop(), Some(0));
    let (one, two) = (told(&azure, "one.log").len(), told(&azure, "two.log").len());
    assert!(one > 0 && (one + two) as u64 >= figures.reads, "{one} and {two} of {figures:?}");
    assert!(!azure.path("nowhere").exists());
}

/// The sidecar with that stderr, which takes nothing.
fn with_stderr(azure: &Azure, stderr: impl Into<Stdio>) -> Staying {
    let mut command = command(["serve", "--config", &azure.config()]);
    command.stderr(stderr);
    Staying::start(command)
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn closed() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

#[test]
fn where_it_is_required_and_stderr_is_full_or_closed_reads_are_refused() {
    for stderr in [full(), closed()] {
        let azure = configured("file = \"stderr\"\nrequired = true\n");
        let mut serving = with_stderr(&azure, stderr);
        let run = asked(&azure, GET);
        assert_eq!((run.code, run.text()), (69, ""), "{}", run.err);
        assert!(run.err.contains("the read cannot be recorded"), "{}", run.err);
        assert!(azure.ask("search redis").err.contains("cannot be recorded"));
        assert_eq!(azure.ask("wait").code, 0, "whoever asks for no secret is answered");
        assert_eq!(serving.stop(), Some(0));
    }
}

#[test]
fn where_it_is_not_required_and_stderr_is_full_or_closed_reads_go_on() {
    for stderr in [full(), closed()] {
        let azure = configured("file = \"stderr\"\n");
        let mut serving = with_stderr(&azure, stderr);
        let run = asked(&azure, GET);
        assert_eq!((run.code, run.text()), (0, VALUE), "{}", run.err);
        for _ in 0..5 {
            assert_eq!(azure.ask(GET).text(), VALUE);
        }
        assert_eq!(serving.stop(), Some(0));
    }
}

#[test]
fn on_stderr_its_lines_stand_beside_the_log() {
    let azure = configured("file = \"stderr\"\nrequired = true\n");
    let (mut serving, log) = azure.begin("serve");
    log.until("first round done");
    assert_eq!(azure.ask(GET).text(), VALUE);
    let line = log.until("\"operation\":\"read\"");
    let line: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    assert_eq!(line["name"], "db-password");
    assert_eq!(serving.stop(), Some(0));
}

/// A disk of 16 KiB that only the sidecar sees; `None` where this machine does not allow that.
fn on_a_small_disk(azure: &Azure) -> Option<Staying> {
    let disk = azure.path("disk");
    fs::create_dir(&disk).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["--mount", "sh", "-c"]);
    let allowed =
        unshare.arg("mount -t tmpfs -o size=16k,mode=0700 sidekey \"$0\"").arg(&disk).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut unshare = Command::new("unshare");
    unshare.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["--mount", "sh", "-c"]);
    let script =
        "mount -t tmpfs -o size=16k,mode=0700 sidekey \"$0\" && head -c 8192 /dev/zero > \"$0/filler\" && exec \"$@\"";
    unshare.arg(script).arg(&disk).args([SIDEKEY, "serve", "--config", &azure.config()]);
    unshare.stderr(File::create(azure.path("log")).unwrap());
    Some(Staying::start(unshare))
}

#[test]
fn a_full_disk_is_met_as_configured_and_once_there_is_room_a_line_tells_of_the_gap() {
    for required in [true, false] {
        let azure = configured(&format!("file = \"disk/audit.log\"\nrequired = {required}\n"));
        let Some(mut serving) = on_a_small_disk(&azure) else {
            println!("not tried: this machine does not let us mount");
            return;
        };
        assert_eq!(asked(&azure, GET).text(), VALUE);
        // As the sidecar sees it.
        let disk = format!("/proc/{}/root{}", serving.id(), azure.path("disk").display());
        let text = || fs::read_to_string(format!("{disk}/audit.log")).unwrap();
        let (mut refused, mut before) = (0, 0);
        while refused < 3 {
            let run = azure.ask(GET);
            if required {
                let is_recorded = text().ends_with('\n') && lines(text().as_bytes()).len() > before;
                assert_eq!(run.code == 0, is_recorded, "answered and recorded are one: {}", run.err);
                before += usize::from(run.code == 0);
                refused += usize::from(run.code == 69 && run.err.contains("cannot be recorded"));
                before = before.max(text().matches('\n').count());
            } else {
                assert_eq!(run.text(), VALUE, "{}", run.err);
                refused += usize::from(text().len() == 8192);
            }
        }
        fs::remove_file(format!("{disk}/filler")).unwrap();
        assert_eq!(azure.ask(GET).text(), VALUE);
        let pid = serving.id();
        assert_eq!(azure.ask("get pay-prod absent").code, 1);
        if !required {
            // Its line may still be in the queue; the next reader's is behind it.
            while !text().contains("absent") {
                std::thread::yield_now();
            }
        }
        let text = text();
        let broken: Vec<_> = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
        assert!(broken.len() <= 1, "at most the one that was cut: {broken:?}");
        let gaps: Vec<_> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["gap"].is_object())
            .collect();
        assert_eq!((gaps.len(), &gaps[0]["gap"]["answered"]), (1, &Value::from(!required)), "{gaps:?}");
        assert!(gaps[0]["gap"]["lines"].as_u64().unwrap() >= 2, "{gaps:?}");
        assert_eq!(serving.id(), pid);
        assert_eq!(serving.stop(), Some(0));
        let log = fs::read_to_string(azure.path("log")).unwrap();
        assert_eq!(log.matches("the audit cannot be written").count(), 1, "{log}");
        assert_eq!(log.matches("the audit is written again").count(), 1, "{log}");
    }
}
