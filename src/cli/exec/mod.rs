//! `exec`: a program in this one's place, with the values that its environment refers to; or, with `--watch`, under it.
//!
//! Must never happen: a program that was started without all its values, or with what sidekey signs in with; a failure that
//! hides another; a value in a message.

mod follow;
mod gather;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;
use tokio::sync::mpsc;

use super::args::Connect;
use super::terminal::harmless;
use super::{Context, Exit, Failure};
use crate::config::cause;
use crate::hydrate::Supervisor;
use gather::Gathered;

/// Start a program with the secrets that its environment refers to; it takes sidekey's place, or runs under it with --watch.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Exec {
    /// The program, with its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
    /// Set what this env file sets, such as .env; no expansion: a '$' is a '$'. May be given several times
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// Set what this TOML or JSON file maps names to. May be given several times
    #[arg(long = "map", value_name = "FILE")]
    maps: Vec<PathBuf>,
    /// Set a variable for every secret of this vault, or of those that match: VAULT or VAULT/GLOB; DB_PASSWORD for
    /// db-password. May be given several times
    #[arg(long = "all-from", value_name = "VAULT/GLOB")]
    all_from: Vec<String>,
    /// Put this before the names that --all-from gives
    #[arg(long, value_name = "TEXT", requires = "all_from", default_value = "")]
    prefix: String,
    /// Take this from the start of the names that --all-from finds
    #[arg(long, value_name = "TEXT", requires = "all_from")]
    strip: Option<String>,
    /// Set this variable to a reference's value; may be given several times
    #[arg(long = "set", value_name = "NAME=REF", value_parser = gather::pair)]
    sets: Vec<(String, String)>,
    /// Start from an empty environment: PATH, HOME, USER, LOGNAME, SHELL, TERM, TZ, LANG and LC_* alone, and what is resolved
    #[arg(long)]
    clean: bool,
    /// Let this variable be set though it can take a program over, such as PATH or LD_PRELOAD
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
    /// Pass this variable on though it is sidekey's own, such as SIDEKEY_ADDR
    #[arg(long, value_name = "NAME")]
    pass: Vec<String>,
    /// Write each value into a file of this folder, which must be in memory; the variable holds its path
    #[arg(long, value_name = "DIR")]
    as_files: Option<PathBuf>,
    /// Let the folder of --as-files be on a disk
    #[arg(long, requires = "as_files")]
    allow_disk: bool,
    /// Hand this variable's value over in sealed memory; the variable holds the path /proc/self/fd/N to read it at
    #[arg(long = "fd", value_name = "NAME")]
    descriptors: Vec<String>,
    /// How long to wait at most for a sidecar that is still starting, such as 30s or 2m; 0s asks once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Stay, and when a secret changes restart the program, or send it a signal [default signal: HUP]
    #[arg(long, value_name = "restart|signal[=SIG]", value_parser = follow::Watch::parse)]
    watch: Option<follow::Watch>,
    /// With --watch: how long the program may take to end before it is killed
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// With --watch: act at a random moment within so long after a change, so that a fleet does not act at once
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    jitter: Duration,
    #[command(flatten)]
    connect: Connect,
}

const AFTER_HELP: &str = "\
Examples:
  DB_PASSWORD=secret://pay-prod/db-password sidekey exec -- ./app
  sidekey exec --set 'REDIS=secret://*/redis#/password' -- ./app --port 8080
  sidekey exec --env-file .env --all-from 'pay-prod/db-*' --strip db- -- ./app
  sidekey exec --as-files /run/app -- ./app        DB_PASSWORD=/run/app/DB_PASSWORD, 0400
  sidekey exec --watch restart --grace 20s --jitter 1m -- ./app
  sidekey exec --watch signal=HUP --as-files /run/app -- nginx -g 'daemon off;'

Later places win: the environment, --all-from, --env-file, --map, --set. All references are resolved together. If one fails, each failure is told and nothing is started. The exit code is the
program's own; 126 if it cannot be run, 127 if it is not there; before it is started as everywhere: 1, 64, 69, 77.";

pub(super) async fn run(args: &Exec, context: &Context) -> Result<ExitCode, Failure> {
    match &args.watch {
        None => {
            let gathered = Gathered::patiently(args, context).await?;
            let (program, _) = gathered.resolve_patiently(args, context).await?;
            let name = program.name();
            context.found.restore();
            Err(not_started(&name, &program.execute()))
        }
        Some(watch) => supervise(args, watch, context).await,
    }
}

async fn supervise(args: &Exec, watch: &follow::Watch, context: &Context) -> Result<ExitCode, Failure> {
    let held =
        |error: io::Error| Failure::new(Exit::Unavailable, format!("signals cannot be held: {}", cause(error.kind())));
    // Before there is another thread, which would take them.
    let supervisor = Supervisor::new(args.grace).map_err(held)?;
    let ready = async {
        let gathered = Gathered::patiently(args, context).await?;
        let (program, resolved) = gathered.resolve_patiently(args, context).await?;
        Ok::<_, Failure>((gathered, program, resolved))
    };
    let (gathered, program, resolved) = tokio::select! {
        ready = ready => ready?,
        signal = supervisor.told_to_end() => return Ok(after(signal.map_err(held)?)),
    };
    let name = program.name();
    context.found.restore();
    let (send, changes) = mpsc::channel(1);
    tokio::select! {
        ended = supervisor.run(program, changes) => ended.map(ExitCode::from).map_err(|error| not_started(&name, &error)),
        failure = follow::follow(args, watch, context, &gathered, resolved, send) => Err(failure),
    }
}

fn after(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(255))
}

/// As a shell says it: 127 for what is not there, 126 for what cannot be run.
fn not_started(name: &std::path::Path, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NoProgram } else { Exit::NotRunnable };
    let why = if error.kind() == io::ErrorKind::NotFound { "no such program".into() } else { cause(error.kind()) };
    Failure::new(exit, format!("{}: {why}", harmless(&name.display().to_string())))
}

/// A signal by its name, with or without SIG, or by its number.
fn signal(text: &str) -> Option<Signal> {
    let name = text.to_ascii_uppercase();
    let by_name = match name.strip_prefix("SIG").unwrap_or(&name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "TERM" => Signal::TERM,
        "ALRM" => Signal::ALARM,
        "WINCH" => Signal::WINCH,
        "CONT" => Signal::CONT,
        "PWR" => Signal::POWER,
        other => return other.parse().ok().and_then(Signal::from_named_raw),
    };
    Some(by_name)
}
