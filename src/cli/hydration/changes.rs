//! What changes of the secrets in use, as the sidecar tells it: several changes that come together are one.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Door;
use crate::cli::Failure;
use crate::cli::client::{Parser, Request, Stream};
use crate::cli::sidecar::Need;
use crate::cli::terminal::tell;

/// The changes of some secrets, for as long as they are asked for.
pub(in crate::cli) struct Changes<'d, 'c> {
    door: &'d Door<'c>,
    parser: Parser,
    stream: Option<Stream>,
    /// What the stream is about.
    origins: BTreeSet<String>,
    /// It was told that they are not seen.
    told: bool,
}

/// Changes that come this soon after one another are one.
const QUIET: Duration = Duration::from_secs(1);
/// But who waits for quiet waits no longer than this.
const LONGEST_QUIET: Duration = Duration::from_secs(10);
/// A stream that lives tells so every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

impl<'d, 'c> Changes<'d, 'c> {
    pub(in crate::cli) fn new(door: &'d Door<'c>) -> Self {
        Self { door, parser: Parser::default(), stream: None, origins: BTreeSet::new(), told: false }
    }

    /// Resolves when something of these has changed, or may have while nobody told. Without any, never.
    pub(in crate::cli) async fn next(&mut self, origins: &BTreeSet<String>) {
        if origins.is_empty() {
            return std::future::pending().await;
        }
        if *origins != self.origins {
            self.origins.clone_from(origins);
            // Behind another stream's events this one's would be missed.
            (self.stream, self.parser) = (None, Parser::default());
        }
        let Some(stream) = &mut self.stream else {
            self.stream = Some(self.connected().await);
            // What came between the last look and the stream is found by looking again.
            return;
        };
        if !(event(stream, &mut self.parser).await && quiet(stream, &mut self.parser).await) {
            self.stream = None;
            sleep(chance(PAUSE)).await;
        }
    }

    async fn connected(&mut self) -> Stream {
        loop {
            match self.connect().await {
                Ok(stream) => {
                    if self.told {
                        tell("sidekey: changes are seen again");
                    }
                    self.told = false;
                    self.parser = std::mem::take(&mut self.parser).again();
                    return stream;
                }
                Err(failure) => {
                    if !self.told {
                        tell(&format!("sidekey: changes are not seen: {failure}; trying again"));
                    }
                    self.told = true;
                    sleep(PAUSE + chance(PAUSE)).await;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        let client = self.door.client()?;
        client.prepare(Need::Everything).await;
        let request = Request::v1(&["watch"]).behind(self.parser.id());
        let request = self.origins.iter().fold(request, |request, reference| request.query("ref", Some(reference)));
        client.stream(&request).await
    }
}

/// Waits for something that happened; `false`: the stream has ended, or fallen silent.
async fn event(stream: &mut Stream, parser: &mut Parser) -> bool {
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
        match timeout_at(latest.min(Instant::now() + QUIET), event(stream, parser)).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => return true,
        }
    }
}

/// Some part of it.
pub(in crate::cli) fn chance(most: Duration) -> Duration {
    most.mul_f64((RandomState::new().build_hasher().finish() % 1_001) as f64 / 1_000.0)
}
