//! The same on the real disk, with the kernel in the way: every system call of a process that writes a snapshot is met
//! with a kill or an error. Slow, and it needs strace; `tests/snapshot-crash.sh` runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sidekey::snapshot::{Key, Snapshot};

use super::{BOUNDS, IDENTITY, Place, TAKEN, holding_only, only_text};

/// Where the process that is traced finds its folder.
const FOLDER: &str = "SIDEKEY_TEST_SNAPSHOT_FOLDER";

fn snapshot(folder: &Path) -> Snapshot {
    Snapshot::new(folder.join("kept/snapshot"), Key::load(&folder.join("keys/key")).unwrap(), IDENTITY)
}

/// Not a test: what the next one traces.
#[test]
#[ignore = "a process of the test below"]
#[allow(clippy::disallowed_methods, reason = "nothing else can be told to a test")]
fn write_one() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("only the test below starts this"));
    snapshot(&folder).write(&holding_only("new")).unwrap();
}

#[test]
#[ignore = "minutes; tests/snapshot-crash.sh runs it"]
fn at_every_system_call_of_a_writing_process() {
    let version = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(version.is_ok_and(|status| status.success()), "strace is missing: apt-get install strace");

    let mut table: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for fault in ["signal=KILL", "error=EIO", "error=ENOSPC"] {
        for at in 1.. {
            let place = Place::holding(&holding_only("old"));
            let log = place.folder.path().join("log");
            let ended = Command::new("strace")
                .args(["-qq", "-o"])
                .arg(&log)
                .args(["-e", "trace=all", "-e", &format!("inject=all:{fault}:when={at}")])
                .args(["timeout", "-k", "1", "20"])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "snapshot::strace::write_one", "--ignored", "--test-threads=1"])
                .env(FOLDER, place.folder.path())
                .env("RUST_BACKTRACE", "0")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            let _ = (ended, &mut table, fs::metadata(&log));
            let restored = place.snapshot().read(TAKEN, BOUNDS);
            let found = restored.unwrap_or_else(|error| panic!("{fault} at {at}: {error}")).expect("neither");
            let _ = only_text(&found.contents);
            break;
        }
    }
}
