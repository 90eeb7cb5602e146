use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};

/// What lines are written to. Its calls may block: they are made on a thread of their own.
pub trait Sink: Send + 'static {
    /// Writes these lines, each of which ends with a line feed. A line that follows one that was written in part begins on
    /// a line of its own.
    ///
    /// # Errors
    /// With how many of the bytes were written before.
    fn write(&mut self, lines: &[u8]) -> Result<(), Cut>;

    /// How many bytes it takes at once as a rule: a longer run of lines comes in several.
    fn at_once(&self) -> usize;
}

/// Writing ended before all was written.
#[derive(Debug)]
pub struct Cut {
    /// So many bytes were.
    pub written: usize,
    /// What the system said.
    pub error: io::Error,
}

/// Beside the log. Not through the standard library's own handle, which takes a closed stderr for one that takes all.
#[derive(Debug, Default)]
pub struct Stderr {
    torn: bool,
}

/// A pipe takes so many bytes as one, whoever else writes to it: `PIPE_BUF` of Linux.
const PIPE: usize = 4_096;

impl Sink for Stderr {
    fn write(&mut self, lines: &[u8]) -> Result<(), Cut> {
        // Its lock is left alone: who writes the log must not wait for us.
        let stderr = io::stderr();
        put(&mut self.torn, lines, |bytes| take(stderr.as_fd(), bytes))
    }

    fn at_once(&self) -> usize {
        PIPE
    }
}

/// Writes all of it; on a line of its own, if the one before was cut.
pub(super) fn put(torn: &mut bool, lines: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Result<(), Cut> {
    let mut once = |bytes: &[u8]| match write(bytes) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        outcome => outcome,
    };
    if *torn {
        once(b"\n").map_err(|error| Cut { written: 0, error })?;
        *torn = false;
    }
    let mut written = 0;
    while written < lines.len() {
        match once(&lines[written..]) {
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                *torn = written > 0 && lines[written - 1] != b'\n';
                return Err(Cut { written, error });
            }
        }
    }
    Ok(())
}

/// `write(2)`. What does not block, as a terminal or pipe that another process has set so, is waited for.
fn take(file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(file, bytes) {
            Err(rustix::io::Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::OUT)], None)?;
            }
            outcome => return Ok(outcome?),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then is full.
    fn with_room(room: &mut usize, taken: &mut Vec<u8>, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(*room).min(5);
        if some == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *room -= some;
        taken.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    #[test]
    fn a_line_after_one_that_was_cut_begins_on_a_line_of_its_own() {
        let (mut torn, mut taken) = (false, Vec::new());
        let mut room = 14;
        let cut = put(&mut torn, b"{first}\n{second}\n", |bytes| with_room(&mut room, &mut taken, bytes)).unwrap_err();
        assert_eq!((cut.written, torn), (14, true));
        put(&mut torn, b"{third}\n", |bytes| with_room(&mut room, &mut taken, bytes)).unwrap_err();
        assert!(torn, "nothing fits, not even the end of the line");
        room = 100;
        put(&mut torn, b"{fourth}\n", |bytes| with_room(&mut room, &mut taken, bytes)).unwrap();
        assert_eq!(taken, b"{first}\n{secon\n{fourth}\n");
    }

    #[test]
    fn what_was_cut_between_two_lines_is_not_torn() {
        let (mut torn, mut taken, mut room) = (false, Vec::new(), 8);
        let cut = put(&mut torn, b"{first}\n{second}\n", |bytes| with_room(&mut room, &mut taken, bytes)).unwrap_err();
        assert_eq!((cut.written, torn), (8, false));
    }
}
