use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// What keeps this process's memory from others of its own user, and from a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// No other process of the same user may read its memory, its environment or its descriptors.
    pub undumpable: bool,
    /// It leaves no core file.
    pub no_core: bool,
    /// No program that it starts gets more rights than it has.
    pub no_new_privileges: bool,
}

impl Process {
    /// As it is now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            undumpable: rustix::process::dumpable_behavior().is_ok_and(|now| now == DumpableBehavior::NotDumpable),
            no_core: rustix::process::getrlimit(Resource::Core).current == Some(0),
            no_new_privileges: rustix::thread::no_new_privs().unwrap_or(false),
        }
    }
}

/// What a program is given back that is executed in this one's place.
#[derive(Debug, Clone, Copy)]
pub struct Found(Rlimit);

impl Found {
    /// The limit on core files as this process found it, for what is executed next. This process stays without one, as
    /// nobody may dump it.
    pub fn restore(&self) {
        tell("RLIMIT_CORE", rustix::process::setrlimit(Resource::Core, self.0).map_err(io::Error::from));
    }
}

/// Makes it so, but for the privileges, as far as the kernel lets: the first thing that a process does, and again after
/// whatever may undo it (a change of user, another program executed). Only the soft limit on core files is lowered, so that
/// a program that is executed in this one's place can be given its own back.
pub fn harden() -> Found {
    let found = Found(rustix::process::getrlimit(Resource::Core));
    let undumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from);
    tell("PR_SET_DUMPABLE", undumpable);
    let core = Rlimit { current: Some(0), ..found.0 };
    tell("RLIMIT_CORE", rustix::process::setrlimit(Resource::Core, core).map_err(io::Error::from));
    found
}

/// No program that this process starts gets more rights than it has, for good: the kernel takes no word back. So it is not
/// for a command that becomes somebody else's program, which may be one that `sudo` stands in.
pub fn forgo_privileges() {
    tell("PR_SET_NO_NEW_PRIVS", rustix::thread::set_no_new_privs(true).map_err(io::Error::from));
}

fn tell(what: &str, done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(what, error = %error.kind(), "refused by the kernel");
    }
}
