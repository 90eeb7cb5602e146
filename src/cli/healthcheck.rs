//! `healthcheck`: whether the running sidecar is ready, for a container's probe.

use clap::Args;

use super::args::Connect;
use super::client::{Client, Request};
use super::terminal::print;
use super::{Context, Exit, Failure};

/// Ask the running sidecar whether it is ready; ends with 0 if it is, with 69 if it is not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey healthcheck
  sidekey healthcheck --live --addr /run/sidekey/sidekey.sock")]
pub struct Healthcheck {
    /// Only whether it is alive
    #[arg(long)]
    live: bool,
    /// The sidecar: a socket's path, unix:PATH or http://127.0.0.1:PORT [variable: SIDEKEY_ADDR]
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
}

pub(super) async fn run(args: &Healthcheck, context: &Context) -> Result<(), Failure> {
    let connect = Connect { addr: args.addr.clone(), ..Connect::default() };
    let client = Client::to_running(context, &connect)?;
    let path = if args.live { "/livez" } else { "/readyz" };
    match client.get(&Request::plain(path)).await {
        Ok(_) => print(if args.live { b"alive\n" } else { b"ready\n" }),
        // Whatever it is, it is not a sidecar that can be used.
        Err(failure) => Err(Failure::new(Exit::Unavailable, failure.message)),
    }
}
