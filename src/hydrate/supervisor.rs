//! A program that is restarted or told when its secrets change. It stays in this process's group, so that a terminal's keys,
//! its size, and a shell's job control reach it as if it were alone.
//!
//! Must never happen: a signal that reaches nobody, or that a terminal's key sends twice; a zombie, whoever's child it was;
//! what an old program left behind beside a new one; a restart of a program that was told to end.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getsid, kill_process, set_child_subreaper, wait};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::child::Program;
use crate::kernel::{Arrived, Signals};

/// What is to be done with the program that runs.
#[derive(Debug)]
pub enum Change {
    /// It is ended, and this one started in its place.
    Restart(Box<Program>),
    /// It is sent that signal.
    Signal(Signal),
}

/// Holds signals back for the program: made before any thread is started.
#[derive(Debug)]
pub struct Supervisor {
    signals: AsyncFd<Signals>,
    grace: Duration,
}

/// What a process can be sent from outside that means something to it. A stop by the terminal stops us as it stops the
/// program; SIGSTOP and SIGKILL can be held by nobody.
const HELD: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CHILD,
    Signal::CONT,
    Signal::TSTP,
    Signal::WINCH,
    Signal::POWER,
];
/// Between the end of a program that keeps children and the look at whether they are gone.
const LOOK: Duration = Duration::from_millis(20);

/// The program that runs.
struct Running {
    pid: Pid,
    /// It is being replaced by this one.
    next: Option<Box<Program>>,
    /// When it is killed.
    deadline: Option<Instant>,
}

impl Supervisor {
    /// Holds signals back from now on. A program that is told to end has `grace` for it.
    ///
    /// # Errors
    /// The system's own.
    pub fn new(grace: Duration) -> io::Result<Self> {
        let held: Vec<i32> = HELD.iter().map(|signal| signal.as_raw()).collect();
        Ok(Self { signals: Signals::hold(&held)?.registered()?, grace })
    }

    /// The number of the next signal that asks a process to end, while there is no program yet.
    ///
    /// # Errors
    /// The system's own.
    pub async fn told_to_end(&self) -> io::Result<i32> {
        loop {
            let Arrived { signal, .. } = self.arrived().await?;
            if ends(signal) {
                return Ok(signal);
            }
        }
    }

    /// Runs the program, and what changes make of it, to its end: the exit code, 128 and the signal's number if it was
    /// ended by one.
    ///
    /// # Errors
    /// The system's own, such as that a program cannot be started.
    pub async fn run(&self, first: Program, mut changes: mpsc::Receiver<Change>) -> io::Result<u8> {
        // Who is left behind by its parent comes to us, and not to somebody who does not know it.
        let _ = set_child_subreaper(Some(getpid()));
        let mut running = self.begin(first)?;
        let mut told_to_end = false;
        loop {
            let deadline = running.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                arrived = self.arrived() => {
                    let arrived = arrived?;
                    if arrived.signal == Signal::CHILD.as_raw() {
                        if let Some(ended) = reap(Some(running.pid))? {
                            self.clear_up().await?;
                            match running.next.take() {
                                Some(next) if !told_to_end => running = self.begin(*next)?,
                                Some(_) | None => return Ok(code(ended)),
                            }
                        }
                        continue;
                    }
                    told_to_end |= arrived.signal == Signal::TERM.as_raw()
                        || (running.next.is_some() && ends(arrived.signal));
                    forward(running.pid, arrived);
                }
                Some(change) = changes.recv(), if running.next.is_none() && !told_to_end => match change {
                    Change::Restart(next) => {
                        send(running.pid, Signal::TERM);
                        // Who was stopped cannot end.
                        send(running.pid, Signal::CONT);
                        running.next = Some(next);
                        running.deadline = Some(Instant::now() + self.grace);
                    }
                    Change::Signal(signal) => send(running.pid, signal),
                },
                () = sleep_until(deadline), if running.deadline.is_some() => {
                    send(running.pid, Signal::KILL);
                    running.deadline = None;
                }
            }
        }
    }

    /// Ends what the program left behind: asks, and after the grace kills.
    async fn clear_up(&self) -> io::Result<()> {
        let deadline = Instant::now() + self.grace;
        let mut asked = Vec::new();
        loop {
            reap(None)?;
            let left = children();
            if left.is_empty() {
                return Ok(());
            }
            let late = Instant::now() >= deadline;
            for pid in left {
                if late {
                    send(pid, Signal::KILL);
                } else if !asked.contains(&pid) {
                    asked.push(pid);
                    send(pid, Signal::TERM);
                    send(pid, Signal::CONT);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn begin(&self, program: Program) -> io::Result<Running> {
        let child = program.start(self.signals.get_ref())?;
        // It is waited for with all others, by its number alone.
        let pid = Pid::from_child(&child);
        Ok(Running { pid, next: None, deadline: None })
    }

    async fn arrived(&self) -> io::Result<Arrived> {
        loop {
            let mut ready = self.signals.readable().await?;
            match self.signals.get_ref().next()? {
                Some(arrived) => return Ok(arrived),
                None => ready.clear_ready(),
            }
        }
    }
}

/// Takes the end of whoever has ended, and tells that of `watched`. If that one was stopped by its terminal, so are we, for
/// the shell to see.
fn reap(watched: Option<Pid>) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Ok(Some((pid, status))) if Some(pid) == watched => {
                let by_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(|signal| Some(signal.as_raw()));
                if !status.stopped() {
                    ended = Some(status);
                } else if by_terminal.contains(&status.stopping_signal()) {
                    send(getpid(), Signal::STOP);
                }
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the kernel sends, it sends to the whole group, the program too; but a hang-up to the session's leader alone.
fn forward(to: Pid, Arrived { signal, of_kernel }: Arrived) {
    let leads = || getsid(None).is_ok_and(|session| session == getpid());
    if of_kernel && !(signal == Signal::HUP.as_raw() && leads()) {
        return;
    }
    if let Some(signal) = Signal::from_named_raw(signal) {
        send(to, signal);
    }
}

/// It may have ended; its number is nobody else's before it is waited for.
fn send(to: Pid, signal: Signal) {
    let _ = kill_process(to, signal);
}

fn ends(signal: i32) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].iter().any(|ending| ending.as_raw() == signal)
}

/// As a shell says it.
fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

/// Our children, as the kernel lists them for each thread.
fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>())
        .collect()
}
