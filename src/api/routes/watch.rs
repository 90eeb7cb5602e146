//! What changes, as Server-Sent Events. Never values.
//!
//! A stream is an answer that never ends by itself: it ends when its reader goes, does not take what it is told, the
//! server is told to stop, or the configuration has changed. It tells no more than where it stands until something happens, so that silence costs nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use tokio::time::timeout;

use crate::access::Caller;
use crate::access::audit::{Line, Operation, Searched};
use crate::api::State;
use crate::api::model::WatchEvent;
#[cfg(test)]
use crate::api::openapi;
use crate::api::path::{bad_parameter, pairs};
use crate::api::problem::{Code, Problem};
use crate::api::trail::Trail;
use crate::broker::{self, BadEventId, EventId, Filter, Told, Watch, Within};
use crate::catalog::Pattern;

/// After that long without an event a stream says that it lives, and where it stands.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a reader should come back whose stream has ended.
const RETRY: Duration = Duration::from_secs(2);
/// Patterns of one stream.
const MOST: usize = 100;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What changes, as it happens: `changed`, `added`, `removed` and `disabled` secrets, and each `vault` that goes out of
/// reach or comes back.
///
/// A change of a value that is held is told when reads give the new one. With the `Last-Event-ID` of an event the stream
/// goes on from there; `resync` tells that something may have been missed, so that what is watched must be read anew.
/// Blocks without data carry an id to go on from, and show that the stream lives, every 15 s at least.
#[cfg_attr(test, utoipa::path(get, path = "/v1/watch", tag = "catalog", params(openapi::WatchParameters, openapi::ResumeHeader), responses(
    (status = 200, description = "The events, without an end", body = WatchEvent, content_type = "text/event-stream",
        example = "event: changed\nid: 5f0c1a2b9d3e4f60-7\ndata: {\"vault\":\"pay-prod\",\"name\":\"db-password\",\"reference\":\"secret://pay-prod/db-password\",\"version\":\"0b31729e2750416caba40429a1f3bea4\",\"at\":\"2026-11-21T08:00:00Z\"}\n\n"),
    openapi::WatchResponses
)))]
pub(super) async fn watch(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = filter(uri.query());
    let asked = filter.as_ref().map(asked_for).unwrap_or_default();
    let watch = filter.and_then(|filter| watched(&state.within(&caller), filter, &headers));
    let searched = Searched { text: &asked, matching: None, hits: None };
    let line = Line { searched: Some(searched), ..trail.line(Operation::Watch) };
    let watch = trail.settle(state.audit(), line, watch).await?;
    Ok(Sse::new(events(watch)).into_response())
}

/// What is watched, as one text.
fn asked_for(filter: &Filter) -> String {
    filter.patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn watched(within: &Within<'_>, filter: Filter, headers: &HeaderMap) -> Result<Watch, Problem> {
    for pattern in &filter.patterns {
        if !within.may_watch(pattern) {
            return Err(broker::Error::Forbidden.into());
        }
        // A stream that is silent because of a typing error would be silent for ever.
        if let Some(vault) = pattern.vault()
            && within.is_unknown(&vault)
        {
            return Err(broker::Error::UnknownVault { vault }.into());
        }
    }
    within.watch(filter, last_event_id(headers)).map_err(|error| match error {
        broker::Error::Overloaded => Problem::new(Code::Overloaded, "too many streams of events are open"),
        other => other.into(),
    })
}

fn filter(query: Option<&str>) -> Result<Filter, Problem> {
    let mut patterns = Vec::new();
    for (name, value) in pairs(query)? {
        if name != "ref" {
            return Err(bad_parameter(&name, "is not known here"));
        }
        if patterns.len() == MOST {
            return Err(bad_parameter("ref", &format!("is told more than {MOST} times")));
        }
        let pattern =
            Pattern::parse_lenient(&value).map_err(|error| bad_parameter("ref", &format!("is no pattern: {error}")))?;
        patterns.push(pattern);
    }
    Ok(Filter { patterns })
}

/// Where to go on. What is no id of ours is one that nobody knows, not a fault of the reader: it sends what it was told,
/// perhaps by another version.
fn last_event_id(headers: &HeaderMap) -> Option<Result<EventId, BadEventId>> {
    let mut all = headers.get_all(LAST_EVENT_ID).iter();
    let only = match (all.next()?, all.next()) {
        (only, None) => only.to_str().unwrap_or_default(),
        (_, Some(_)) => "",
    };
    Some(only.parse())
}

fn events(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    // First where it stands, so that who is cut off before anything happened can go on from there too.
    let opening = Event::default().retry(RETRY).id(watch.id().to_string());
    let later = stream::unfold(watch, |mut watch| async {
        let event = match timeout(HEARTBEAT, watch.next()).await {
            Ok(Told::Event(id, event)) => {
                let data = serde_json::to_string(&WatchEvent::from(&*event)).expect("an event is plain data");
                Event::default().event(event.kind.as_str()).id(id.to_string()).data(data)
            }
            Ok(Told::Resync(id)) => Event::default().event("resync").id(id.to_string()).data("{}"),
            Err(_) => Event::default().comment("").id(watch.id().to_string()),
        };
        Some((Ok(event), watch))
    });
    stream::iter([Ok(opening)]).chain(later)
}
