//! The routes that give values. This is the only place of the API where they leave, with `resolve` beside it.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::access::Caller;
use crate::access::audit::{Line, Operation, Recorded};
use crate::api::State;
use crate::api::freshness::{age, cache_status, is_held_by_caller, steer};
use crate::api::head::{Head, Met};
use crate::api::model::{Attributes, SecretDocument, Value, Withheld};
use crate::api::negotiate::{Form, form};
#[cfg(test)]
use crate::api::openapi;
use crate::api::outgoing::Outgoing;
use crate::api::path::{bad_parameter, parameters, part, parts};
use crate::api::problem::{Code, Problem};
use crate::api::trail::{self, Trail};
use crate::broker::{Ask, Reading, view};
use crate::catalog::Unanswered;
use crate::clock::Moment;
use crate::secret::{Pointer, Reference, Version};

/// The vault that answered.
const VAULT: HeaderName = HeaderName::from_static("sidekey-vault");
/// The vaults that could not be asked whether they hold it too.
const INCOMPLETE: HeaderName = HeaderName::from_static("sidekey-incomplete");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The secret of that name, whichever vault holds it.
#[cfg_attr(
    test,
    utoipa::path(
        get,
        path = "/v1/secrets/{name}",
        tag = "secrets",
        responses(openapi::ValueResponses),
        params(openapi::NamePart, openapi::ViewParameters, openapi::VersionParameter, openapi::FreshnessHeaders)
    )
)]
pub(super) async fn anywhere(
    state: extract::State<State>,
    trail: Trail,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    routed(&state, &trail, &caller, &uri, &headers).await
}

/// The current version of a secret in a vault.
#[cfg_attr(
    test,
    utoipa::path(
        get,
        path = "/v1/vaults/{vault}/secrets/{name}",
        tag = "secrets",
        responses(openapi::ValueResponses),
        params(openapi::VaultPart, openapi::NamePart, openapi::ViewParameters, openapi::FreshnessHeaders)
    )
)]
pub(super) async fn current(
    state: extract::State<State>,
    trail: Trail,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    routed(&state, &trail, &caller, &uri, &headers).await
}

/// One version of a secret in a vault.
#[cfg_attr(
    test,
    utoipa::path(
        get,
        path = "/v1/vaults/{vault}/secrets/{name}/versions/{version}",
        tag = "secrets",
        responses(openapi::ValueResponses),
        params(
            openapi::VaultPart,
            openapi::NamePart,
            openapi::VersionPart,
            openapi::ViewParameters,
            openapi::FreshnessHeaders
        )
    )
)]
pub(super) async fn version(
    state: extract::State<State>,
    trail: Trail,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    routed(&state, &trail, &caller, &uri, &headers).await
}

async fn routed(
    state: &State,
    trail: &Trail,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    // The router's patterns are those of Place, but that it takes nothing for a name: `/v1/vaults//secrets/db`.
    let place = Place::of(uri.path()).ok_or_else(|| super::unserved(uri.path()))?;
    get(state, trail, caller, &place, uri.query(), Head::of(headers)).await.map(|response| response.map(Body::from))
}

/// Where a path of these routes leads, still as it was written.
pub(in crate::api) struct Place<'p> {
    pub(in crate::api) vault: Option<&'p str>,
    pub(in crate::api) name: &'p str,
    pub(in crate::api) version: Option<&'p str>,
}

impl<'p> Place<'p> {
    /// `None` if it is no path of these routes.
    pub(in crate::api) fn of(path: &'p str) -> Option<Self> {
        let mut parts = parts(path.strip_prefix("/v1/")?);
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let place = match part()? {
            "secrets" => Self { vault: None, name: part()?, version: None },
            "vaults" => {
                let vault = Some(part()?);
                part().filter(|word| *word == "secrets")?;
                let name = part()?;
                match parts.next() {
                    None => Self { vault, name, version: None },
                    Some("versions") => {
                        let version = Some(parts.next().filter(|part| !part.is_empty())?);
                        Self { vault, name, version }
                    }
                    Some(_) => return None,
                }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(place)
    }

    /// The route's pattern.
    pub(in crate::api) fn pattern(&self) -> &'static str {
        match (self.vault, self.version) {
            (None, _) => "/v1/secrets/{name}",
            (Some(_), None) => "/v1/vaults/{vault}/secrets/{name}",
            (Some(_), Some(_)) => "/v1/vaults/{vault}/secrets/{name}/versions/{version}",
        }
    }
}

/// A value that is asked for, as its request has it.
pub(in crate::api) struct Wanted<'p> {
    pub(in crate::api) place: Place<'p>,
    pub(in crate::api) query: Option<&'p str>,
    pub(in crate::api) met: Met,
    /// When the request was complete.
    pub(in crate::api) at: Moment,
}

/// The value at that place: parse, ask, record, answer.
pub(in crate::api) async fn get(
    state: &State,
    trail: &Trail,
    caller: &Caller,
    place: &Place<'_>,
    query: Option<&str>,
    head: Head<'_>,
) -> Result<Response<Outgoing>, Problem> {
    let audit = state.audit();
    let (ask, view) = match parse(place, query, head) {
        Ok(parsed) => parsed,
        Err(problem) => return Err(trail.refuse(audit, trail.line(Operation::Read), problem).await),
    };
    let line = trail.line_of(Operation::Read, &ask);
    match find(state, caller, &ask, &view, head).await {
        Err(problem) => Err(trail.refuse(audit, line, problem).await),
        Ok(found) => {
            let recorded = trail.record(audit, &found.line(&line)).await?;
            Ok(found.answer(&view, recorded, HeaderMap::new()))
        }
    }
}

/// The same, where nothing is to be waited for: the value is held and wanted whole, as it is, and so is most of what is
/// asked. The answer's headers stand in the room of the request's. `None`: nothing was done, and [`get`] tells what there is
/// to tell.
pub(in crate::api) fn get_at_once(
    state: &State,
    trail: &Trail,
    caller: &Caller,
    Wanted { place, query, met, at }: Wanted<'_>,
    headers: &mut HeaderMap,
) -> Option<Response<Outgoing>> {
    let head = met.within(headers);
    if query.is_some() || form(head).ok()? != Form::Raw {
        return None;
    }
    // Before the read is counted: from there on nothing may keep it from being answered.
    let audit = state.audit().unawaited()?;
    let (ask, view) = parse(&place, query, head).ok()?;
    let reading = state.within(caller).at_once(&ask, at)?;
    let found = Found::of(reading, &view, Form::Raw, head).ok()?;
    let recorded = audit.record(&found.line(&trail.line_of(Operation::Read, &ask)));
    Some(found.answer(&view, recorded, std::mem::take(headers)))
}

fn parse(place: &Place<'_>, query: Option<&str>, head: Head<'_>) -> Result<(Ask, View), Problem> {
    let vault = place.vault.map(part).transpose()?;
    let name = part(place.name)?;
    let (view, mut version) = View::parse(query, place.vault.is_none())?;
    if let Some(told) = place.version {
        version = Some(part(told)?);
    }
    Ok((Ask { vault, name, version, steer: steer(head) }, view))
}

/// Which part of a value is asked for.
#[derive(Default)]
enum View {
    #[default]
    Whole,
    Field(Pointer),
    Pem,
}

impl View {
    /// From the query, with the version where the route takes one there.
    fn parse(query: Option<&str>, versioned: bool) -> Result<(Self, Option<Version>), Problem> {
        let (mut view, mut version) = (Self::Whole, None);
        for (name, value) in parameters(query)? {
            match (&*name, &view) {
                ("field", Self::Whole) => {
                    let pointer = value.parse();
                    view = Self::Field(pointer.map_err(|_| {
                        Problem::new(
                            Code::BadReference,
                            "the parameter `field` is not a JSON pointer: it must start with '/'",
                        )
                    })?);
                }
                ("format", Self::Whole) if value == "pem" => view = Self::Pem,
                ("format", Self::Whole) => return Err(bad_parameter("format", "must be pem")),
                ("field", _) => return Err(bad_parameter("field", "cannot stand beside `format`")),
                ("format", _) => return Err(bad_parameter("format", "cannot stand beside `field`")),
                ("version", _) if versioned => {
                    let parsed = value.parse();
                    version = Some(parsed.map_err(|error| {
                        Problem::new(Code::BadReference, format!("the parameter `version`: {error}"))
                    })?);
                }
                _ => return Err(bad_parameter(&name, "is not known here")),
            }
        }
        Ok((view, version))
    }

    fn of(&self, reading: &Reading) -> Result<Withheld, Problem> {
        Ok(match self {
            Self::Whole => Withheld::from(Arc::clone(&reading.secret)),
            Self::Field(pointer) => view::field(&reading.secret, pointer).map_err(crate::broker::Error::from)?.into(),
            Self::Pem => view::pem(&reading.secret).map_err(crate::broker::Error::from)?.into(),
        })
    }
}

/// All that an answer is made of.
struct Found {
    reading: Reading,
    value: Withheld,
    /// Where they are told too.
    attributes: Option<Attributes>,
    etag: Option<String>,
    is_held_by_caller: bool,
}

async fn find(state: &State, caller: &Caller, ask: &Ask, view: &View, head: Head<'_>) -> Result<Found, Problem> {
    let form = form(head)?;
    Found::of(state.within(caller).get(ask).await?, view, form, head)
}

impl Found {
    fn of(reading: Reading, view: &View, form: Form, head: Head<'_>) -> Result<Self, Problem> {
        let value = view.of(&reading)?;
        let attributes = match form {
            Form::Raw => None,
            Form::Json if value.is_text() => Some(Attributes::from(&reading.secret.metadata)),
            Form::Json => {
                let detail = "the value is no text, which JSON cannot carry; accept application/octet-stream instead";
                return Err(Problem::new(Code::NotAcceptable, detail));
            }
        };
        let etag = etag(&reading, view, attributes.as_ref());
        let is_held_by_caller = etag.as_ref().is_some_and(|etag| is_held_by_caller(head, etag));
        Ok(Self { reading, value, attributes, etag, is_held_by_caller })
    }

    /// The line about what was asked for, and what became of it.
    fn line<'a>(&'a self, asked: &Line<'a>) -> Line<'a> {
        let outcome = if self.is_held_by_caller { "not-modified" } else { trail::OK };
        Line { vault: Some(&self.reading.vault), outcome, served: Some(trail::served(&self.reading)), ..*asked }
    }

    /// `room`: a map that nobody needs any more, whose room is used again.
    fn answer(self, view: &View, recorded: Recorded, mut room: HeaderMap) -> Response<Outgoing> {
        let Self { reading, value, attributes, etag, is_held_by_caller } = self;
        room.clear();
        let out = &mut room;
        let mut status = StatusCode::OK;
        let body = match attributes {
            _ if is_held_by_caller => {
                status = StatusCode::NOT_MODIFIED;
                Outgoing::Value(None)
            }
            None => raw(&value.release(recorded), out),
            Some(attributes) => json(&reading, view, value.release(recorded), attributes, out),
        };
        if let Some(etag) = etag {
            out.insert(
                header::ETAG,
                HeaderValue::from_maybe_shared(Bytes::from(etag)).expect("hexadecimal digits and words"),
            );
        }
        out.insert(header::AGE, age(reading.age));
        out.insert(CACHE_STATUS, cache_status(&reading));
        out.insert(VAULT, HeaderValue::from_str(reading.vault.as_str()).expect("a vault's name is ASCII"));
        if !reading.incomplete.is_empty() {
            out.insert(INCOMPLETE, incomplete(&reading.incomplete));
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = room;
        response
    }
}

/// The value and not one byte more. Text is UTF-8; what is not is told as bytes rather than as broken text.
fn raw(value: &Value, out: &mut HeaderMap) -> Outgoing {
    let value = value.expose();
    let is_text = std::str::from_utf8(&value).is_ok();
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    value.into()
}

fn json(reading: &Reading, view: &View, value: Value, attributes: Attributes, out: &mut HeaderMap) -> Outgoing {
    let pointer = match view {
        View::Field(pointer) => Some(pointer.clone()),
        View::Whole | View::Pem => None,
    };
    // Large enough as a rule, so that no unwiped copy is left behind by growing.
    let mut body = Zeroizing::new(Vec::with_capacity(2 * value.len() + 2_048));
    let document = SecretDocument {
        vault: reading.vault.clone(),
        name: reading.secret.metadata.name.clone(),
        version: reading.secret.metadata.version.clone(),
        value,
        attributes,
        reference: Reference { pointer, ..reading.reference() },
    };
    serde_json::to_writer(&mut *body, &document).expect("the value is text, and all else is plain data");
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Outgoing::Routed(Body::from(Bytes::from_owner(body)))
}

/// The version, with a mark for every other view of it: representations that differ never share a tag (RFC 9110, 8.8.1).
/// The JSON document tells attributes too, which move without a new version, so that its mark is made of them.
fn etag(reading: &Reading, view: &View, attributes: Option<&Attributes>) -> Option<String> {
    let version = reading.secret.metadata.version.as_ref()?.as_str();
    let mut tag = String::with_capacity(version.len() + 2);
    tag.push('"');
    tag.push_str(version);
    match view {
        View::Whole => {}
        View::Field(pointer) => push_mark(&mut tag, "f", pointer.as_str().as_bytes()),
        View::Pem => tag.push_str("-pem"),
    }
    if let Some(attributes) = attributes {
        let text = serde_json::to_vec(&(&reading.vault, attributes)).expect("attributes are plain data");
        push_mark(&mut tag, "json", &text);
    }
    tag.push('"');
    Some(tag)
}

fn push_mark(tag: &mut String, kind: &str, of: &[u8]) {
    let hash = digest(&SHA256, of);
    let _ = write!(tag, "-{kind}");
    for byte in &hash.as_ref()[..6] {
        let _ = write!(tag, "{byte:02x}");
    }
}

/// `hr-prod;reason=firewall, prod:*;reason=timed-out`: a vault, or all that a source's discovery may have missed.
fn incomplete(unanswered: &[Unanswered]) -> HeaderValue {
    let one = |unanswered: &Unanswered| match &unanswered.vault {
        Some(vault) => format!("{vault};reason={}", unanswered.reason),
        None => format!("{}:*;reason={}", unanswered.source, unanswered.reason),
    };
    let all: Vec<_> = unanswered.iter().map(one).collect();
    HeaderValue::from_str(&all.join(", ")).expect("names and words are ASCII")
}
