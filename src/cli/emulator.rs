//! `emulator`: the fake Azure alone, for other tests and other clients.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::lengths::length;
use super::terminal::{print, tell};
use super::{Context, Exit, Failure};
use crate::config::cause;
use crate::emulator::{Emulator, Estate};

/// Run the fake Azure alone: Entra, Resource Manager, Resource Graph and every vault on one TLS port of this machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey emulator --ca-out ca.pem
  sidekey emulator --print-estate > estate.toml
  sidekey emulator --listen 127.0.0.1:0 --estate estate.toml")]
pub struct EmulatorArgs {
    /// Where to listen; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// What Azure holds, in TOML [default: the demo's]
    #[arg(long, value_name = "FILE")]
    estate: Option<PathBuf>,
    /// Write the certificate of the authority that clients must trust into this file
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Print the demo's estate, which is the documentation of its format, and end
    #[arg(long)]
    print_estate: bool,
    /// Added before every answer, such as 20ms
    #[arg(long, value_name = "TIME", value_parser = length)]
    latency: Option<Duration>,
}

pub(super) async fn run(args: &EmulatorArgs, context: &Context) -> Result<(), Failure> {
    if context.global.config.is_some() {
        let what =
            "--config: the emulator reads no configuration of a sidecar; --estate names the file with what Azure holds";
        return Err(Failure::new(Exit::Usage, what));
    }
    if args.print_estate {
        return print(Estate::DEMO.as_bytes());
    }
    let estate = read_estate(args.estate.as_deref(), args.latency)?;
    let emulator = Emulator::start(estate, bind(args.listen, "--listen")?)
        .map_err(|error| Failure::new(Exit::Unavailable, format!("the emulator cannot start: {}", cause(&error))))?;
    if let Some(file) = &args.ca_out {
        std::fs::write(file, emulator.ca_pem())
            .map_err(|error| Failure::io(&format!("writing {}", file.display()), &error))?;
        tell(&format!("trust {}", file.display()));
    }
    print(format!("listening on {}\n", emulator.addr()).as_bytes())?;
    context.shutdown.cancelled().await;
    emulator.stop().await;
    Ok(())
}

/// The estate of that file, or the demo's.
pub(super) fn read_estate(file: Option<&Path>, latency: Option<Duration>) -> Result<Estate, Failure> {
    let mut estate = match file {
        None => Estate::demo(time::OffsetDateTime::now_utc()),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::new(Exit::Config, format!("estate {}: {}", file.display(), cause(&error))))?;
            Estate::parse(&text).map_err(|faults| {
                let lines: Vec<_> = faults.iter().map(|fault| format!("{}: {fault}", file.display())).collect();
                let s = if faults.len() == 1 { "" } else { "s" };
                Failure::new(Exit::Config, format!("{} fault{s} in the estate\n{}", faults.len(), lines.join("\n")))
            })?
        }
    };
    estate.latency = latency.unwrap_or(estate.latency);
    Ok(estate)
}

/// It answers whoever asks and gives away what it holds: never to a network.
pub(super) fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        let what = format!(
            "{flag}: the emulator listens on loopback only, such as 127.0.0.1:8443: it gives anybody what it holds"
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    TcpListener::bind(address).map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("port {} is in use; choose another with {flag}", address.port()),
            _ => format!("{flag}: listening on {address}: {}", cause(&error)),
        };
        Failure::new(Exit::Unavailable, what)
    })
}
