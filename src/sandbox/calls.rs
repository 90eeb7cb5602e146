//! Which calls to the system: seccomp, with a list of those that a server makes. Whatever is not on it fails with EPERM
//! rather than ending the process: a library that learns a new call goes on without it.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Force, Needs};

pub(super) fn confine(needs: &Needs) -> Force {
    if needs.programs {
        return Force::None("other programs are started: the Azure CLI signs in".to_owned());
    }
    match install() {
        Ok(calls) => Force::Whole(format!("seccomp: {calls} calls, and neither execve nor ptrace among them")),
        Err(error) => Force::None(format!("seccomp: {error}")),
    }
}

fn install() -> Result<usize, seccompiler::Error> {
    let rules = rules().map_err(seccompiler::Error::Backend)?;
    let calls = rules.len();
    // Threads are started by `clone3` where there is one. Its flags lie in memory, where no filter sees them; told that
    // there is none, C libraries use `clone`. Of both filters the refusal holds.
    let none = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, otherwise, matched) in
        [(clone3, SeccompAction::Allow, none), (rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)]
    {
        let program = compile(rules, otherwise, matched).map_err(seccompiler::Error::Backend)?;
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(calls)
}

fn compile(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let machine: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matched, machine)?.try_into()
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = ANY.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    // No sockets but those of the network and of this machine; netlink tells the resolver which addresses are ours.
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|family| vec![(0, family)]);
    let netlink = vec![(0, libc::AF_NETLINK), (2, libc::NETLINK_ROUTE)];
    rules.insert(libc::SYS_socket, any_of(families.into_iter().chain([netlink]))?);
    rules.insert(libc::SYS_socketpair, any_of([vec![(0, libc::AF_UNIX)]])?);
    // Of this process's own limits alone.
    rules.insert(libc::SYS_prlimit64, any_of([vec![(0, 0)]])?);
    // A thread may give way, for itself, and never the other way round.
    rules.insert(libc::SYS_sched_setscheduler, any_of([vec![(0, 0), (1, libc::SCHED_IDLE)]])?);
    let settings = [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_SET_DUMPABLE,
        libc::PR_GET_DUMPABLE,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_SET_VMA,
    ];
    rules.insert(libc::SYS_prctl, any_of(settings.map(|setting| vec![(0, setting)]))?);
    let terminal = [libc::FIONBIO, libc::FIOCLEX, libc::FIONREAD, libc::TCGETS, libc::TIOCGWINSZ];
    rules.insert(libc::SYS_ioctl, any_of(terminal.map(|asked| vec![(1, asked as c_int)]))?);
    // Threads, and no process in a world of its own.
    let worlds = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let thread = masked(worlds | libc::CLONE_THREAD, libc::CLONE_THREAD)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
    Ok(rules)
}

/// Any of these sets, each of arguments that must all be so.
fn any_of(sets: impl IntoIterator<Item = Vec<(u8, c_int)>>) -> Result<Vec<SeccompRule>, BackendError> {
    let is = |(at, value): (u8, c_int)| {
        SeccompCondition::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value.cast_unsigned()))
    };
    sets.into_iter().map(|set| SeccompRule::new(set.into_iter().map(is).collect::<Result<_, _>>()?)).collect()
}

fn masked(mask: c_int, value: c_int) -> Result<SeccompCondition, BackendError> {
    let [mask, value] = [mask, value].map(|flags| u64::from(flags.cast_unsigned()));
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

/// Whatever their arguments are.
const ANY: &[c_long] = &[
    // files
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fadvise64,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // memory
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_brk,
    libc::SYS_memfd_secret,
    // sockets
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    // waiting
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // time, chance, and who we are
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_sched_getaffinity,
    // threads and signals
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that only some machines have; their C libraries still use some of them.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_renameat,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_link,
    libc::SYS_mkdir,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_getdents,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getrlimit,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
/// `renameat`, for which the bindings of one C library have no name.
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[38];
