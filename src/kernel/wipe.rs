use std::hint::black_box;

/// Overwrites bytes that are used no more, as fast as memory can be written: `zeroize` writes them one by one, which takes
/// longer for a value than to decrypt it. The compiler must take it that somebody reads them afterwards, and so writes.
/// What they went through on their way is cleared too.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
    scrub_registers();
}

/// Overwrites the stack beneath the caller's frame, as deep as the making of a key reaches: what a call that has returned
/// left there is gone. What makes it must stand in a function that is never inlined. The registers too.
pub fn scrub_stack() {
    scrub_stack_to::<{ 8 * 1024 }>();
}

/// The same, so many bytes deep.
#[inline(never)]
pub fn scrub_stack_to<const DEPTH: usize>() {
    black_box(&mut [0_u8; DEPTH]);
    scrub_registers();
}

/// Clears this thread's vector registers, through which memory is copied and compared. A thread that has nothing more to
/// do keeps what was in them, 64 bytes of a value each, for as long as it sleeps; a core image has the registers of all
/// threads, and a signal writes them to the stack. Takes a few nanoseconds. Machines without AVX, of before 2011, keep it.
#[cfg(target_arch = "x86_64")]
pub fn scrub_registers() {
    use std::arch::asm;
    if is_x86_feature_detected!("avx") {
        // SAFETY: the machine has the instruction, as was just asked. It touches no memory and no flags, and changes the
        // registers 0 to 15 alone, all of which the compiler is told of as the C calling convention's.
        unsafe { asm!("vzeroall", clobber_abi("C"), options(nomem, nostack, preserves_flags)) };
    }
    if is_x86_feature_detected!("avx512vl") {
        // SAFETY: the machine has the instruction, as was just asked; on 128 bits, it clears the rest of the register as
        // well. No memory and no flags are touched. The registers 16 to 31 are told to the compiler where it could use them
        // at all, as the C calling convention's.
        unsafe {
            asm!(
                "vpxord xmm16, xmm16, xmm16",
                "vpxord xmm17, xmm17, xmm17",
                "vpxord xmm18, xmm18, xmm18",
                "vpxord xmm19, xmm19, xmm19",
                "vpxord xmm20, xmm20, xmm20",
                "vpxord xmm21, xmm21, xmm21",
                "vpxord xmm22, xmm22, xmm22",
                "vpxord xmm23, xmm23, xmm23",
                "vpxord xmm24, xmm24, xmm24",
                "vpxord xmm25, xmm25, xmm25",
                "vpxord xmm26, xmm26, xmm26",
                "vpxord xmm27, xmm27, xmm27",
                "vpxord xmm28, xmm28, xmm28",
                "vpxord xmm29, xmm29, xmm29",
                "vpxord xmm30, xmm30, xmm30",
                "vpxord xmm31, xmm31, xmm31",
                clobber_abi("C"),
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

/// Of other machines it is not known which registers memory goes through: what is copied next overwrites them.
#[cfg(not(target_arch = "x86_64"))]
pub fn scrub_registers() {}
