//! What is left of a head in the buffer that it was read to, when its request is gone: a token among it.
//!
//! hyper reads into the same buffer again and again, from its beginning, as long as nobody else holds a part of it and it was
//! never too small. So it is enough to wipe as much as was read since, once nothing more comes. After a buffer was filled, or
//! one that has grown was read into, hyper goes on behind the heads that lie in it, or copies them to the front of a larger
//! one: from then on nothing shows where they are.
//!
//! Must never happen: bytes wiped that somebody still reads; a buffer that is trusted again once it was full.

use tokio::io::ReadBuf;

use crate::kernel::wipe;

/// What hyper reads into at first.
pub(super) const FIRST_BUFFER: usize = 8 * 1024;

/// What may be left on one connection.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    /// Bytes that were read and not wiped.
    read: usize,
}

impl Leftover {
    /// Something was read into it. Whether it is still known where.
    pub(super) fn read(&mut self, buffer: &ReadBuf<'_>) -> bool {
        self.read = self.read.max(buffer.filled().len());
        buffer.remaining() > 0 && buffer.capacity() <= FIRST_BUFFER
    }

    /// Nothing has come. Wipes where the last head lay, if its request is gone; if it is not, this is another buffer, or further
    /// behind.
    pub(super) fn wipe(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = self.read.min(buffer.remaining());
        wipe(buffer.initialize_unfilled_to(left));
        self.read = 0;
    }
}
