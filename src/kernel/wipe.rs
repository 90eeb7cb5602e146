use std::hint::black_box;

/// Overwrites bytes that are used no more, as fast as memory can be written: `zeroize` writes them one by one, which takes
/// longer for a value than to decrypt it. The compiler must take it that somebody reads them afterwards, and so writes.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

/// Overwrites the stack beneath the caller's frame, as deep as the making of a key or a digest reaches: what a call that
/// has returned left there is gone. What makes it must stand in a function that is never inlined.
#[inline(never)]
pub fn scrub_stack() {
    black_box(&mut [0_u8; 8 * 1024]);
}
