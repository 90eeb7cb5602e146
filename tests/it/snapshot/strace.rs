//! The same on the real disk, with the kernel in the way: every system call of a thread that writes a snapshot is met
//! with a kill or an error. Slow, and it needs strace; `tests/snapshot-crash.sh` runs it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use sidekey::snapshot::{Key, Snapshot};

use super::{BOUNDS, IDENTITY, Place, TAKEN, holding_only, only_text, put};

/// Where the process that is traced finds its folder.
const FOLDER: &str = "SIDEKEY_TEST_SNAPSHOT_FOLDER";
const THREAD: &str = "the thread that will write: ";

/// Not a test: what the next one traces. Tells its thread, waits for a word, writes, and tells how that went.
#[test]
#[ignore = "a process of the test below"]
#[allow(clippy::disallowed_methods, reason = "a test can be told nothing in any other way")]
fn write_one() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("only the test below starts this"));
    let key = Key::load(&folder.join("keys/key")).unwrap();
    let snapshot = Snapshot::new(folder.join("kept/snapshot"), key, IDENTITY);
    let contents = holding_only("new");
    let thread = fs::read_link("/proc/thread-self").unwrap();
    println!("\n{THREAD}{}", thread.file_name().unwrap().display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    snapshot.write(&contents).unwrap();
}

#[test]
#[ignore = "a minute; tests/snapshot-crash.sh runs it"]
fn at_every_system_call_of_a_writing_thread() {
    let version = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(version.is_ok_and(|status| status.success()), "strace is missing: apt-get install strace");

    let calls = calls(&traced(&Attempt::new(), None).1);
    for call in ["openat", "write", "fsync", "rename", "unlink"] {
        assert!(calls.iter().any(|(met, _)| met == call), "no {call} among {calls:?}");
    }
    for (fault, mark) in [("signal=KILL", "killed by SIGKILL"), ("error=EIO", "INJECTED"), ("error=ENOSPC", "INJECTED")]
    {
        let (mut old, mut new) = (0, 0);
        for (call, at) in &calls {
            let attempt = Attempt::new();
            let (succeeded, log) = traced(&attempt, Some(&format!("inject={call}:{fault}:when={at}")));
            assert!(log.contains(mark), "{call} {at} was not met\n{log}");
            let restored = attempt.0.snapshot().read(TAKEN, BOUNDS);
            let restored = restored.unwrap_or_else(|error| panic!("{fault} at {call} {at}: {error}\n{log}"));
            match &*only_text(&restored.unwrap_or_else(|| panic!("{fault} at {call} {at}: neither\n{log}")).contents) {
                "old" if !succeeded => old += 1,
                "new" => new += 1,
                other => panic!("{fault} at {call} {at}: {other}\n{log}"),
            }
            attempt.0.snapshot().write(&holding_only("newer")).unwrap();
            assert_eq!(attempt.0.names(), ["snapshot"]);
        }
        println!("{fault}: at {} calls: {old} times old, {new} times new, never neither", calls.len());
    }
    println!("{calls:?}");
}

/// A snapshot that holds `old`, with what a killed writer left beside it.
struct Attempt(Place);

impl Attempt {
    fn new() -> Self {
        let place = Place::holding(&holding_only("old"));
        put(&place.file().with_file_name(".snapshot.0123456789abcdef.draft"), b"left behind");
        Self(place)
    }
}

/// The calls of a write, each with its number among all of its name: from the word to go to the last file closed. What
/// comes after is the thread's end.
fn calls(log: &str) -> Vec<(String, usize)> {
    let names: Vec<&str> = log.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name).collect();
    let last = names.iter().rposition(|name| *name == "close").unwrap();
    let numbered =
        |(at, name): (usize, &&str)| ((*name).to_owned(), names[..=at].iter().filter(|met| *met == name).count());
    names[..=last].iter().enumerate().filter(|(_, name)| **name != "read").map(numbered).collect()
}

/// Has a process write, with that fault; whether it succeeded, and its thread's system calls.
fn traced(attempt: &Attempt, inject: Option<&str>) -> (bool, String) {
    let place = &attempt.0;
    let mut writer = writer(place.folder.path());
    let mut told = BufReader::new(writer.stdout.take().unwrap());
    let log = place.folder.path().join("log");
    let mut strace = Command::new("strace")
        .args(["-p", &thread(&mut told), "-o"])
        .arg(&log)
        .args(["-e", "trace=all"])
        .args(inject.iter().flat_map(|inject| ["-e", inject]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut attached = String::new();
    BufReader::new(strace.stderr.take().unwrap()).read_line(&mut attached).unwrap();
    assert!(attached.contains("attached"), "{attached}");
    writer.stdin.take().unwrap().write_all(b"go\n").unwrap();
    // To its end, or it would die of writing to nobody.
    std::io::copy(&mut told, &mut std::io::sink()).unwrap();
    let succeeded = writer.wait().unwrap().success();
    strace.wait().unwrap();
    (succeeded, fs::read_to_string(&log).unwrap())
}

fn writer(folder: &Path) -> Child {
    Command::new("timeout")
        .args(["--signal=KILL", "60"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "snapshot::strace::write_one", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn thread(told: &mut BufReader<ChildStdout>) -> String {
    let line = told.lines().map(|line| line.unwrap()).find_map(|line| line.strip_prefix(THREAD).map(str::to_owned));
    line.expect("the writer tells its thread")
}
