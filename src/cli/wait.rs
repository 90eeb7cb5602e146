//! `wait`: until the sidecar answers and is ready, and the secrets that an app cannot start without can be read. What
//! may still come is waited for, whatever it is: a socket, a sign-in, a role, a secret; only a command line that cannot
//! be understood ends it at once.
//!
//! It never has a value: it asks whether there is one.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use super::args::Connect;
use super::client::{Client, Request};
use super::lengths::length;
use super::pauses::Pauses;
use super::terminal::{harmless, print, stderr_is_terminal};
use super::{Context, Exit, Failure};
use crate::secret::Reference;

/// Wait until the sidecar is ready, and until these secrets can be read; ends with 0 then, with 69 after the timeout.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey wait && ./app
  sidekey wait --for secret://pay-prod/db-password --for 'shared/broker#/url' --timeout 2m")]
pub struct Wait {
    /// A secret that must be readable, by its reference; may be given several times
    #[arg(long = "for", value_name = "REF", value_parser = Reference::parse_lenient)]
    references: Vec<Reference>,
    /// How long to wait at most, such as 90s or 5m; 0s asks once
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = length)]
    timeout: Duration,
    /// The sidecar: a socket's path, unix:PATH or http://127.0.0.1:PORT [variable: SIDEKEY_ADDR]
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
    /// The file with the token that TCP asks for [variable: SIDEKEY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// One try ends with that even if its answer is late: a sidecar that was just started anew may answer the next.
const TRY: Duration = Duration::from_secs(20);

/// What is not there yet, and why.
type Wanting = Vec<(String, String)>;

pub(super) async fn run(args: &Wait, context: &Context) -> Result<(), Failure> {
    let connect = Connect { addr: args.addr.clone(), token_file: args.token_file.clone(), ..Connect::default() };
    let spinner = Spinner::new();
    let wanting = RefCell::new(Wanting::new());
    let waited = async {
        let mut pauses = Pauses::between(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let now = match timeout(TRY, missing(args, context, &connect)).await {
                Ok(now) => now?,
                Err(_) => vec![("the sidecar".to_owned(), "it does not answer in time".to_owned())],
            };
            if now.is_empty() {
                return Ok(true);
            }
            spinner.show(&now);
            *wanting.borrow_mut() = now;
            if args.timeout.is_zero() {
                return Ok(false);
            }
            sleep(pauses.next()).await;
        }
    };
    // One try is made, however short the time.
    let limit = if args.timeout.is_zero() { TRY } else { args.timeout };
    let outcome = timeout(limit, waited).await;
    drop(spinner);
    match outcome {
        Ok(Ok(true)) => print(b"ready\n"),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(false)) | Err(_) => Err(Failure::new(Exit::Unavailable, in_vain(args.timeout, &wanting.take()))),
    }
}

/// One try.
async fn missing(args: &Wait, context: &Context, connect: &Connect) -> Result<Wanting, Failure> {
    let sidecar = |why: String| Ok(vec![("the sidecar".to_owned(), why)]);
    let client = match Client::to_running(context, connect) {
        Ok(client) => client,
        Err(failure) if failure.exit == Exit::Usage => return Err(failure),
        // Without the advice to do otherwise: it was chosen to wait.
        Err(failure) => return sidecar(failure.message.lines().next().unwrap_or_default().to_owned()),
    };
    if let Err(failure) = client.get(&Request::plain("/readyz")).await {
        return sidecar(failure.message);
    }
    let tries = args.references.iter().map(async |reference| {
        let request = Request::secret(reference).without_body();
        let why = match client.send(&request).await {
            Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => return None,
            Ok(answer) => Client::in_words(&answer).message,
            Err(failure) => failure.message,
        };
        Some((reference.to_string(), why))
    });
    Ok(join_all(tries).await.into_iter().flatten().collect())
}

fn in_vain(limit: Duration, wanting: &Wanting) -> String {
    let limit = humantime::format_duration(limit);
    let told: Vec<_> = wanting.iter().map(|(what, why)| format!("  {what}: {}", why.replace('\n', "\n    "))).collect();
    let told = if told.is_empty() { "  the sidecar: no answer yet".to_owned() } else { told.join("\n") };
    format!("not ready after {limit}; still waiting for\n{told}")
}

/// A line on stderr that tells what is waited for; nothing where nobody looks.
struct Spinner(Option<ProgressBar>);

impl Spinner {
    fn new() -> Self {
        let bar = stderr_is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("a constant template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self(bar)
    }

    fn show(&self, wanting: &Wanting) {
        if let (Some(bar), Some((what, why))) = (&self.0, wanting.first()) {
            let more = if wanting.len() > 1 { format!(" (and {} more)", wanting.len() - 1) } else { String::new() };
            let why = why.lines().next().unwrap_or_default();
            bar.set_message(harmless(&format!("waiting for {what}: {why}{more}")).into_owned());
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
