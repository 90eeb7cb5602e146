//! A request as the services look at it: host, decoded path and query, bearer, body.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

/// More than any request of a client has: a secret is at most 25 KB.
const MOST: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Lower case, without the port.
    pub(super) host: String,
    /// As the `Host` header told it; 443 where it told none.
    pub(super) port: u16,
    /// The path's segments, decoded; a slash at the end is not one.
    pub(super) path: Vec<String>,
    /// Names and values decoded: some clients encode the names too. Names in lower case, as Azure ignores it.
    query: HashMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// Reads a request whole; the error is what to tell a client whose request cannot be read.
    pub(super) async fn read(request: hyper::Request<Incoming>) -> Result<Self, String> {
        let (head, body) = request.into_parts();
        let authority = match head.uri.authority() {
            Some(authority) => authority.as_str().to_owned(),
            None => head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned(),
        };
        let (host, port) = split_authority(&authority);
        let body =
            Limited::new(body, MOST).collect().await.map_err(|error| format!("cannot read the body: {error}"))?;
        let path = head.uri.path().split('/').skip(1);
        let mut path: Vec<_> =
            path.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect();
        if path.last().is_some_and(String::is_empty) {
            path.pop();
        }
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        Ok(Self {
            method: head.method,
            host,
            port,
            path,
            query: query.map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned())).collect(),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// The path's segments, to be matched.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// A query parameter by its name in lower case.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The bearer token; an `Authorization` of another kind is none.
    pub(super) fn bearer(&self) -> Option<&str> {
        let value = self.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    pub(super) fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// Host and port as the client sees them: the port is left out where it is HTTPS's own.
    pub(super) fn origin(&self) -> String {
        if self.port == 443 { format!("https://{}", self.host) } else { format!("https://{}:{}", self.host, self.port) }
    }
}

fn split_authority(authority: &str) -> (String, u16) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().unwrap_or(443))
        }
        Some(_) | None => (authority, 443),
    };
    (host.trim_end_matches('.').to_ascii_lowercase(), port)
}
