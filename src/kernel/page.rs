use std::fmt;
use std::io;
use std::mem::{align_of, size_of};
use std::ops::Deref;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The smallest page of all systems we run on. Larger pages hold it too.
const ROOM: usize = 4096;

/// How well a page is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// `memfd_secret`: outside of what the kernel itself maps; in no core file, no swap and no other process, root's
    /// included.
    Secret,
    /// Locked in memory and left out of core files: not swapped, but root can read it.
    Locked,
    /// Ordinary memory: the kernel granted neither.
    Ordinary,
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "memfd_secret",
            Self::Locked => "mlock",
            Self::Ordinary => "none",
        })
    }
}

/// A value in a page of its own, from its making to the end of the process. Never moved, never dropped.
pub struct Locked<T: 'static> {
    place: &'static T,
    kind: PageKind,
}

impl<T> Locked<T> {
    /// Puts the value into a page of the best kind there is. What the making left on the stack is overwritten.
    ///
    /// # Errors
    /// There is no memory at all.
    ///
    /// # Panics
    /// The type does not fit into a page: at compile time.
    pub fn new(make: impl FnOnce() -> T) -> io::Result<Self> {
        const { assert!(size_of::<T>() <= ROOM && align_of::<T>() <= ROOM, "it must fit into one page") };
        let (page, kind) = secret().map(|page| (page, PageKind::Secret)).or_else(|_| anonymous())?;
        let place = page.cast::<T>();
        put(place, make);
        scrub();
        // SAFETY: `put` has written a valid `T` there. The page is ours alone, is never unmapped and never written
        // again, so that a shared borrow may last for ever.
        Ok(Self { place: unsafe { place.as_ref() }, kind })
    }

    /// How well it is kept.
    #[must_use]
    pub fn kind(&self) -> PageKind {
        self.kind
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.place
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// In a frame of its own, which `scrub` then covers.
#[inline(never)]
fn put<T>(place: NonNull<T>, make: impl FnOnce() -> T) {
    // SAFETY: the pointer is that of a fresh page, which is writable, large enough and aligned for `T` as `Locked::new`
    // asserts, and which nobody else knows. Nothing was there before that would have to be dropped.
    unsafe { place.write(make()) };
}

/// Overwrites the stack beneath the caller's frame as deep as a key's making reaches.
#[inline(never)]
fn scrub() {
    let mut cover = [0_u8; 32 * 1024];
    zeroize::Zeroize::zeroize(&mut cover[..]);
    std::hint::black_box(&cover);
}

/// One page of secret memory. Its descriptor is closed again: root could take it over and map the page elsewhere.
fn secret() -> io::Result<NonNull<u8>> {
    // SAFETY: the call takes one flag, no pointer, and gives a new descriptor or -1.
    let made = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let Ok(made) = i32::try_from(made) else { return Err(io::ErrorKind::Unsupported.into()) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us, and nobody else owns it.
    let file = unsafe { OwnedFd::from_raw_fd(made) };
    rustix::fs::ftruncate(&file, ROOM as u64)?;
    // SAFETY: no address is asked for, so that no mapping of ours is replaced. The file is at least as long as the
    // mapping, can be made no shorter, and nobody else has it.
    let page = unsafe {
        rustix::mm::mmap(ptr::null_mut(), ROOM, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)
    }?;
    keep_out(page);
    NonNull::new(page.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn anonymous() -> io::Result<(NonNull<u8>, PageKind)> {
    // SAFETY: no address is asked for, so that no mapping of ours is replaced.
    let page = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), ROOM, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    keep_out(page);
    // SAFETY: the page was mapped just now, with this length.
    let locked = unsafe { rustix::mm::mlock(page, ROOM) };
    let kind = if locked.is_ok() { PageKind::Locked } else { PageKind::Ordinary };
    Ok((NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?, kind))
}

/// Out of core files, and out of children that are forked. Where the kernel refuses, the page is there all the same.
fn keep_out(page: *mut std::ffi::c_void) {
    for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
        // SAFETY: the page was mapped just now, with this length. Neither advice changes what it holds for this process,
        // and a forked child, which would lack it, only ever executes another program.
        let _ = unsafe { rustix::mm::madvise(page, ROOM, advice) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Locked, PageKind};

    #[test]
    fn what_is_put_into_a_locked_page_is_there() {
        let page = Locked::new(|| [7_u64; 512]).unwrap();
        assert_eq!(*page, [7; 512]);
        assert_ne!(page.kind(), PageKind::Ordinary);
    }

    /// Byte `at` of a text that stands nowhere but where it was made: it is told from memory one byte at a time.
    fn mark(at: usize) -> u8 {
        (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]
    }

    #[test]
    fn of_what_is_put_there_nothing_is_left_on_the_stack_or_elsewhere() {
        let page = Locked::new(|| std::array::from_fn::<u8, 600, _>(mark)).unwrap();
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let own = std::ptr::from_ref(&*page).addr() as u64;
        let (mut found, mut seen) = (Vec::new(), 0);
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (from, rest) = line.split_once('-').unwrap();
            let (to, _) = rest.split_once(' ').unwrap();
            let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            if std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, from).is_err() {
                continue;
            }
            seen += 1;
            // A part is enough: a key is 32 bytes of all that is made of it.
            let parts =
                [0, 100, 568].map(|start| move |window: &[u8]| (0..32).all(|at| window[at] == mark(start + at)));
            let windows = bytes.windows(32).enumerate().filter(|(_, window)| parts.iter().any(|part| part(window)));
            found.extend(windows.map(|(at, _)| from + at as u64).filter(|at| at & !0xfff != own & !0xfff));
        }
        assert!(seen > 3 && page[599] == mark(599));
        assert!(found.is_empty(), "{found:x?} of {maps}");
    }
}
