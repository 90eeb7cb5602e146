//! The command line: each command in a file of its own parses, calls, and prints. Whoever reads speaks the HTTP API,
//! to a running sidecar or to one in this process, so that there is one path for all.
//!
//! Must never happen: a value on a terminal or in a message that did not ask for it; a partial answer that looks whole;
//! an error that does not say what, where, and what to do; text from the network that a terminal would obey.

pub mod args;
mod aws;
mod check;
mod client;
mod confine;
mod context;
#[cfg(feature = "emulator")]
mod demo;
mod doctor;
#[cfg(feature = "emulator")]
mod emulator;
mod env;
mod exec;
mod exit;
mod folder;
mod get;
mod healthcheck;
mod hydration;
mod lengths;
mod list;
mod manual;
mod open;
mod pauses;
mod phrase;
mod protection;
mod reload;
mod render;
mod search;
mod secrets;
mod serve;
mod sidecar;
mod systemd;
mod table;
mod terminal;
mod trace;
mod usage;
mod vaults;
mod wait;
mod warnings;
mod watch;

use std::process::ExitCode;

pub use args::{Cli, Command};
pub use confine::confine;
pub use context::Context;
pub use exit::{Exit, Failure};
pub use protection::Protection;
pub use terminal::tell;
pub use usage::refuse;

/// Runs one command to its end; the code to end the process with.
///
/// # Errors
/// [`Failure`] says how the process is to end and what it is to say.
pub async fn run(command: &Command, context: &Context) -> Result<ExitCode, Failure> {
    if !command.stays() {
        trace::start_if_asked(context.global.verbose);
    }
    match command {
        Command::Serve(args) => serve::run(args, context).await,
        #[cfg(feature = "emulator")]
        Command::Demo(args) => demo::run(args, context).await,
        Command::Get(args) => get::run(args, context).await,
        Command::Env(args) => env::run(args, context).await,
        Command::Completions(args) => manual::complete(args),
        Command::Man(args) => manual::man(args),
        Command::Render(args) => render::run(args, context).await,
        Command::AwsCredentials(args) => aws::run(args, context).await,
        Command::Exec(args) => return exec::run(args, context).await,
        Command::Search(args) => search::run(args, context).await,
        Command::List(args) => list::run(args, context).await,
        Command::Vaults(args) => vaults::run(args, context).await,
        Command::Watch(args) => watch::run(args, context).await,
        Command::Check(args) => check::run(args, context),
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Healthcheck(args) => healthcheck::run(args, context).await,
        Command::Wait(args) => wait::run(args, context).await,
        #[cfg(feature = "emulator")]
        Command::Emulator(args) => emulator::run(args, context).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
