//! What is told on stderr while a command runs.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::terminal::stderr_is_terminal;
use crate::config::Log;

/// For commands that stay: as the configuration says, or more where `-v` was given.
pub(super) fn start(log: &Log, verbose: u8) {
    let level = match verbose {
        0 => log.level.clone(),
        1 => "debug".to_owned(),
        _ => "trace".to_owned(),
    };
    // Checked when the configuration was.
    let targets = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(quiet(targets));
    // A subscriber that is there already (a test's) stays.
    let _ = if log.json {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        let ansi = stderr_is_terminal();
        registry
            .with(tracing_subscriber::fmt::layer().with_ansi(ansi).with_target(false).with_writer(std::io::stderr))
            .try_init()
    };
}

/// For commands that answer and end: nothing, unless `-v` was given.
pub(super) fn start_if_asked(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    start(&Log { level: level.to_owned(), json: false }, 0);
}

/// Libraries below us tell what they do at `info` and wire data at `trace`: neither is for an operator.
fn quiet(targets: Targets) -> Targets {
    let noisy =
        ["hyper", "hyper_util", "reqwest", "rustls", "azure_core", "azure_identity", "typespec_client_core", "h2"];
    noisy.into_iter().fold(targets, |targets, target| targets.with_target(target, LevelFilter::WARN))
}
