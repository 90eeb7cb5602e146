//! Who may knock at all, decided from the request's head alone, before any route is looked up.
//!
//! Loopback TCP is reachable by more than the apps meant: by a browser's page (CSRF, DNS rebinding), by an app that
//! fetches what its users name (SSRF), through a proxy that forwards too much. None of these can send what a local
//! caller sends: our own `Host`, no forwarding header, no browser's header, and the token. On the unix socket the kernel
//! says who is at the other end, so that no `Host` is asked for there. Over TLS the `Host` is a name in our certificate.
//! Where health and metrics alone are told, nothing else is, whoever asks. Who the caller is, is told by
//! [`crate::access`], and goes with the request to the routes.
//!
//! hyper checks none of this: it takes requests without `Host`, with two, and with another authority in the request
//! line. Must never happen: an answer that depends on what exists, before the caller has passed.

use std::sync::{Arc, LazyLock};

use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};

use super::head::{Field, Head, MoreThanOnce};
use super::listener::{CertificateNames, ServedAs};
use super::problem::{Code, Problem};
use super::routes;
pub use crate::access::Peer;
use crate::access::{Access, Caller, Evidence, Stranger, Visitor};
use crate::sparing::Sparing;

/// How a request came in. Put by the listener into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Through the unix socket, from a peer that the kernel vouches for; `None` where it told nothing.
    Unix(Option<Peer>),
    /// Over loopback TCP, at that port.
    Tcp {
        /// The port that was connected to.
        port: u16,
    },
    /// Over TLS, from anywhere.
    Tls {
        /// The port that was connected to.
        port: u16,
        /// The names in the client's certificate, if it has brought one: its authority vouches for them.
        certificate: Option<Arc<CertificateNames>>,
        /// What the connection was served with.
        served: ServedAs,
    },
    /// To where health and metrics are told, and nothing else.
    Metrics,
}

/// What a request must bring. A cheap handle.
#[derive(Debug, Clone)]
pub struct Guard {
    access: Access,
}

impl Connection {
    /// What it shows of who is at its other end.
    fn evidence(&self) -> Evidence {
        match self {
            Self::Unix(peer) => Evidence::Socket(peer.clone()),
            Self::Tls { certificate: Some(names), .. } => {
                Evidence::Certificate(names.dns.iter().chain(&names.uris).cloned().collect())
            }
            Self::Tcp { .. } | Self::Tls { certificate: None, .. } | Self::Metrics => Evidence::Tcp,
        }
    }
}

impl Guard {
    /// Callers are those that `access` knows; others are let in to nothing but the probes.
    #[must_use]
    pub fn new(access: impl Into<Access>) -> Self {
        Self { access: access.into() }
    }

    /// Who may do what, as it is in force.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Who may be at the other end of that connection.
    #[must_use]
    pub fn visitor(&self, connection: &Connection) -> Visitor {
        self.access.visitor(connection.evidence())
    }

    /// Whether nobody at the other end can ever be known, by whatever they send. Told in the log, sparingly.
    pub(super) fn turns_away(&self, connection: &Connection, visitor: &Visitor) -> bool {
        static TOLD: LazyLock<Sparing<()>> = LazyLock::new(Sparing::default);
        if matches!(connection, Connection::Metrics) || !visitor.is_hopeless() {
            return false;
        }
        if let (Connection::Unix(peer), Some(untold)) = (connection, TOLD.tell(())) {
            let (uid, gid) = (peer.as_ref().map(|peer| peer.uid), peer.as_ref().map(|peer| peer.gid));
            tracing::warn!(uid, gid, untold, "a connection was closed: no [[client]] fits its peer");
        }
        true
    }

    /// Whether it is a request that a caller of ours would send, whoever that is.
    ///
    /// # Errors
    /// `bad-host`, `forwarded`, `bad-query`, `method-not-allowed`.
    pub(super) fn knock(&self, request: &Parts, head: Head<'_>, connection: &Connection) -> Result<(), Problem> {
        let Parts { method, uri, headers, .. } = request;
        check_headers(headers)?;
        match method {
            &Method::CONNECT | &Method::TRACE | &Method::OPTIONS => {
                let detail = format!("{method} is served nowhere");
                return Err(Problem::new(Code::MethodNotAllowed, detail).allowing(methods(uri)));
            }
            _ => check_upgrade(head, uri)?,
        }
        check_body(method, head)?;
        match connection {
            Connection::Unix(_) => Ok(()),
            Connection::Tcp { port } => check_host(head, uri, |host| is_ours(host, *port))
                .map_err(|bad| bad.or(format!("Host must be 127.0.0.1:{port}, [::1]:{port} or localhost:{port}"))),
            Connection::Tls { port, served, .. } => {
                let is_ours = |host: &[u8]| {
                    let (name, told) = split_port(host, 443);
                    told == Some(*port) && std::str::from_utf8(name).is_ok_and(|name| served.is(name))
                };
                check_host(head, uri, is_ours)
                    .map_err(|bad| bad.or(format!("Host must be a name in the certificate, with the port {port}")))
            }
            Connection::Metrics => {
                check_host(head, uri, |_| true).map_err(|bad| bad.or(String::new()))?;
                check_public(method, uri)
            }
        }
    }

    /// Who asks, if it is somebody who may.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub(super) fn identify(
        &self,
        uri: &Uri,
        head: Head<'_>,
        connection: &Connection,
        visitor: &Visitor,
    ) -> Result<Caller, Problem> {
        match connection {
            // What else there is, is not served there.
            Connection::Metrics => return Ok(Caller::nobody()),
            Connection::Unix(_) | Connection::Tcp { .. } | Connection::Tls { .. } => {}
        }
        identify(head, uri, visitor)
    }
}

/// Who asks. Those who probe need not be known, whatever they send; of others, what is sent as a token and is none is
/// never passed over.
fn identify(head: Head<'_>, uri: &Uri, visitor: &Visitor) -> Result<Caller, Problem> {
    if is_probe(uri) {
        return Ok(visitor.caller(None).unwrap_or_else(|_| Caller::nobody()));
    }
    visitor.caller_with(|| token(head, uri).map_err(unauthenticated))
}

fn unauthenticated(detail: &'static str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}

impl From<Stranger> for Problem {
    fn from(stranger: Stranger) -> Self {
        unauthenticated(match stranger {
            Stranger::Unknown => "this needs the header Authorization: Bearer TOKEN",
            Stranger::WrongToken => "the token is not the one in the token file",
        })
    }
}

/// What is sent as a token, or what is wrong with it.
fn token<'h>(head: Head<'h>, uri: &Uri) -> Result<Option<&'h [u8]>, &'static str> {
    let only = match head.only(Field::Authorization) {
        Ok(None) => return Ok(None),
        Err(MoreThanOnce) => return Err("Authorization stands more than once"),
        Ok(Some(only)) => only.as_bytes(),
    };
    match bearer(only) {
        None if takes_bare_token(uri) => Ok(Some(only)),
        None => Err("Authorization must be: Bearer TOKEN"),
        token => Ok(token),
    }
}

/// What may be asked there: of the path alone, so that it tells nothing of what exists.
fn methods(uri: &Uri) -> &'static str {
    match routes::pattern(uri.path()) {
        "/v1/resolve" => "POST",
        "none" => "GET, HEAD, POST",
        _ => "GET, HEAD",
    }
}

/// Answered without a token: they tell one bit, and those who probe have no token. `?verbose` names vaults.
pub(super) fn is_probe(uri: &Uri) -> bool {
    matches!(uri.path(), "/livez" | "/readyz") && uri.query().is_none()
}

/// RFC 9110, 11.1: the scheme in any case, one or more spaces.
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked(6)?;
    let token = token.strip_prefix(b" ")?.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// Clients of AWS send what they were given as it is, and name no scheme.
fn takes_bare_token(uri: &Uri) -> bool {
    routes::pattern(uri.path()) == routes::AWS
}

/// Headers that proxies and browsers add, and no local caller does.
fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    for (name, value) in headers {
        if is_forwarding(name) {
            return Err(Problem::new(
                Code::Forwarded,
                format!("a request with {name} came through a proxy; only local callers are served"),
            ));
        }
        if is_from_browser(name, value.as_bytes()) {
            return Err(Problem::new(
                Code::BadHost,
                format!("a request with {name} came from a browser; only local programs are served"),
            ));
        }
    }
    Ok(())
}

fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes()[0] {
        b'x' => {
            name.starts_with("x-forwarded")
                || name.starts_with("x-original-")
                || name.starts_with("x-rewrite-")
                || matches!(name, "x-real-ip" | "x-client-ip" | "x-cluster-client-ip")
        }
        b'c' => name.starts_with("cf-"),
        b'f' => name.starts_with("forwarded"),
        b'v' => name == "via",
        b't' => name == "true-client-ip",
        _ => false,
    }
}

/// `Sec-Fetch-Mode: cors` alone is let through: Node's own `fetch` sends it, and no browser sends it without
/// `Sec-Fetch-Site` and `Sec-Fetch-Dest`.
fn is_from_browser(name: &HeaderName, value: &[u8]) -> bool {
    let name = name.as_str();
    match name.as_bytes()[0] {
        b'o' => name == "origin",
        b'r' => name == "referer",
        b's' => name.starts_with("sec-fetch-") && !(name == "sec-fetch-mode" && value == b"cors"),
        b'a' => name.starts_with("access-control-request-"),
        _ => false,
    }
}

/// An offer of HTTP/2 is passed over, as RFC 9110, 7.8 lets a server do: Java's own client makes it with every first
/// request. Any other upgrade is a WebSocket or worse.
fn check_upgrade(head: Head<'_>, uri: &Uri) -> Result<(), Problem> {
    match head.all(Field::Upgrade).find(|offer| !offer.as_bytes().eq_ignore_ascii_case(b"h2c")) {
        None => Ok(()),
        Some(_) => {
            let detail = "no protocol to upgrade to is served";
            Err(Problem::new(Code::MethodNotAllowed, detail).allowing(methods(uri)))
        }
    }
}

/// What is told to everybody: in it is no name of a secret.
fn check_public(method: &Method, uri: &Uri) -> Result<(), Problem> {
    if !matches!(uri.path(), "/livez" | "/readyz" | "/metrics") || uri.query().is_some() {
        return Err(Problem::new(Code::NotFound, "only /livez, /readyz and /metrics are served here"));
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let detail = format!("{method} is not served at this path");
        return Err(Problem::new(Code::MethodNotAllowed, detail).allowing("GET, HEAD"));
    }
    Ok(())
}

/// What is wrong with a `Host`.
enum BadHost {
    /// It is none, or two, or malformed.
    None(&'static str),
    /// It is another's.
    NotOurs,
    /// The request line names another.
    Differs,
}

impl BadHost {
    fn or(self, ours: String) -> Problem {
        match self {
            Self::None(detail) => Problem::new(Code::BadHost, detail),
            Self::NotOurs => Problem::misdirected(ours),
            Self::Differs => Problem::misdirected("the request line names another host than Host does"),
        }
    }
}

/// Exactly one `Host`, and it is ours; an authority in the request line says the same.
fn check_host(head: Head<'_>, uri: &Uri, is_ours: impl Fn(&[u8]) -> bool) -> Result<(), BadHost> {
    let host = match head.only(Field::Host) {
        Ok(None) => return Err(BadHost::None("there is no Host header")),
        Err(MoreThanOnce) => return Err(BadHost::None("Host stands more than once")),
        Ok(Some(only)) => only.as_bytes(),
    };
    if host.is_empty() || !host.iter().all(u8::is_ascii_graphic) || host.contains(&b'@') {
        return Err(BadHost::None("Host is no host and port"));
    }
    if !is_ours(host) {
        return Err(BadHost::NotOurs);
    }
    match uri.authority() {
        Some(authority) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) => Err(BadHost::Differs),
        Some(_) | None => Ok(()),
    }
}

fn is_ours(host: &[u8], port: u16) -> bool {
    let (name, told) = split_port(host, 80);
    told == Some(port) && (name == b"127.0.0.1" || name == b"[::1]" || name.eq_ignore_ascii_case(b"localhost"))
}

/// The host, and its port: that one if it has none, `None` if it is no port.
fn split_port(host: &[u8], usual: u16) -> (&[u8], Option<u16>) {
    let (name, told) = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !host.ends_with(b"]") => (&host[..colon], Some(&host[colon + 1..])),
        Some(_) | None => (host, None),
    };
    let told = match told {
        None => Some(usual),
        Some(digits) if !digits.starts_with(b"0") => std::str::from_utf8(digits)
            .ok()
            .filter(|digits| !digits.starts_with('+'))
            .and_then(|digits| digits.parse().ok()),
        Some(_) => None,
    };
    (name, told)
}

/// A body where none is read, and one that is told in two ways, have no use but to have us and another see different
/// requests. hyper takes `Transfer-Encoding` with `Content-Length`, reads the body as the former tells, and ends the
/// connection after it; what is not `chunked` alone it would give on undecoded.
fn check_body(method: &Method, head: Head<'_>) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(Code::BadQuery, detail));
    let Ok(coding) = head.only(Field::TransferEncoding) else {
        return refused("Transfer-Encoding stands more than once");
    };
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return refused("Transfer-Encoding may be chunked, and nothing else");
    }
    let length = head.all(Field::ContentLength).any(|length| length.as_bytes() != b"0");
    if method != Method::POST && (length || coding.is_some()) {
        return refused("only a POST may have a body");
    }
    Ok(())
}
