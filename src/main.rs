//! The process: arguments, crypto provider, signals, runtime, and the exit code. Nothing else ends it.
//!
//! Before anything else it closes its memory to others and takes the secrets out of its environment; before any thread is
//! started it gives up what the command does not need.

use std::alloc::System;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use sidekey::api::Passed;
use sidekey::cli::{Cli, Context, Exit, Failure, Protection, confine, refuse, run, tell};
use sidekey::config::Vars;
use sidekey::sandbox::Process;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zeroizing_alloc::ZeroAlloc;

/// One serves about 100,000 reads a second, and the apps on the machine want its cores too. More than one, so that a search
/// of a million names or a burst of TLS handshakes keeps nobody from a value that is held.
const MOST_THREADS: usize = 4;

/// What is freed is wiped: buffers of libraries that carried a value or a token, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(tell_place_only));
    let found = sidekey::sandbox::harden();
    let vars = Vars::of_process();
    let environment = sidekey::kernel::overwrite_environment(Vars::is_secret).err().map(|error| error.to_string());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error) as u8),
    };
    if !cli.command.becomes_another() {
        sidekey::sandbox::forgo_privileges();
    }
    rustls::crypto::ring::default_provider().install_default().expect("nobody installed another before us");
    let threads = vars.get("TOKIO_WORKER_THREADS").is_some();
    // There is one thread by now. Only what serves has a use for them.
    let passed = if cli.command.takes_sockets() { Passed::take(vars.get("LISTEN_FDNAMES")) } else { Passed::default() };
    let mut context = Context {
        vars,
        passed: Arc::new(Mutex::new(passed)),
        uid: rustix::process::getuid().as_raw(),
        program: std::env::current_exe().unwrap_or_else(|_| "sidekey".into()),
        shutdown: CancellationToken::new(),
        reload: Arc::default(),
        found,
        protection: Protection {
            process: Process::now(),
            key_page: sidekey::secret::key_page(),
            environment,
            sandbox: None,
        },
        global: cli.global,
    };
    let confined = confine(&cli.command, &context).map(|sandbox| context.protection.sandbox = sandbox);
    let outcome = confined.and_then(|()| runtime(cli.command.stays(), threads)).and_then(|runtime| {
        let outcome = runtime.block_on(async {
            // On the heap: commands differ much in size.
            let command = Box::pin(run(&cli.command, &context));
            let in_order = cli.command.ends_in_order();
            // The first process of a container gets no signal that it does not take.
            if !in_order && !rustix::process::getpid().is_init() {
                return command.await;
            }
            let mut signals = Signals::new(cli.command.stays())?;
            tokio::select! {
                done = command => done,
                code = signals.act(&context, in_order, cli.command.reloads()) => Ok(code),
            }
        });
        // A thread that hangs in a call to the system, such as a look-up of a name or a read from a share, keeps nobody.
        runtime.shutdown_background();
        outcome
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

/// One thread for a command that answers and ends. For one that stays, as many as there are cores or as the container may
/// use at once, but no more than [`MOST_THREADS`], if `TOKIO_WORKER_THREADS` does not say otherwise.
fn runtime(stays: bool, told: bool) -> Result<Runtime, Failure> {
    let mut builder = if stays { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    if stays && !told {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads(cores.min(MOST_THREADS));
    }
    let cannot = |error: std::io::Error| Failure::new(Exit::Unavailable, format!("the runtime cannot start: {error}"));
    // A worker that goes to sleep takes nothing along of what it has copied.
    builder.on_thread_park(sidekey::kernel::scrub_registers).enable_all().build().map_err(cannot)
}

/// SIGTERM, SIGINT, SIGHUP and SIGXFSZ.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hang_up: Option<Signal>,
    /// A file that may not grow is an error of its write, as a full disk is, and not the end of the process. Taken and not
    /// ignored: what is ignored would be so in a program that we start.
    _file_size: Option<Signal>,
}

impl Signals {
    /// `all`: also what was ignored before us, as `nohup` has it. Who does not serve goes on ignoring it.
    fn new(all: bool) -> Result<Self, Failure> {
        let take = |kind: SignalKind| {
            if !all && sidekey::kernel::is_ignored(kind.as_raw_value()) {
                return Ok(None);
            }
            signal(kind)
                .map(Some)
                .map_err(|error| Failure::new(Exit::Unavailable, format!("signals cannot be taken: {error}")))
        };
        let file_size = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hang_up: take(SignalKind::hangup())?,
            _file_size: take(file_size)?,
        })
    }

    /// The first asks for an end in order, where there is one. The second is the end, with the code that a shell gives to
    /// it. SIGHUP is not among them where the command reads its configuration again instead.
    async fn act(&mut self, context: &Context, in_order: bool, reloads: bool) -> ExitCode {
        let reload = reloads.then_some(&*context.reload);
        let first = self.next(reload).await;
        if !in_order {
            return first;
        }
        context.shutdown.cancel();
        self.next(reload).await
    }

    async fn next(&mut self, reload: Option<&Notify>) -> ExitCode {
        loop {
            tokio::select! {
                () = came(&mut self.terminate) => return ExitCode::from(128 + 15),
                () = came(&mut self.interrupt) => return ExitCode::from(128 + 2),
                () = came(&mut self.hang_up) => match reload {
                    Some(reload) => reload.notify_one(),
                    None => return ExitCode::from(128 + 1),
                },
            }
        }
    }
}

/// One that is not taken never comes.
async fn came(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// A panic's message may hold anything, a value too. Its place holds nothing. Told like everything else that the command
/// tells, so that a log of JSON stays one.
fn tell_place_only(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, "a fault of our own; please report it");
    } else {
        tell(&format!("sidekey: a fault of our own at {place}; please report it"));
    }
}
