//! The API's client: one way to ask for all commands, whether a sidecar answers over a socket or over TCP, or the same
//! routes do in this process (`--direct`). A failure becomes one or two lines here, once for all commands.

mod address;
mod events;
mod http;
mod problem;
mod trust;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;

pub(super) use address::Address;
pub(super) use events::{Parser, SentEvent};

use super::args::Connect;
use super::sidecar::{Need, Sidecar};
use super::terminal::tell;
use super::{Context, Exit, Failure};
use crate::api::model::Fault;
use crate::config::Config;
use crate::secret::{Pointer, Reference, Version};
use http::Http;
use trust::Trust;

/// Whoever answers.
#[derive(Debug)]
pub(super) struct Client(Way);

#[derive(Debug)]
enum Way {
    Http(Http),
    InProcess(Box<Sidecar>),
}

/// One GET, or, with something to send, one POST.
#[derive(Debug, Clone, Default)]
pub(super) struct Request<'a> {
    path: String,
    query: Vec<(&'static str, &'a str)>,
    json: bool,
    no_cache: bool,
    no_body: bool,
    behind: Option<HeaderValue>,
    sent: Option<Bytes>,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// May be a value: never printed but by `get`.
    pub(super) body: Bytes,
}

/// An answer that comes piece by piece.
pub(super) struct Stream(Pieces);

enum Pieces {
    Http(http::Pieces),
    InProcess(axum::body::BodyDataStream),
}

/// What stays as it is in one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

impl<'a> Request<'a> {
    /// A path of these segments under `/v1`, each encoded.
    pub(super) fn v1(segments: &[&str]) -> Self {
        let encoded: Vec<_> = segments.iter().map(|s| utf8_percent_encode(s, SEGMENT).to_string()).collect();
        Self { path: format!("/v1/{}", encoded.join("/")), ..Self::default() }
    }

    /// A path as it stands.
    pub(super) fn plain(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// The secret of that reference, as a value.
    pub(super) fn secret(reference: &'a Reference) -> Self {
        let name = reference.name.as_str();
        let version = reference.version.as_ref().map(Version::as_str);
        let request = match (&reference.vault, version) {
            (Some(vault), Some(version)) => Self::v1(&["vaults", vault.as_str(), "secrets", name, "versions", version]),
            (Some(vault), None) => Self::v1(&["vaults", vault.as_str(), "secrets", name]),
            (None, version) => Self::v1(&["secrets", name]).query("version", version),
        };
        request.query("field", reference.pointer.as_ref().map(Pointer::as_str))
    }

    /// Only whether there is something: then it is 304, and nothing of it leaves the sidecar.
    pub(super) fn without_body(self) -> Self {
        Self { no_body: true, ..self }
    }

    /// With a parameter, if it has a value.
    pub(super) fn query(mut self, name: &'static str, value: Option<&'a str>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    /// Asks for JSON.
    pub(super) fn json(self) -> Self {
        Self { json: true, ..self }
    }

    /// Asks for what is true now, whatever is held.
    pub(super) fn no_cache(self, no_cache: bool) -> Self {
        Self { no_cache, ..self }
    }

    /// Of a stream of events: goes on behind the one of that id.
    pub(super) fn behind(self, id: &str) -> Self {
        Self { behind: HeaderValue::from_str(id).ok().filter(|id| !id.is_empty()), ..self }
    }

    /// Sends that document.
    pub(super) fn send(self, document: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(document).expect("what is sent is plain data");
        Self { sent: Some(bytes.into()), ..self }
    }

    pub(super) fn method(&self) -> Method {
        if self.sent.is_some() { Method::POST } else { Method::GET }
    }

    pub(super) fn body(&self) -> Bytes {
        self.sent.clone().unwrap_or_default()
    }

    pub(super) fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            target.push_str(&format!("{mark}{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        target
    }

    pub(super) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let accept = if self.json { "application/json" } else { "*/*" };
        let mut headers = vec![(ACCEPT, HeaderValue::from_static(accept))];
        if self.sent.is_some() {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        if self.no_cache {
            headers.push((CACHE_CONTROL, HeaderValue::from_static("no-cache")));
        }
        if self.no_body {
            headers.push((IF_NONE_MATCH, HeaderValue::from_static("*")));
        }
        if let Some(id) = &self.behind {
            headers.push((HeaderName::from_static("last-event-id"), id.clone()));
        }
        headers
    }
}

impl Client {
    /// Finds whoever answers: the address that was given, else a sidecar at the default places, else, where there are
    /// credentials to sign in with, this process itself.
    pub(super) fn connect(context: &Context, connect: &Connect) -> Result<Self, Failure> {
        if connect.direct {
            return Ok(Self(Way::InProcess(Box::new(Sidecar::of_config(context)?))));
        }
        if let Some(running) = Self::running(context, connect)? {
            return Ok(running);
        }
        if Config::credentials_in(&context.vars) {
            tell("sidekey: no sidecar answers; signing in here with the credentials in the environment");
            return Ok(Self(Way::InProcess(Box::new(Sidecar::of_config(context)?))));
        }
        Self::to_running(context, connect)
    }

    /// The same without signing in here: only one that runs is meant.
    pub(super) fn to_running(context: &Context, connect: &Connect) -> Result<Self, Failure> {
        Self::running(context, connect)?.ok_or_else(|| {
            let places = address::default_places(&context.vars, context.uid);
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            Failure::new(
                Exit::Unavailable,
                format!(
                    "no sidecar answers at {}\nstart 'sidekey serve', say where it is with --addr, or sign in here with --direct",
                    places.join(" or ")
                ),
            )
        })
    }

    /// The sidecar that was named, else the first that answers.
    fn running(context: &Context, connect: &Connect) -> Result<Option<Self>, Failure> {
        let given = match (&connect.addr, context.vars.get("SIDEKEY_ADDR")) {
            (Some(addr), _) => Some((addr.as_str(), "--addr")),
            (None, Some(addr)) => Some((addr, "SIDEKEY_ADDR")),
            (None, None) => None,
        };
        if let Some((text, origin)) = given {
            let address = text.parse().map_err(|why| Failure::new(Exit::Usage, format!("{origin}: {why}")))?;
            return Self::to(context, connect, address).map(Some);
        }
        let places = address::default_places(&context.vars, context.uid);
        match address::first_that_answers(&places, context.uid) {
            Some(socket) => Self::to(context, connect, Address::Socket(socket)).map(Some),
            None => Ok(None),
        }
    }

    /// Waits, where this process is the sidecar, until that much is known. One that runs tells what it knows.
    pub(super) async fn prepare(&self, need: Need<'_>) {
        match &self.0 {
            Way::InProcess(sidecar) => sidecar.prepare(need).await,
            Way::Http(_) => {}
        }
    }

    fn to(context: &Context, connect: &Connect, address: Address) -> Result<Self, Failure> {
        let told = connect.token_file.as_deref();
        let file = match &address {
            // The token of a sidecar on this machine is no other's affair.
            Address::Tls(_) => {
                told.map(Path::to_owned).or_else(|| context.vars.get("SIDEKEY_TOKEN_FILE").map(PathBuf::from))
            }
            // On a socket the kernel says who asks; a token is a second factor there, and only some are asked for one.
            Address::Socket(_) => context.told_token_file(told),
            Address::Tcp(_) => context.token_file(told),
        };
        Ok(Self(Way::Http(Http::new(address, file.as_deref(), &Trust::of(context, connect))?)))
    }

    /// Whatever comes back.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        match &self.0 {
            Way::Http(http) => http.send(request).await,
            Way::InProcess(sidecar) => sidecar.send(request).await,
        }
    }

    /// A success, or the failure in words.
    pub(super) async fn get(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let answer = self.send(request).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(problem::failure(&answer)) }
    }

    /// A failure that came back, in words.
    pub(super) fn in_words(answer: &Answer) -> Failure {
        problem::failure(answer)
    }

    /// The same for one of several failures that came back together.
    pub(super) fn fault_in_words(fault: &Fault) -> Failure {
        problem::of_fault(fault)
    }

    /// Whether this process itself is the sidecar.
    pub(super) fn is_in_process(&self) -> bool {
        matches!(self.0, Way::InProcess(_))
    }

    /// A stream of events, or the failure in words.
    pub(super) async fn stream(&self, request: &Request<'_>) -> Result<Stream, Failure> {
        let (status, headers, mut stream) = match &self.0 {
            Way::Http(http) => {
                let (status, headers, pieces) = http.open(request).await?;
                (status, headers, Stream(Pieces::Http(pieces)))
            }
            Way::InProcess(sidecar) => {
                let (head, body) = sidecar.open(request).await?.into_parts();
                (head.status, head.headers, Stream(Pieces::InProcess(body.into_data_stream())))
            }
        };
        if !status.is_success() {
            return Err(problem::failure(&Answer { status, headers, body: stream.all().await? }));
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let what = "the sidecar's answer is no stream of events; is it of another version?";
            return Err(Failure::new(Exit::Unavailable, what));
        }
        Ok(stream)
    }

    /// A success as the document that it must be.
    pub(super) async fn document<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T, Failure> {
        let answer = self.get(request).await?;
        serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::new(Exit::Unavailable, "the sidecar's answer is not understood; is it of another version?")
        })
    }
}

impl Stream {
    /// What comes next; `None` at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        match &mut self.0 {
            Pieces::Http(pieces) => pieces.next().await,
            Pieces::InProcess(body) => match body.next().await {
                Some(Err(_)) => Err(Failure::new(Exit::Unavailable, "the stream broke off")),
                piece => Ok(piece.and_then(Result::ok)),
            },
        }
    }

    /// The whole of what is no stream.
    async fn all(&mut self) -> Result<Bytes, Failure> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}
