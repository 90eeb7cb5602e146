//! A program that is restarted or told when its secrets change. It stays in this process's group, so that a terminal's keys,
//! its size, and a shell's job control reach it as if it were alone.
//!
//! Must never happen: a signal that reaches nobody, or that a terminal's key sends twice; a zombie, whoever's child it was;
//! what an old program left behind beside a new one; a restart of a program that was told to end.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait, waitpid};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::child::Program;
use super::children::children;
use crate::kernel::{self, Arrived, Signals, is_ignored, real_time};

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

/// What a process can be sent from outside that means something to it, beside what is for real time; but for what was
/// ignored before us, which the program ignores too. A stop by the terminal stops us as it stops the program; SIGSTOP and
/// SIGKILL can be held by nobody, and what tells of a fault is the faulty process's own.
const HELD: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::STKFLT,
    Signal::CHILD,
    Signal::CONT,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];
/// What the kernel sends to the whole group.
const OF_TERMINAL: &[Signal] =
    &[Signal::HUP, Signal::INT, Signal::QUIT, Signal::CONT, Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::WINCH];
/// So long an ended child that is not the program is left to who may be waiting for it, such as for the Azure CLI.
const OTHERS: Duration = Duration::from_secs(1);
/// Whoever is still there so long after he was killed is waited for by nobody who is to end.
const UNKILLABLE: Duration = Duration::from_secs(2);
/// Between the end of a program that keeps children and the look at whether they are gone.
const LOOK: Duration = Duration::from_millis(20);

/// The program that runs.
struct Running {
    pid: Pid,
    /// It is being replaced by this one.
    next: Option<Box<Program>>,
    kill_at: Option<Instant>,
}

impl Supervisor {
    /// Holds signals back from now on. A program that is told to end has `grace` for it.
    ///
    /// # Errors
    /// The system's own.
    pub fn new(grace: Duration) -> io::Result<Self> {
        // The ends of children that are ignored are told to nobody.
        drop(signal(SignalKind::child())?);
        let all = HELD.iter().map(|signal| signal.as_raw()).chain(real_time());
        let held: Vec<i32> = all.filter(|signal| !is_ignored(*signal)).collect();
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
        let (mut told_to_end, mut reap_at, mut quiet_until) = (false, None, None);
        loop {
            let ended = tokio::select! {
                biased;
                arrived = self.arrived() => {
                    let arrived = arrived?;
                    if arrived.signal == Signal::CHILD.as_raw() {
                        reap_at.get_or_insert_with(|| Instant::now() + OTHERS);
                        end_of(running.pid)?
                    } else {
                        told_to_end |= arrived.signal == Signal::TERM.as_raw()
                            || (running.next.is_some() && ends(arrived.signal));
                        // It may be ending by itself, or have its own use for it, which is not known. A hang-up does not
                        // count: for most of those who run for long it means to read their settings again.
                        if [Signal::INT, Signal::QUIT].iter().any(|asks| asks.as_raw() == arrived.signal) {
                            quiet_until = Some(Instant::now() + self.grace);
                        }
                        forward(running.pid, arrived);
                        None
                    }
                }
                Some(change) = changes.recv(), if running.next.is_none() && quiet_until.is_none() && !told_to_end => {
                    match change {
                        Change::Restart(next) => {
                            end(running.pid);
                            running.next = Some(next);
                            running.kill_at = Some(Instant::now() + self.grace);
                        }
                        Change::Signal(signal) => send(running.pid, signal),
                    }
                    None
                }
                () = at(running.kill_at) => {
                    send(running.pid, Signal::KILL);
                    running.kill_at = None;
                    None
                }
                () = at(quiet_until) => {
                    quiet_until = None;
                    None
                }
                () = at(reap_at) => {
                    reap_at = None;
                    reap(Some(running.pid))?
                }
            };
            if let Some(ended) = ended {
                told_to_end |= self.clear_up(running.next.is_none() || told_to_end).await?;
                match running.next.take() {
                    Some(next) if !told_to_end => running = self.begin(*next)?,
                    Some(_) | None => return Ok(code(ended)),
                }
            }
        }
    }

    /// Ends what the program left behind: asks, and after the grace kills. Whether we were told to end meanwhile. Who cannot be
    /// killed either, as in a call to a disk that is gone, keeps another program from being begun, but not our end.
    async fn clear_up(&self, last: bool) -> io::Result<bool> {
        let deadline = Instant::now() + self.grace;
        let (mut asked, mut told_to_end) = (Vec::new(), false);
        loop {
            reap(None)?;
            let left = children();
            if left.is_empty() {
                return Ok(told_to_end);
            }
            let now = Instant::now();
            if now >= deadline + UNKILLABLE && (last || told_to_end) {
                return Ok(told_to_end);
            }
            let late = now >= deadline;
            for pid in left {
                if late {
                    send(pid, Signal::KILL);
                } else if !asked.contains(&pid) {
                    asked.push(pid);
                    end(pid);
                }
            }
            tokio::select! {
                arrived = self.arrived() => told_to_end |= ends(arrived?.signal),
                () = sleep(LOOK) => {}
            }
        }
    }

    fn begin(&self, program: Program) -> io::Result<Running> {
        let child = program.start(self.signals.get_ref())?;
        // It is waited for with all others, by its number alone.
        let pid = Pid::from_child(&child);
        Ok(Running { pid, next: None, kill_at: None })
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

/// The end of that child, if it has ended.
fn end_of(pid: Pid) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    while let Some((_, status)) = some(waitpid(Some(pid), WaitOptions::NOHANG | WaitOptions::UNTRACED))? {
        ended = met(status);
    }
    Ok(ended)
}

/// Takes the end of whoever has ended, and tells that of `watched`.
fn reap(watched: Option<Pid>) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    while let Some((pid, status)) = some(wait(WaitOptions::NOHANG | WaitOptions::UNTRACED))? {
        if Some(pid) == watched {
            ended = met(status);
        }
    }
    Ok(ended)
}

/// That there is no child, or none any more, is no error.
fn some(waited: rustix::io::Result<Option<(Pid, WaitStatus)>>) -> io::Result<Option<(Pid, WaitStatus)>> {
    match waited {
        Err(rustix::io::Errno::CHILD) => Ok(None),
        waited => Ok(waited?),
    }
}

/// Whether what was told of the program is its end. If it was stopped by its terminal, so are we, for the shell to see.
fn met(status: WaitStatus) -> Option<WaitStatus> {
    let by_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(|signal| Some(signal.as_raw()));
    if !status.stopped() {
        return Some(status);
    }
    if by_terminal.contains(&status.stopping_signal()) {
        send(getpid(), Signal::STOP);
    }
    None
}

/// Asks it to end. Who was stopped could not.
fn end(pid: Pid) {
    send(pid, Signal::TERM);
    send(pid, Signal::CONT);
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What the kernel sends for a terminal, it sends to the whole group, the program too; but a hang-up to the session's leader
/// alone. Of a file that may not grow, the kernel tells as if a process did; it is an error of our own write.
fn forward(to: Pid, Arrived { signal, of_kernel }: Arrived) {
    let to_all = of_kernel && OF_TERMINAL.iter().any(|of_terminal| of_terminal.as_raw() == signal);
    let to_us_alone = signal == Signal::HUP.as_raw() && kernel::leads_session();
    if signal != Signal::XFSZ.as_raw() && (!to_all || to_us_alone) {
        kernel::send(to, signal);
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
