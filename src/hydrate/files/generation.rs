//! The folders of single generations, by their names: only what has such a name is ever removed.
//!
//! Must never happen: anything removed that a link leads to, or that lies in a folder within.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};

/// How the names of generations begin, and of the drafts of links.
const GENERATION: &str = "..sidekey-";

/// A name that no other generation has.
pub(super) fn new_name() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{GENERATION}{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Whether that is the name of a generation, or of the draft of a link: only such are ever removed.
pub(super) fn is_generation(name: &str) -> bool {
    name.strip_prefix(GENERATION)
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

/// Removes a generation, or the draft of a link: nothing else, no folder within it, and nothing that a link leads to.
pub(super) fn discard(folder: &OwnedFd, name: &str) -> io::Result<()> {
    if !is_generation(name) {
        return Ok(());
    }
    let Ok(old) = opened(folder, name) else {
        return Ok(unlinkat(folder, name, AtFlags::empty())?);
    };
    for name in names(&old)? {
        // One that cannot be removed keeps the folder, and no other file.
        let _ = unlinkat(&old, name, AtFlags::empty());
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// A folder of that name, and nothing that a link leads to.
pub(super) fn opened(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

/// What is in a folder. A name that is no text is none of ours.
pub(super) fn names(folder: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        names.extend(entry?.file_name().to_str().map(str::to_owned).ok().filter(|name| name != "." && name != ".."));
    }
    Ok(names)
}
