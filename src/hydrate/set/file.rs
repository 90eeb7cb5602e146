//! Files that tell variables, as hostile as files can be: endless, silent, or none at all.
//!
//! Must never happen: a wait without end, a buffer without bound, a byte of the file in an error.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// More than the kernel lets a program have as its environment, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long a pipe may take to its end: whoever writes to it may have to ask a server first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a file cannot be read. Never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A folder or the like.
    #[error("is no file")]
    NoFile,
    /// No environment is as large.
    #[error("is larger than 8 MiB, which no environment can be")]
    Large,
    /// A pipe through which nothing comes, or ever more.
    #[error("is a pipe, and it has not ended within {} s", .0.as_secs())]
    Endless(Duration),
    /// What no variable can hold.
    #[error("line {0}: holds a NUL byte, which no variable can")]
    Nul(usize),
    /// Another encoding, or no text.
    #[error("line {0}: is not UTF-8")]
    NotText(usize),
    /// The system's own.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
}

/// The text of a file, or of what is written to a pipe until it is closed, such as `/dev/stdin` or a shell's `<(…)`. It waits
/// in this thread.
///
/// # Errors
/// [`Unreadable`], also where a text would be too large to be an environment, or does not come.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Unreadable> {
    within(path, PATIENCE)
}

fn within(path: &Path, patience: Duration) -> Result<Zeroizing<String>, Unreadable> {
    let system = |error: rustix::io::Errno| Unreadable::Io(error.into());
    // Without waiting: to open a named pipe that nobody writes to would never end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(system)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).map_err(system)?.st_mode);
    let bytes = match kind {
        FileType::Directory | FileType::BlockDevice => return Err(Unreadable::NoFile),
        FileType::RegularFile
        | FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::Unknown => all(file, kind == FileType::Fifo, patience)?,
    };
    text(bytes)
}

fn all(file: OwnedFd, pipe: bool, patience: Duration) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let (mut file, deadline) = (File::from(file), Deadline { patience, end: Instant::now() + patience });
    let mut whole = Zeroizing::new(Vec::new());
    loop {
        let mut chunk = Zeroizing::new([0; 64 * 1024]);
        match file.read(&mut *chunk) {
            Ok(0) if !pipe => return Ok(whole),
            // The end of a pipe is only one if a writer has been there, and went without a last word.
            Ok(0) => match ready(&file, Duration::ZERO)? {
                nothing if nothing.is_empty() => deadline.wait(&file)?,
                some if some.contains(PollFlags::IN) => {}
                _gone => return Ok(whole),
            },
            Ok(length) if whole.len() + length > LARGEST => return Err(Unreadable::Large),
            Ok(length) => whole.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => deadline.wait(&file)?,
            Err(error) => return Err(Unreadable::Io(error)),
        }
    }
}

/// One for the whole, so that what comes drop by drop has an end too.
struct Deadline {
    patience: Duration,
    end: Instant,
}

impl Deadline {
    fn wait(&self, file: &File) -> Result<(), Unreadable> {
        let left = self.end.saturating_duration_since(Instant::now());
        if ready(file, left)?.is_empty() || Instant::now() > self.end {
            return Err(Unreadable::Endless(self.patience));
        }
        Ok(())
    }
}

fn ready(file: &File, patience: Duration) -> Result<PollFlags, Unreadable> {
    let mut polled = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
    let patience =
        Timespec { tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: patience.subsec_nanos().into() };
    loop {
        match poll(&mut polled, Some(&patience)) {
            Ok(_) => return Ok(polled[0].revents()),
            // A signal that does not end us: waits anew.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Unreadable::Io(error.into())),
        }
    }
}

fn text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Unreadable> {
    let line = |at: usize, bytes: &[u8]| bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    if let Err(wrong) = std::str::from_utf8(&bytes) {
        return Err(Unreadable::NotText(line(wrong.valid_up_to(), &bytes)));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Unreadable::Nul(line(at, &bytes)));
    }
    let text = String::from_utf8(std::mem::take(&mut bytes));
    Ok(Zeroizing::new(text.expect("what was found to be UTF-8 is")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn told(path: &Path) -> String {
        within(path, Duration::ZERO).expect_err("it cannot be read").to_string()
    }

    #[test]
    fn a_file_that_is_none_of_text_is_told_and_never_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        assert!(told(&path).starts_with("cannot be read: "));
        assert_eq!(told(folder.path()), "is no file");
        fs::write(&path, b"A=1\nB=hunter2\0\n").unwrap();
        assert_eq!(told(&path), "line 2: holds a NUL byte, which no variable can");
        fs::write(&path, b"A=1\nB=1\nC=hunter2\xff\n").unwrap();
        assert_eq!(told(&path), "line 3: is not UTF-8");
        fs::write(&path, b"\xff\xfeA\0=\0").unwrap();
        assert_eq!(told(&path), "line 1: is not UTF-8");
        fs::write(&path, "A=é\n").unwrap();
        assert_eq!(*read(&path).unwrap(), "A=é\n");
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        assert_eq!(told(&path), "is larger than 8 MiB, which no environment can be");
        assert_eq!(told(Path::new("/dev/zero")), "is larger than 8 MiB, which no environment can be");
        assert_eq!(*read(Path::new("/dev/null")).unwrap(), "");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_one_that_is_silent_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(told(&path), "is a pipe, and it has not ended within 0 s");
        // A writer that is there, and says nothing.
        let writer = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(told(&path), "is a pipe, and it has not ended within 0 s");
        // One whose last word never comes.
        io::Write::write_all(&mut &writer, b"A=1\n").unwrap();
        assert_eq!(told(&path), "is a pipe, and it has not ended within 0 s");
        drop(writer);
        let large = "A=1\n".repeat(100_000);
        let reading = std::thread::spawn({
            let path = path.clone();
            move || read(&path)
        });
        // Opens once somebody reads.
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .map(|mut file| {
                io::Write::write_all(&mut file, large.as_bytes()).unwrap();
            })
            .unwrap();
        assert_eq!(*reading.join().unwrap().unwrap(), large);
    }

    #[test]
    fn what_comes_drop_by_drop_has_an_end_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // Each drop as soon as the one before is gone, until that is enough.
        let held = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut drops = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let (done, stop) = std::sync::mpsc::channel::<()>();
        let dripping = std::thread::spawn(move || {
            while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                if rustix::io::ioctl_fionread(&drops).unwrap() == 0 {
                    io::Write::write_all(&mut drops, b"A").unwrap();
                }
            }
        });
        let told = within(&path, Duration::from_millis(50)).expect_err("it has no end").to_string();
        drop(done);
        dripping.join().unwrap();
        drop(held);
        assert_eq!(told, "is a pipe, and it has not ended within 0 s");
    }
}
