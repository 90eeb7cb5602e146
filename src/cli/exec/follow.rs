//! What changes, as the sidecar tells it, made into one thing to do for several changes; never more often than is good.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::deliver::Mark;
use super::{Plan, Ready};
use crate::cli::Failure;
use crate::cli::client::{Parser, Request, Stream};
use crate::cli::sidecar::Need;
use crate::cli::terminal::tell;
use crate::hydrate::Change;

/// What is done when a secret changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Restart,
    Signal(Signal),
}

impl Watch {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "restart" => Ok(Self::Restart),
            None if text == "signal" => Ok(Self::Signal(Signal::HUP)),
            Some(("signal", name)) => super::signal(name).map(Self::Signal).ok_or_else(|| format!("no signal {name}")),
            _ => Err("expected restart, signal, or signal=NAME".to_owned()),
        }
    }
}

/// Changes that come this soon after one another are one.
const QUIET: Duration = Duration::from_secs(1);
/// But who waits for quiet waits no longer than this.
const LONGEST_QUIET: Duration = Duration::from_secs(10);
/// A stream that lives tells so every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Between one act and the next; doubled for each that comes at once, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Tells `to` what is to be done, for ever.
pub(super) async fn follow(
    watch: Watch,
    jitter: Duration,
    plan: &Plan<'_>,
    mut origins: BTreeSet<String>,
    mut mark: Mark,
    to: mpsc::Sender<Change>,
) -> Infallible {
    if origins.is_empty() {
        return std::future::pending().await;
    }
    let (mut parser, mut pause, mut acted) = (Parser::default(), FIRST_PAUSE, None::<Instant>);
    let mut told = false;
    loop {
        let mut stream = match connect(plan, &origins, &parser).await {
            Ok(stream) => stream,
            Err(failure) => {
                if !told {
                    tell(&format!("sidekey: changes are not seen: {failure}; trying again"));
                }
                told = true;
                sleep(FIRST_PAUSE + chance(FIRST_PAUSE)).await;
                continue;
            }
        };
        if told {
            tell("sidekey: changes are seen again");
        }
        told = false;
        parser = parser.again();
        let mut dirty = true;
        loop {
            // What came between the resolve and the stream, or between two streams, is found by resolving again.
            if !dirty && !next(&mut stream, &mut parser).await {
                break;
            }
            let alive = quiet(&mut stream, &mut parser).await;
            sleep(chance(jitter)).await;
            if let Some(acted) = acted {
                pause = if acted.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { pause };
                tokio::time::sleep_until(acted + pause).await;
            }
            dirty = false;
            match plan.carry_out().await {
                Ok(ready) if ready.mark.as_ref() != mark.as_ref() => {
                    let Ready { program, .. } = ready;
                    (origins, mark) = (ready.origins, ready.mark);
                    let change = match watch {
                        Watch::Restart => {
                            tell("sidekey: a secret has changed; restarting the program");
                            Change::Restart(Box::new(program))
                        }
                        Watch::Signal(signal) => Change::Signal(signal),
                    };
                    // Taken as soon as the one before is done with.
                    if to.send(change).await.is_err() {
                        return std::future::pending().await;
                    }
                    pause = if acted.is_some() { (pause * 2).min(LONGEST_PAUSE) } else { pause };
                    acted = Some(Instant::now());
                }
                Ok(_) => {}
                Err(faults) => {
                    let failure = faults.so("a secret has changed, and the program goes on with what it has");
                    tell(&format!("sidekey: {failure}"));
                    sleep(FIRST_PAUSE + chance(FIRST_PAUSE)).await;
                    dirty = true;
                }
            }
            if !alive {
                break;
            }
        }
        sleep(chance(FIRST_PAUSE)).await;
    }
}

async fn connect(plan: &Plan<'_>, origins: &BTreeSet<String>, parser: &Parser) -> Result<Stream, Failure> {
    let client = plan.door.client()?;
    client.prepare(Need::Everything).await;
    let request = Request::v1(&["watch"]).behind(parser.id());
    let request = origins.iter().fold(request, |request, reference| request.query("ref", Some(reference)));
    client.stream(&request).await
}

/// Waits for something that happened; `false`: the stream has ended, or fallen silent.
async fn next(stream: &mut Stream, parser: &mut Parser) -> bool {
    loop {
        match timeout(SILENCE, stream.piece()).await {
            Ok(Ok(Some(piece))) => match parser.feed(&piece) {
                Ok(events) if events.iter().any(|event| event.kind != "vault") => return true,
                // It lives.
                Ok(_) => {}
                Err(_) => return false,
            },
            Ok(Ok(None) | Err(_)) | Err(_) => return false,
        }
    }
}

/// Until nothing more happens; `false`: the stream has ended.
async fn quiet(stream: &mut Stream, parser: &mut Parser) -> bool {
    let latest = Instant::now() + LONGEST_QUIET;
    loop {
        match timeout_at(latest.min(Instant::now() + QUIET), next(stream, parser)).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => return true,
        }
    }
}

/// Some part of it.
fn chance(most: Duration) -> Duration {
    most.mul_f64((RandomState::new().build_hasher().finish() % 1_001) as f64 / 1_000.0)
}
