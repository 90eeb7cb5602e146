/// Overwrites the stack beneath the caller's frame, as deep as the making of a key or a digest reaches: what a call that
/// has returned left there is gone. What makes it must stand in a function that is never inlined. It costs about as much
/// as a digest does.
#[inline(never)]
pub fn scrub_stack() {
    let mut cover = [0_u8; 8 * 1024];
    zeroize::Zeroize::zeroize(&mut cover[..]);
    std::hint::black_box(&cover);
}
