//! Putting a fault into an answer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};
use futures::StreamExt as _;
use futures::stream;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::answer::{self, Answer, Body, Payload};
use super::fault::{Effect, Respond};
use super::request::Request;
use super::server::Cut;

const CHUNK: usize = 64 * 1024;

/// The answer as it is, or as the fault leaves it. An error ends the connection.
pub(super) async fn apply(
    effect: Option<Effect>,
    answer: impl FnOnce() -> Answer,
    request: &Request,
    cut: &Cut,
) -> io::Result<Response<Body>> {
    let Some(effect) = effect else { return Ok(answer().into_response()) };
    match effect {
        Effect::Respond(respond) => Ok(self::respond(respond).into_response()),
        Effect::DelayMs(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(answer().into_response())
        }
        Effect::Hang => std::future::pending().await,
        Effect::Reset => {
            cut.cut();
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Effect::Truncate => Ok(truncated(answer())),
        Effect::ShortLength => Ok(short(answer())),
        Effect::DripMs(ms) => Ok(dripping(answer(), Duration::from_millis(ms))),
        Effect::Garbage => Ok(json_of("{\"value\": \u{0}<html>Service Unavailable".into())),
        Effect::WrongId(name) => {
            let mut answer = answer();
            if let Payload::Json(body) = &mut answer.body {
                mislead(body, &name);
            }
            Ok(answer.into_response())
        }
        Effect::Swap(body) => Ok(Answer::ok(body).into_response()),
        Effect::HugeBytes(bytes) => Ok(huge(bytes)),
        Effect::GzipBombMb(mb) => Ok(bomb(mb)),
        Effect::Redirect(to) => Ok(Answer::empty(StatusCode::FOUND).with("location", to).into_response()),
        Effect::NextLink(link) => {
            let mut answer = answer();
            if let Payload::Json(Value::Object(body)) = &mut answer.body {
                body.insert("nextLink".to_owned(), Value::String(link));
            }
            Ok(answer.into_response())
        }
        Effect::Challenge(resource) => {
            let challenge = format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{}\", resource=\"{resource}\"",
                super::uuid(&[0; 16])
            );
            let answer = Answer::error(StatusCode::UNAUTHORIZED, "Unauthorized", format!("for {}", request.host));
            Ok(answer.with("www-authenticate", challenge).into_response())
        }
    }
}

fn respond(respond: Respond) -> Answer {
    let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let code = respond.code.unwrap_or_else(|| reason.replace(' ', ""));
    let message = respond.message.unwrap_or_else(|| reason.to_owned());
    let answer = match (respond.body, respond.innererror) {
        (Some(body), _) => Answer::text(status, body),
        (None, Some(inner)) => Answer::inner_error(status, &code, message, &inner),
        (None, None) => Answer::error(status, &code, message),
    };
    match respond.retry_after {
        Some(after) => answer.with("retry-after", after),
        None => answer,
    }
}

/// Promises the whole length, gives half.
fn truncated(answer: Answer) -> Response<Body> {
    let (bytes, _) = answer.bytes();
    let half = bytes.slice(..bytes.len() / 2);
    let chunks = stream::iter([Ok(half), Err(io::ErrorKind::ConnectionAborted.into())]);
    let mut response = answer.into_response_with(answer::stream(chunks.boxed()));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    response
}

/// Promises half, and gives that.
fn short(answer: Answer) -> Response<Body> {
    let (bytes, _) = answer.bytes();
    let length = bytes.len() / 2;
    let whole = stream::iter([Ok(bytes)]);
    let mut response = answer.into_response_with(answer::stream(whole.boxed()));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn dripping(answer: Answer, pause: Duration) -> Response<Body> {
    let (bytes, _) = answer.bytes();
    let length = bytes.len();
    let drops = stream::iter(0..length).then(move |at| {
        let byte = bytes.slice(at..=at);
        async move {
            tokio::time::sleep(pause).await;
            Ok(byte)
        }
    });
    let mut response = answer.into_response_with(answer::stream(drops.boxed()));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn huge(bytes: u64) -> Response<Body> {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let count = bytes / CHUNK as u64 + 1;
    let head = stream::iter([Ok(Bytes::from_static(b"{\"value\":\""))]);
    let middle = stream::iter(0..count).map(move |_| Ok(chunk.clone()));
    let tail = stream::iter([Ok(Bytes::from_static(b"\"}"))]);
    json(answer::stream(head.chain(middle).chain(tail).boxed()))
}

/// Made while it is sent: the same packed megabyte again and again, so that it costs the sender nothing either.
fn bomb(mb: u32) -> Response<Body> {
    let [start, middle, end] = [b"{\"value\":\"".to_vec(), vec![b'0'; 1024 * 1024], b"\"}".to_vec()];
    let mut check = Crc::new();
    check.update(&start);
    let mut one = Crc::new();
    one.update(&middle);
    for _ in 0..mb {
        check.combine(&one);
    }
    check.update(&end);
    // RFC 1952: magic, deflate, no flags, no time, smallest, unknown system.
    let head = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255][..], &packed(&start, FlushCompress::Full)].concat();
    let middle = Bytes::from(packed(&middle, FlushCompress::Full));
    let tail =
        [&packed(&end, FlushCompress::Finish)[..], &check.sum().to_le_bytes(), &check.amount().to_le_bytes()].concat();
    let chunks = stream::iter([Bytes::from(head)])
        .chain(stream::iter(0..mb).map(move |_| middle.clone()))
        .chain(stream::iter([Bytes::from(tail)]));
    let mut response = json(answer::stream(chunks.map(Ok).boxed()));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

/// A piece of a deflate stream that refers to nothing before it.
fn packed(bytes: &[u8], end: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 100 + 256);
    Compress::new(Compression::best(), false)
        .compress_vec(bytes, &mut out, end)
        .expect("the compressor takes any bytes, and there is room");
    out
}

fn json_of(text: String) -> Response<Body> {
    json(answer::full(text.into()))
}

fn json(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Gives every id in a body the name of another secret.
fn mislead(body: &mut Value, name: &str) {
    match body {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(id) if key == "id" => *id = misled(id, name),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
                    Value::Array(_) | Value::Object(_) => mislead(value, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mislead(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn misled(id: &str, name: &str) -> String {
    let Some((origin, rest)) = id.split_once("/secrets/") else { return id.to_owned() };
    match rest.split_once('/') {
        Some((_, version)) => format!("{origin}/secrets/{name}/{}", version.chars().rev().collect::<String>()),
        None => format!("{origin}/secrets/{name}"),
    }
}
