//! What changes, as the sidecar tells it, made into moments to look at it. A stream that ends or falls silent is opened
//! again, and what may have come meanwhile is looked at.
//!
//! Must never happen: a change that nobody looks at; a look for each of many changes.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::failing::Failing;
use super::pace::Pace;
use super::{Door, Faults};
use crate::cli::client::{Client, Parser, Request, Stream};
use crate::cli::pauses::Pauses;
use crate::cli::sidecar::Need;
use crate::cli::terminal::tell;

/// A stream that lives tells so every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two streams that ended at once.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many addresses a stream takes.
const MOST: usize = 100;

/// Moments at which secrets may have changed.
pub(in crate::cli) struct News<'a> {
    door: &'a Door<'a>,
    pace: Pace,
    stream: Option<Stream>,
    /// What the stream tells of.
    of: BTreeSet<String>,
    parser: Parser,
    /// Something is still to be looked at.
    pending: bool,
    failing: Failing,
    /// When a stream was last tried for.
    opened: Option<Instant>,
    closed: Pauses,
}

impl<'a> News<'a> {
    /// Nobody is asked yet. Each moment is by a random part of `jitter` later than it could be.
    pub(in crate::cli) fn new(door: &'a Door<'a>, jitter: Duration) -> Self {
        Self {
            door,
            pace: Pace::new(jitter),
            stream: None,
            of: BTreeSet::new(),
            parser: Parser::default(),
            pending: false,
            failing: Failing::new(),
            opened: None,
            closed: Pauses::between(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// Resolves when one of these secrets may have changed since the last time, and it is time to look. Dropped before that,
    /// it has lost nothing.
    async fn next(&mut self, origins: &BTreeSet<String>) {
        if origins.is_empty() {
            std::future::pending::<()>().await;
        }
        // A value may decide which others are in use.
        if *origins != self.of {
            self.of.clone_from(origins);
            self.stream = None;
        }
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.open(origins).await);
                // What came before the stream is found by looking.
                self.pending = true;
            }
            let Self { stream: Some(stream), parser, pace, pending, .. } = self else { continue };
            if *pending || event(stream, parser).await {
                *pending = true;
                if !pace.settle(async || event(stream, parser).await).await {
                    self.stream = None;
                }
                self.pending = false;
                return;
            }
            self.stream = None;
        }
    }

    /// Looks, once for each moment, until what is seen is a change, which is acted upon by whoever asked: the next moment is
    /// further away. `look` sees a change, or that there is none and what to watch from now on. What fails is looked at
    /// again after a while; what lasts of it is told once.
    pub(in crate::cli) async fn change<T>(
        &mut self,
        origins: &mut BTreeSet<String>,
        so: &str,
        look: impl AsyncFn() -> Result<(Option<T>, BTreeSet<String>), Faults>,
    ) -> T {
        loop {
            self.next(origins).await;
            match look().await {
                Ok((change, found)) => {
                    self.failing.not_any_more();
                    *origins = found;
                    if let Some(change) = change {
                        self.pace.acted();
                        return change;
                    }
                }
                Err(faults) => {
                    let (news, pause) = self.failing.so(faults.so(so).message);
                    news.iter().for_each(|news| tell(news));
                    self.pending = true;
                    sleep(pause).await;
                }
            }
        }
    }

    /// A stream; tried for as long as there is none, which is told once.
    async fn open(&mut self, origins: &BTreeSet<String>) -> Stream {
        self.parser = self.parser.again();
        let mut told = false;
        loop {
            // One that ends at once is opened less and less often.
            match self.opened {
                Some(before) if before.elapsed() <= SILENCE => sleep(self.closed.next()).await,
                Some(_) => self.closed.begin_anew(),
                None => {}
            }
            self.opened = Some(Instant::now());
            match self.try_open(origins).await {
                Ok(stream) => {
                    if told {
                        tell("sidekey: changes are seen again");
                    }
                    return stream;
                }
                Err(faults) => {
                    if !told {
                        tell(&faults.so("sidekey: changes are not seen, and are tried for").message);
                    }
                    told = true;
                }
            }
        }
    }

    async fn try_open(&self, origins: &BTreeSet<String>) -> Result<Stream, Faults> {
        let watched = watched(origins);
        let request = Request::v1(&["watch"]).behind(self.parser.id());
        let request = watched.iter().fold(request, |request, pattern| request.query("ref", Some(pattern)));
        let open = async |client: Rc<Client>| {
            client.prepare(Need::Everything).await;
            Ok(client.stream(&request).await?)
        };
        self.door.once(open).await
    }
}

/// Waits for something that happened; false: the stream has ended, or fallen silent.
async fn event(stream: &mut Stream, parser: &mut Parser) -> bool {
    loop {
        match timeout(SILENCE, stream.piece()).await {
            Ok(Ok(Some(piece))) => match parser.feed(&piece) {
                // Of a vault that went out of reach, what is held is still served.
                Ok(events) if events.iter().any(|event| event.kind != "vault") => return true,
                // It lives.
                Ok(_) => {}
                Err(_) => return false,
            },
            Ok(Ok(None) | Err(_)) | Err(_) => return false,
        }
    }
}

/// The secrets by themselves; too many, by their vaults; and again too many, as everything.
fn watched(origins: &BTreeSet<String>) -> BTreeSet<String> {
    if origins.len() <= MOST {
        return origins.clone();
    }
    let vault = |origin: &String| Some(format!("{}/*", origin.rsplit_once('/')?.0));
    let vaults: BTreeSet<String> = origins.iter().filter_map(vault).collect();
    if vaults.len() <= MOST { vaults } else { ["*/*".to_owned()].into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_secrets_than_a_stream_takes_are_watched_by_their_vaults() {
        let of = |vaults: usize, secrets: usize| -> BTreeSet<String> {
            let each = |vault| (0..secrets).map(move |secret| format!("secret://v{vault}/s{secret}"));
            watched(&(0..vaults).flat_map(each).collect())
        };
        assert_eq!(of(1, 100).len(), 100);
        assert_eq!(of(1, 101), ["secret://v0/*".to_owned()].into());
        assert_eq!(of(101, 2), ["*/*".to_owned()].into());
    }
}
