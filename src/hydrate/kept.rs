//! How a file with values in it is to be: its content, its mode and its owner.
//!
//! Must never happen: a file that is open to others before it has its owner and its mode; one that is no file opened.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

use zeroize::Zeroizing;

/// How a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Permission bits.
    pub mode: u32,
    /// User and group; `None`: ours.
    pub user: Option<u32>,
    /// See `user`.
    pub group: Option<u32>,
}

impl Kept {
    /// Fills a file that nobody else can open yet; when it is whole, it becomes as it is to be.
    pub(super) fn fill(self, mut file: &File, content: &[u8]) -> io::Result<()> {
        file.write_all(content)?;
        if self.user.is_some() || self.group.is_some() {
            fchown(file, self.user, self.group)?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.sync_all()
    }

    /// Whether a file is so already. Opened without waiting, by whoever asks.
    pub(super) fn is_so(self, file: &File, content: &[u8]) -> io::Result<bool> {
        let found = file.metadata()?;
        let owned =
            self.user.is_none_or(|user| user == found.uid()) && self.group.is_none_or(|group| group == found.gid());
        let length = content.len() as u64;
        if !found.is_file() || !owned || found.mode() & 0o7777 != self.mode || found.len() != length {
            return Ok(false);
        }
        // Of its whole size at once: what is outgrown is copied.
        let mut held = Zeroizing::new(Vec::with_capacity(content.len() + 1));
        file.take(length + 1).read_to_end(&mut held)?;
        Ok(**held == *content)
    }
}
