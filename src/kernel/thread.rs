use std::io;

/// Gives the calling thread the lowest rank, `SCHED_IDLE` of sched(7): whoever else wants its core has it at once, and it gets
/// three parts in a thousand of a core that is always wanted. That goes for the threads of its own control group, a container
/// or a unit as a rule; among groups, it counts as its group does. Without privileges, it cannot be taken back.
///
/// # Errors
/// The system's own, as where it is kept from this process.
pub fn give_way() -> io::Result<()> {
    // All that the kernel's `sched_param` holds.
    let priority: libc::c_int = 0;
    // SAFETY: the call reads one number, which lives through it; 0 is the calling thread. Not by the C library: that of musl
    // refuses it, as it could not do it for all threads at once.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const priority) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
