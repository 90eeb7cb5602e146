//! Who this process's children are, whoever they were the children of before.

use std::io;

use rustix::process::{Pid, getpid};

/// Our children, as the kernel lists them for each thread; where it does not, those of all processes that have us for parent.
pub(super) fn children() -> Vec<Pid> {
    listed().unwrap_or_else(|_| found())
}

fn listed() -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        match std::fs::read_to_string(task?.path().join("children")) {
            Ok(list) => all.extend(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?))),
            // That of a thread that has ended meanwhile; the first does not.
            Err(_) if std::fs::exists(format!("/proc/self/task/{}/children", getpid()))? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn found() -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| parent(*pid) == Some(getpid())).collect()
}

/// Behind the name in brackets, which may hold any character, are the state and the parent.
fn parent(pid: Pid) -> Option<Pid> {
    let told = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Pid::from_raw(told.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_kernel_lists_no_children_they_are_found_by_their_parent() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let seen = (found().contains(&pid), parent(pid), parent(getpid()) == rustix::process::getppid());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, (true, Some(getpid()), true));
    }
}
