//! Every system call of a write, cut off or failing: the old contents or the new, never neither.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use sidekey::snapshot::{Disk, Snapshot, SystemDisk, WriteError};

use super::{BOUNDS, IDENTITY, Place, TAKEN, holding_only, only_text, put};

/// Bytes that one call to write takes: few, so that there are many calls.
const CHUNK: usize = 40;

/// What happens at the call of that number, counted from zero.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// From this call on, nothing is done any more: the process is gone.
    Killed(usize),
    /// This call fails.
    Fails(usize, Errno),
}

/// A disk that fails as it is told, and knows what a loss of power would take away.
#[derive(Debug, Clone)]
struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    fault: Fault,
    calls: usize,
    /// Files whose bytes nobody has synced, by number.
    unsynced: HashSet<u64>,
    /// Renames that are not synced: from, to, and what stood there.
    renames: Vec<(PathBuf, PathBuf, Option<Vec<u8>>)>,
}

/// What is lost with the power, beyond what no sync has promised.
#[derive(Debug, Clone, Copy)]
struct Loss {
    /// Unsynced renames are undone; else they have happened.
    renames: bool,
    /// How much of an unsynced file is left: none of it, or half.
    half: bool,
}

impl FaultyDisk {
    fn new(fault: Fault) -> Self {
        let (unsynced, renames) = (HashSet::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { fault, calls: 0, unsynced, renames })))
    }

    fn call<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        let now = state.calls;
        state.calls += 1;
        match state.fault {
            Fault::Killed(at) if now >= at => Err(io::Error::other("nobody is there to call")),
            Fault::Fails(at, errno) if now == at => Err(errno.into()),
            Fault::None | Fault::Killed(_) | Fault::Fails(..) => act(&mut state),
        }
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    fn lose_power(&self, folder: &Path, loss: Loss) {
        let mut state = self.0.lock().unwrap();
        if loss.renames {
            for (from, to, old) in state.renames.drain(..).rev() {
                fs::rename(&to, from).unwrap();
                if let Some(old) = old {
                    put(&to, &old);
                }
            }
        }
        for entry in fs::read_dir(folder).unwrap() {
            let file = OpenOptions::new().write(true).open(entry.unwrap().path()).unwrap();
            let metadata = file.metadata().unwrap();
            if state.unsynced.contains(&metadata.ino()) {
                file.set_len(if loss.half { metadata.len() / 2 } else { 0 }).unwrap();
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call(|state| {
            let file = SystemDisk.create(path)?;
            state.unsynced.insert(file.metadata()?.ino());
            Ok(file)
        })
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        self.call(|state| {
            state.unsynced.insert(file.metadata()?.ino());
            SystemDisk.write(file, &bytes[..bytes.len().min(CHUNK)])
        })
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.call(|state| {
            state.unsynced.remove(&file.metadata()?.ino());
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|state| {
            let old = fs::read(to).ok();
            SystemDisk.rename(from, to)?;
            state.renames.push((from.to_owned(), to.to_owned(), old));
            Ok(())
        })
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.call(|state| {
            state.renames.clear();
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|_| SystemDisk.remove(path))
    }
}

/// A snapshot that holds `old`, with what a killed writer left beside it, and the attempt to write `new` over it.
struct Attempt {
    place: Place,
    disk: FaultyDisk,
    outcome: Result<usize, WriteError>,
}

impl Attempt {
    fn new(fault: Fault) -> Self {
        let place = Place::holding(&holding_only("old"));
        put(&place.file().with_file_name(".snapshot.0123456789abcdef.draft"), b"left behind");
        let disk = FaultyDisk::new(fault);
        let snapshot = Snapshot::on(disk.clone(), place.file(), place.key(), IDENTITY);
        let outcome = snapshot.write(&holding_only("new"));
        Self { place, disk, outcome }
    }

    /// Reads it as the next start would.
    fn found(&self) -> String {
        only_text(&self.place.snapshot().read(TAKEN, BOUNDS).unwrap().expect("there is neither").contents)
    }

    /// The next write succeeds, and clears away.
    fn mends(&self) {
        self.place.snapshot().write(&holding_only("newer")).unwrap();
        assert_eq!((self.found(), self.place.names()), ("newer".to_owned(), vec!["snapshot".to_owned()]));
    }
}

fn calls_of_a_write() -> usize {
    let whole = Attempt::new(Fault::None);
    assert!(whole.outcome.is_ok());
    let calls = whole.disk.calls();
    // The sweep's removal, the draft, its chunks, its sync, the rename, the folder's sync.
    assert!(calls >= 5 + 3, "{calls} calls: the disk is passed by");
    calls
}

#[test]
fn a_writer_killed_at_any_call_leaves_the_old_file_or_the_new() {
    let calls = calls_of_a_write();
    let mut found = Vec::new();
    for at in 0..=calls {
        let attempt = Attempt::new(Fault::Killed(at));
        found.push(attempt.found());
        attempt.mends();
    }
    let news = found.iter().filter(|text| *text == "new").count();
    assert_eq!(news, 2, "killed before the folder's sync, and not at all: {found:?}");
    assert!(found.iter().all(|text| text == "old" || text == "new"), "{found:?}");
}

#[test]
fn a_loss_of_power_at_any_call_leaves_the_old_file_or_the_new_and_never_takes_back_a_write() {
    let calls = calls_of_a_write();
    for at in 0..=calls {
        for (renames, half) in [(false, false), (false, true), (true, false), (true, true)] {
            let attempt = Attempt::new(Fault::Killed(at));
            attempt.disk.lose_power(attempt.place.file().parent().unwrap(), Loss { renames, half });
            let found = attempt.found();
            if attempt.outcome.is_ok() {
                assert_eq!(found, "new", "it was said to be written; call {at}");
            }
            assert!(found == "old" || found == "new", "{found:?} at call {at}");
            attempt.mends();
        }
    }
}

#[test]
fn an_error_at_any_call_is_told_by_what_to_do_and_leaves_the_old_file_and_no_draft() {
    let calls = calls_of_a_write();
    for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::ACCESS] {
        for at in 0..calls {
            let attempt = Attempt::new(Fault::Fails(at, errno));
            let names = attempt.place.names();
            match (at, attempt.outcome.as_ref()) {
                // What was left behind stays once more.
                (0, outcome) => {
                    assert!(outcome.is_ok(), "{outcome:?}");
                    assert_eq!(attempt.found(), "new");
                    assert_eq!(names, [".snapshot.0123456789abcdef.draft", "snapshot"]);
                }
                (_, Ok(_)) => panic!("{errno} at call {at} is not told"),
                (at, Err(error)) => {
                    let told = match error {
                        WriteError::NoRoom { .. } => [Errno::NOSPC, Errno::DQUOT].contains(&errno),
                        WriteError::NotAllowed { .. } => [Errno::ROFS, Errno::ACCESS].contains(&errno),
                        WriteError::Io { .. } => errno == Errno::IO,
                        WriteError::TooLarge { .. } | WriteError::NoRandom => false,
                    };
                    assert!(told, "{errno} at call {at}: {error}");
                    assert_eq!(attempt.found(), if at == calls - 1 { "new" } else { "old" }, "call {at}: {error}");
                    assert_eq!(names, ["snapshot"], "call {at}: {error}");
                }
            }
            attempt.mends();
        }
    }
}

#[test]
fn a_write_that_is_interrupted_goes_on() {
    for at in 2..5 {
        let attempt = Attempt::new(Fault::Fails(at, Errno::INTR));
        assert!(attempt.outcome.is_ok(), "{:?}", attempt.outcome);
        assert_eq!(attempt.found(), "new");
    }
}
