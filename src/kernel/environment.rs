use std::ffi::{CStr, c_char};
use std::io;

/// Overwrites, where the kernel put them at the start of the process, the values of all variables that `is_secret` names,
/// so that `/proc/PID/environ` shows nothing of them: a removed variable stays there. Each is empty from then on, for us
/// and for whatever we start. Tells how many there were.
///
/// # Errors
/// Nothing is overwritten if the process has more than one thread, or if that cannot be told: another thread may be
/// reading the environment.
pub fn overwrite_environment(is_secret: impl Fn(&[u8]) -> bool) -> io::Result<usize> {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("the process has several threads already"));
    }
    let mut overwritten = 0;
    // SAFETY: `environ` is the C library's own list. There is one thread, ours, so nobody writes to it or reads it
    // while we do; `is_secret` is given bytes that it cannot change, and a call of its own to the environment only reads.
    let mut entry = unsafe { environ };
    if entry.is_null() {
        return Ok(0);
    }
    loop {
        // SAFETY: the list ends with a null pointer, and we stop there; so `entry` is within it.
        let text = unsafe { *entry };
        if text.is_null() {
            return Ok(overwritten);
        }
        // SAFETY: each entry is a string that ends with NUL; nobody writes to it while `told` lives.
        let told = unsafe { CStr::from_ptr(text) }.to_bytes();
        let equals = told.iter().position(|byte| *byte == b'=');
        if let Some(equals) = equals.filter(|at| is_secret(&told[..*at])) {
            let (value, length) = (equals + 1, told.len() - equals - 1);
            for at in value..value + length {
                // SAFETY: `at` is within the string, before its NUL. The string is writable memory of this process: the
                // kernel's block on the stack, or the C library's heap if a variable was set since. The borrow `told`
                // is used no more. Volatile, so that it is not left out.
                unsafe { text.add(at).write_volatile(0) };
            }
            overwritten += 1;
        }
        // SAFETY: the entry was not the null at the end, so there is a next one.
        entry = unsafe { entry.add(1) };
    }
}
