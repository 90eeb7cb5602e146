//! What a service answers, before faults are put into it and hyper sends it.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream::BoxStream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

/// An answer in parts that can still be changed.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Payload,
}

#[derive(Debug)]
pub(super) enum Payload {
    Empty,
    Json(Value),
    Text(String),
}

/// A body as hyper sends it; an error in it cuts the connection.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl Answer {
    pub(super) fn json(status: StatusCode, body: Value) -> Self {
        Self { status, headers: HeaderMap::new(), body: Payload::Json(body) }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), body: Payload::Text(body.into()) }
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Payload::Empty }
    }

    /// `{"error":{"code","message"}}`, as all of Azure's services but Entra answer.
    pub(super) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::json(status, json!({"error": {"code": code, "message": message.into()}}))
    }

    /// The same with `innererror`, by which refusals are told apart.
    pub(super) fn inner_error(status: StatusCode, code: &str, message: impl Into<String>, inner: &str) -> Self {
        let message = message.into();
        Self::json(status, json!({"error": {"code": code, "message": message, "innererror": {"code": inner}}}))
    }

    /// Adds a header; a value that cannot stand in one is left out.
    pub(super) fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The body's bytes and what they are.
    pub(super) fn bytes(&self) -> (Bytes, Option<&'static str>) {
        match &self.body {
            Payload::Empty => (Bytes::new(), None),
            Payload::Json(value) => (value.to_string().into(), Some("application/json; charset=utf-8")),
            Payload::Text(text) => (text.clone().into(), Some("text/plain; charset=utf-8")),
        }
    }

    /// As hyper sends it.
    pub(super) fn into_response(self) -> Response<Body> {
        let (bytes, _) = self.bytes();
        self.into_response_with(full(bytes))
    }

    /// The same head with another body.
    pub(super) fn into_response_with(self, body: Body) -> Response<Body> {
        let (_, content_type) = self.bytes();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(content_type) = content_type {
            response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        }
        response
    }
}

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(super) fn stream(chunks: BoxStream<'static, std::io::Result<Bytes>>) -> Body {
    use futures::StreamExt as _;
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}
