//! `watch`: what changes, a line for each event. Goes on by itself where the sidecar is restarted, and says so if
//! something may have been missed. Never values.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep, timeout};

use super::args::Connect;
use super::client::{Client, Parser, Request, SentEvent, Stream};
use super::sidecar::Need;
use super::terminal::{harmless, harmless_json, print, tell};
use super::{Context, Exit, Failure};
use crate::api::model::WatchEvent;
use crate::catalog::Pattern;

/// Tell what changes, a line for each event, until interrupted; never shows values.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Watch {
    /// VAULT/NAME, where both may be globs; NAME, for every vault; or any reference. None: everything
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Each event as JSON, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

const AFTER_HELP: &str = "\
Examples:
  sidekey watch 'pay-prod/db-*'
  sidekey watch --json redis

A line is: when, what happened, to what, and its version or why:
  changed            another value or other attributes; a read gives the new ones
  added              it is there, and was not
  removed, disabled  it is no longer served
  vault              one can be listed, or not any more
  resync             something may have been missed: read anew what is watched

A sidecar that is restarted is waited for.";

/// A stream that lives tells so every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The wait before the first try to come back, unless the sidecar wants another; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &Watch, context: &Context) -> Result<(), Failure> {
    for glob in &args.globs {
        Pattern::parse_lenient(glob)
            .map_err(|error| Failure::new(Exit::Usage, format!("'{}': {error}", harmless(glob))))?;
    }
    let client = Client::connect(context, &args.connect)?;
    client.prepare(Need::Everything).await;
    let (mut parser, mut known, mut tries) = (Parser::default(), false, 0);
    loop {
        match client.stream(&request(args, &parser)).await {
            Ok(stream) => {
                if known {
                    tell("sidekey: the sidecar is back");
                }
                known = true;
                let began = Instant::now();
                let why = follow(stream, &mut parser, args.json).await?;
                tell(&format!("sidekey: {why}; waiting for the sidecar to come back"));
                // One that comes and goes is asked less and less.
                if began.elapsed() > SILENCE {
                    tries = 0;
                }
            }
            // What never worked will not mend itself, nor will a refusal.
            Err(failure) if !known || failure.exit != Exit::Unavailable => return Err(failure),
            Err(_) => {}
        }
        sleep(wait(parser.retry(), tries)).await;
        tries += 1;
    }
}

fn request<'a>(args: &'a Watch, parser: &Parser) -> Request<'a> {
    let request = Request::v1(&["watch"]).behind(parser.id());
    args.globs.iter().fold(request, |request, glob| request.query("ref", Some(glob)))
}

/// Prints what comes, until nothing comes any more; why that is.
async fn follow(mut stream: Stream, parser: &mut Parser, json: bool) -> Result<String, Failure> {
    *parser = parser.again();
    loop {
        let piece = match timeout(SILENCE, stream.piece()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok("the stream has ended".to_owned()),
            Ok(Err(failure)) => return Ok(failure.message),
            Err(_) => return Ok("the stream has fallen silent".to_owned()),
        };
        let Ok(events) = parser.feed(&piece) else { return Ok("what came is no stream of events".to_owned()) };
        for event in events {
            let line = if json { json_line(&event) } else { line(&event) };
            print(format!("{line}\n").as_bytes())?;
        }
    }
}

/// Half of it is chance, so that those who lost one sidecar do not come back in one moment.
fn wait(wished: Option<u64>, tries: u32) -> Duration {
    let first = wished.map_or(FIRST_WAIT, Duration::from_millis);
    let longest = first.saturating_mul(1 << tries.min(10)).min(LONGEST_WAIT);
    longest.mul_f64(0.5 + (RandomState::new().build_hasher().finish() % 1_001) as f64 / 2_000.0)
}

/// For people, and for `read`: the parts hold no blanks but for the last.
fn line(event: &SentEvent) -> String {
    let told = serde_json::from_str::<WatchEvent>(&event.data).ok();
    let at = told.as_ref().map_or_else(OffsetDateTime::now_utc, |told| told.at);
    let at = at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default();
    let (what, detail) = match &told {
        None => ("*".to_owned(), "something may have been missed: read anew what is watched".to_owned()),
        Some(told) => {
            let what = told.reference.as_ref().map_or_else(|| told.vault.to_string(), ToString::to_string);
            let reason = told.reason.clone().unwrap_or_default();
            let detail = match (told.reachable, &told.version) {
                (Some(true), _) => "reachable".to_owned(),
                (Some(false), _) => format!("unreachable: {reason}"),
                (None, Some(version)) => version.to_string(),
                (None, None) => reason,
            };
            (what, detail)
        }
    };
    harmless(format!("{at} {} {what} {detail}", event.kind).trim_end()).into_owned()
}

/// The event's own data, with its kind and its id before.
fn json_line(event: &SentEvent) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        event: &'a str,
        id: &'a str,
        #[serde(flatten)]
        data: serde_json::Map<String, serde_json::Value>,
    }
    let data = serde_json::from_str(&event.data).unwrap_or_default();
    let line = serde_json::to_string(&Line { event: &event.kind, id: &event.id, data });
    harmless_json(&line.expect("an event is plain data")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> SentEvent {
        SentEvent { kind: kind.to_owned(), id: "7-1".to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_told_in_a_line_that_can_be_read_word_by_word_and_obeyed_by_no_terminal() {
        let at = "\"at\":\"2026-11-21T08:00:00.5Z\"";
        let secret = "\"vault\":\"pay\",\"name\":\"db\",\"reference\":\"secret://pay/db\"";
        let version = "0b31729e2750416caba40429a1f3bea4";
        for (kind, data, expected) in [
            ("changed", format!("{{{secret},\"version\":\"{version}\",{at}}}"), format!("secret://pay/db {version}")),
            ("added", format!("{{{secret},{at}}}"), "secret://pay/db".to_owned()),
            ("removed", format!("{{{secret},\"reason\":\"not-found\",{at}}}"), "secret://pay/db not-found".to_owned()),
            ("vault", format!("{{\"vault\":\"pay\",\"reachable\":true,{at}}}"), "pay reachable".to_owned()),
            (
                "vault",
                format!("{{\"vault\":\"pay\",\"reachable\":false,\"reason\":\"firewall\",{at}}}"),
                "pay unreachable: firewall".to_owned(),
            ),
        ] {
            assert_eq!(line(&event(kind, &data)), format!("2026-11-21T08:00:00Z {kind} {expected}"));
        }
        assert!(
            line(&event("resync", "{}"))
                .ends_with(" resync * something may have been missed: read anew what is watched")
        );
        assert!(line(&event("\u{1b}[31m", "x")).contains("\\u{1b}[31m"));
        let json = json_line(&event("added", &format!("{{{secret},\"later\":1,{at}}}")));
        assert!(json.starts_with("{\"event\":\"added\",\"id\":\"7-1\",") && json.contains("\"later\":1"), "{json}");
        assert_eq!(json_line(&event("resync", "{}")), "{\"event\":\"resync\",\"id\":\"7-1\"}");
    }

    #[test]
    fn waits_grow_within_bounds_and_differ() {
        let waits: Vec<_> = (0..40).map(|tries| wait(Some(1_000), tries)).collect();
        assert!(waits.iter().all(|wait| (Duration::from_millis(500)..=LONGEST_WAIT).contains(wait)), "{waits:?}");
        assert!(waits[0] <= Duration::from_secs(1) && waits[20] >= LONGEST_WAIT / 2, "{waits:?}");
        assert!(waits[20..].windows(2).any(|two| two[0] != two[1]));
    }
}
