//! `exec`: a program in this one's place, with the values that its environment refers to; or, with `--watch`, under it.
//!
//! Must never happen: a program that was started without all its values, or with what sidekey signs in with; a failure that
//! hides another; a value in a message.

mod deliver;
mod follow;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;

use super::hydration::{Asking, Door, Faults, Places, Set, Surroundings, Wanted};
use super::lengths::length;
use super::terminal::harmless;
use super::{Context, Exit, Failure};
use crate::config::cause;
use crate::hydrate::{Program, Supervisor};
use deliver::{Delivery, Filled, Mark};
use follow::{Watch, follow};

/// Start a program with the secrets that its environment refers to; it takes sidekey's place, or runs under it with --watch.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Exec {
    /// The program, with its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
    #[command(flatten)]
    places: Places,
    /// Of the environment, pass on what refers to secrets, and PATH, HOME, USER, LOGNAME, SHELL, TERM, TZ, LANG, LC_* alone
    #[arg(long)]
    clean: bool,
    /// Pass this variable on in spite of --clean, or though it is sidekey's own, such as SIDEKEY_ADDR; may be given several
    /// times
    #[arg(long, value_name = "NAME")]
    pass: Vec<String>,
    /// Write each value into a file of this folder, which must be in memory and this program's alone; the variable holds its
    /// path
    #[arg(long, value_name = "DIR")]
    as_files: Option<PathBuf>,
    /// Let the folder of --as-files be on a disk
    #[arg(long, requires = "as_files")]
    allow_disk: bool,
    /// Hand this variable's value over in sealed memory; the variable holds the path /proc/self/fd/N to read it at; may be
    /// given several times
    #[arg(long = "fd", value_name = "NAME")]
    descriptors: Vec<String>,
    /// Stay, and when a secret changes restart the program, or send it a signal [default signal: HUP]
    #[arg(long, value_name = "restart|signal[=SIG]", value_parser = Watch::parse)]
    watch: Option<Watch>,
    /// With --watch: how long the program may take to end before it is killed
    #[arg(long, value_name = "DURATION", requires = "watch", default_value = "10s", value_parser = length)]
    grace: Duration,
    /// With --watch: act at a random moment within so long after a change, so that a fleet does not act at once
    #[arg(long, value_name = "DURATION", requires = "watch", default_value = "0s", value_parser = length)]
    jitter: Duration,
    #[command(flatten)]
    asking: Asking,
}

const AFTER_HELP: &str = "\
Examples:
  DB_PASSWORD=secret://pay-prod/db-password sidekey exec -- ./app
  sidekey exec --set 'REDIS=secret://*/redis#/password' -- ./app --port 8080
  sidekey exec --env-file .env --all-from 'pay-prod/db-*' --strip db- -- ./app
  sidekey exec --as-files /run/app -- ./app        DB_PASSWORD=/run/app/DB_PASSWORD, 0400
  sidekey exec --watch restart --grace 20s --jitter 1m -- ./app
  sidekey exec --watch signal=HUP --as-files /run/app -- nginx -g 'daemon off;'

A later place wins: the environment, --all-from, --env-file, --map, --set. All references are resolved together: if one fails, every failure is told by its variable, and nothing is started.

The exit code is the program's own; 126 if it cannot be run, 127 if there is none; before it is started as everywhere: 1, 64, 69, 74, 77.";

pub(super) async fn run(args: &Exec, context: &Context) -> Result<ExitCode, Failure> {
    if let Some(watch) = args.watch {
        return supervise(args, watch, context).await;
    }
    let plan = Plan::made(args, context).await.map_err(not_all)?;
    let (program, _) = plan.first().await.map_err(not_all)?;
    let name = program.name();
    context.found.restore();
    let error = program.execute();
    plan.delivery.remove();
    Err(not_started(&name, &error))
}

/// How to come from the command line to the program, once and again.
struct Plan<'a> {
    door: Door<'a>,
    set: Set,
    wanted: Wanted,
    delivery: Delivery<'a>,
}

/// What the program has that was made ready.
struct Ready {
    /// Where its values came from: what is watched.
    origins: BTreeSet<String>,
    mark: Mark,
}

impl<'a> Plan<'a> {
    async fn made(args: &'a Exec, context: &'a Context) -> Result<Self, Faults> {
        let door = Door::new(context, &args.asking);
        let around = if args.clean { Surroundings::Ordinary(&args.pass) } else { Surroundings::Passed(&args.pass) };
        let set = args.places.gather(around, &door).await?;
        let delivery = Delivery::of(args, &set, context)?;
        let wanted = Wanted::by(&set.layer);
        Ok(Self { door, set, wanted, delivery })
    }

    /// The program with every value, or every failure.
    async fn fill(&self) -> Result<(Filled<'_>, Ready), Faults> {
        let values = self.door.resolve(&self.wanted).await?;
        let filled = self.delivery.fill(&self.set, &values)?;
        let ready = Ready { origins: values.origins(), mark: filled.mark() };
        Ok((filled, ready))
    }

    /// The same, ready to be started; or nothing of it is left behind.
    async fn first(&self) -> Result<(Program, Ready), Faults> {
        let first = async {
            let (filled, ready) = self.fill().await?;
            Ok((filled.deliver()?, ready))
        };
        first.await.inspect_err(|_| self.delivery.remove())
    }
}

async fn supervise(args: &Exec, watch: Watch, context: &Context) -> Result<ExitCode, Failure> {
    let held = |error: io::Error| Failure::new(Exit::Unavailable, format!("signals cannot be held: {}", cause(&error)));
    // Before there is another thread, which would take them.
    let supervisor = Supervisor::new(args.grace).map_err(held)?;
    let plan = tokio::select! {
        made = Plan::made(args, context) => made.map_err(not_all)?,
        signal = supervisor.told_to_end() => return Ok(after(signal.map_err(held)?)),
    };
    let supervised = async {
        let (program, ready) = tokio::select! {
            first = plan.first() => first.map_err(not_all)?,
            signal = supervisor.told_to_end() => return Ok(after(signal.map_err(held)?)),
        };
        let name = program.name();
        context.found.restore();
        let (send, changes) = mpsc::channel(1);
        tokio::select! {
            ended = supervisor.run(program, changes) => match ended {
                Ok(code) => Ok(ExitCode::from(code)),
                Err(error) => Err(not_started(&name, &error)),
            },
            never = follow(watch, args.jitter, &plan, ready, send) => match never {},
        }
    };
    let ended = supervised.await;
    plan.delivery.remove();
    ended
}

/// A program is started with all or not at all.
fn not_all(faults: Faults) -> Failure {
    faults.so("nothing was started")
}

fn after(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(255))
}

/// As a shell says it: 127 for what is not there, 126 for what cannot be run.
fn not_started(name: &std::path::Path, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NoProgram } else { Exit::NotRunnable };
    let why = if error.kind() == io::ErrorKind::NotFound { "no such program".into() } else { cause(error) };
    Failure::new(exit, format!("{}: {why}", harmless(&name.display().to_string())))
}
