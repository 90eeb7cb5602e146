//! What keeps this process's memory and rights from others, as it turned out: told by `serve` in its log and by `doctor`
//! in plain words.

use crate::kernel::PageKind;
use crate::sandbox::{Force, Needs, Process, Report};

/// What is in force in this process.
#[derive(Debug, Clone)]
pub struct Protection {
    /// Of its memory.
    pub process: Process,
    /// How well the key is kept that values lie encrypted under.
    pub key_page: PageKind,
    /// Why secrets that came in variables still stand in the process's environment, if they do.
    pub environment: Option<String>,
    /// What it has given up, and what it was thought to need, where it has given up anything.
    pub sandbox: Option<(Needs, Report)>,
}

impl Protection {
    /// One line for each part: what it is, whether it is as it should be, and how it is.
    pub(super) fn lines(&self) -> Vec<(&'static str, bool, String)> {
        let Process { undumpable, no_core, no_new_privileges } = self.process;
        let yes = |good: bool, what: &str, not: &str| (good, if good { what } else { not }.to_owned());
        let part = |name, (good, how)| (name, good, how);
        let key = match self.key_page {
            PageKind::Secret => (true, "in a page that nobody else can read, root included (memfd_secret)"),
            PageKind::Locked => {
                (true, "in a page that is neither swapped nor in a core file (mlock); root can read it")
            }
            PageKind::Ordinary => (false, "in ordinary memory: neither memfd_secret nor mlock is allowed here"),
        };
        let mut lines = vec![
            part("memory", yes(undumpable, "closed to other processes of our user", "open to others of our user")),
            part("core files", yes(no_core, "off", "on")),
            part("key of values held", (key.0, key.1.to_owned())),
            part(
                "environment",
                match &self.environment {
                    None => (true, "shows no secret".to_owned()),
                    Some(why) => (false, format!("may show secrets to our user: {why}")),
                },
            ),
            part("new privileges", yes(no_new_privileges, "none to be had", "to be had by programs that are started")),
        ];
        if let Some((_, Report { files, calls })) = &self.sandbox {
            let good = |force: &Force| matches!(force, Force::Whole(_));
            lines.push(("sandbox, files and ports", good(files), files.to_string()));
            lines.push(("sandbox, system calls", good(calls), calls.to_string()));
        }
        lines
    }

    /// Tells the log what is not in force, and, where more is asked for, what is.
    pub(super) fn tell(&self) {
        for (part, good, how) in self.lines() {
            if good {
                tracing::debug!(part, "{how}");
            } else {
                tracing::warn!(part, "{how}");
            }
        }
    }
}
