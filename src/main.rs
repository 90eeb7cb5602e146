//! The process: arguments, crypto provider, signals, runtime, and the exit code. Nothing else ends it.

use std::panic::PanicHookInfo;
use std::process::ExitCode;

use clap::Parser as _;
use sidekey::cli::{Cli, Context, Exit, Failure, refuse, run, tell};
use sidekey::config::Vars;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(tell_place_only));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error) as u8),
    };
    rustls::crypto::ring::default_provider().install_default().expect("nobody installed another before us");
    let context = Context {
        vars: Vars::of_process(),
        uid: rustix::process::getuid().as_raw(),
        program: std::env::current_exe().unwrap_or_else(|_| "sidekey".into()),
        shutdown: CancellationToken::new(),
        global: cli.global,
    };
    let outcome = runtime(cli.command.stays()).and_then(|runtime| {
        runtime.block_on(async {
            // On the heap: commands differ much in size.
            let command = Box::pin(run(&cli.command, &context));
            if !cli.command.stays() {
                return command.await.map(|()| ExitCode::SUCCESS);
            }
            let mut signals = Signals::new()?;
            tokio::select! {
                done = command => done.map(|()| ExitCode::SUCCESS),
                code = signals.twice(&context.shutdown) => Ok(code),
            }
        })
    });
    match outcome {
        Ok(code) => code,
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                tell(&format!("sidekey: {message}"));
            }
            ExitCode::from(exit as u8)
        }
    }
}

/// One thread for a command that answers and ends; as many as there are cores for one that stays.
fn runtime(stays: bool) -> Result<Runtime, Failure> {
    let mut builder = if stays { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let cannot =
        |error: std::io::Error| Failure::new(Exit::Unavailable, format!("the runtime cannot start: {}", error.kind()));
    builder.enable_all().build().map_err(cannot)
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(Exit::Unavailable, format!("signals cannot be taken: {}", error.kind()))
        };
        let terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        Ok(Self { terminate, interrupt })
    }

    /// The first asks for an orderly end. The second is the end, with the code that a shell gives to it.
    async fn twice(&mut self, shutdown: &CancellationToken) -> ExitCode {
        self.next().await;
        shutdown.cancel();
        self.next().await
    }

    async fn next(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.terminate.recv() => ExitCode::from(128 + 15),
            _ = self.interrupt.recv() => ExitCode::from(128 + 2),
        }
    }
}

/// A panic's message may hold anything, a value too. Its place holds nothing.
fn tell_place_only(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tell(&format!("sidekey: a fault of our own at {place}; please report it"));
}
