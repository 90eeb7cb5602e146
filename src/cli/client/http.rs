//! The API over a unix socket, loopback TCP, or TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::{sleep, timeout};

use super::trust::Trust;
use super::{Address, Answer, Request};
use crate::api::{Token, TokenError};
use crate::cli::{Exit, Failure};

/// Longer than the longest read that a sidecar allows itself.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(3);

/// A sidecar that has no place at this moment, amid a flood say, closes upon whoever comes, and may have one in the next: milliseconds.
const PAUSES: [u64; 4] = [25, 50, 100, 200];

/// Of a stream: as long as it likes.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What comes of an answer after its head.
#[derive(Debug)]
pub(super) struct Pieces {
    answer: Response,
    address: Address,
}

/// One sidecar's address with what it asks of callers.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    address: Address,
}

impl Http {
    /// A client for that address, which sends the token in that file.
    pub(super) fn new(address: Address, token: Option<&Path>, trust: &Trust) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE);
        builder = match &address {
            Address::Tls(_) => trust.give(builder)?,
            // Nothing here speaks TLS: the system's certificates need not be read.
            Address::Socket(_) | Address::Tcp(_) => builder.tls_certs_only([]),
        };
        if let Address::Socket(path) = &address {
            builder = builder.unix_socket(PathBuf::clone(path));
        }
        if let Some(file) = token {
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer(file)?)]));
        }
        let client = builder.build().map_err(|_| Failure::new(Exit::Unavailable, "the HTTP client cannot be made"))?;
        Ok(Self { client, address })
    }

    /// The whole answer.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let answer = self.begin(|| self.request(request)).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status, headers, body })
    }

    /// The head of an answer, and what then comes without a limit of time.
    pub(super) async fn open(&self, request: &Request<'_>) -> Result<(StatusCode, HeaderMap, Pieces), Failure> {
        let answer = match timeout(PATIENCE, self.begin(|| self.request(request).timeout(FOR_EVER))).await {
            Ok(answer) => answer?,
            Err(_) => {
                let what = format!("the sidecar at {} did not answer in time", self.address);
                return Err(Failure::new(Exit::Unavailable, what));
            }
        };
        Ok((answer.status(), answer.headers().clone(), Pieces { answer, address: self.address.clone() }))
    }

    /// The head of an answer. Whoever is closed upon without one asks again: all that is asked here may be asked twice.
    async fn begin(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, Failure> {
        for pause in PAUSES {
            match request().send().await {
                Err(error) if is_turned_away(&error) => sleep(Duration::from_millis(pause)).await,
                answer => return answer.map_err(|error| self.unreachable(&error)),
            }
        }
        request().send().await.map_err(|error| self.unreachable(&error))
    }

    fn request(&self, request: &Request<'_>) -> RequestBuilder {
        let origin = match &self.address {
            Address::Socket(_) => "http://localhost".to_owned(),
            Address::Tcp(address) => format!("http://{address}"),
            Address::Tls(authority) => format!("https://{authority}"),
        };
        let mut sent = self.client.request(request.method(), format!("{origin}{}", request.target()));
        for (name, value) in request.headers() {
            sent = sent.header(name, value);
        }
        let body = request.body();
        if body.is_empty() { sent } else { sent.body(body) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        unreachable(&self.address, error)
    }
}

impl Pieces {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.answer.chunk().await.map_err(|error| unreachable(&self.address, &error))
    }
}

fn unreachable(address: &Address, error: &reqwest::Error) -> Failure {
    let why = if error.is_timeout() {
        "did not answer in time".to_owned()
    } else {
        match cause(error) {
            Some(kind) if kind != std::io::ErrorKind::UnexpectedEof => {
                format!("cannot be reached: {}", crate::config::cause(kind))
            }
            Some(_) | None => "broke the connection off".to_owned(),
        }
    };
    Failure::new(Exit::Unavailable, format!("the sidecar at {address} {why}"))
}

/// Whether it was there, and closed before it answered or had no room in its queue.
fn is_turned_away(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        source = error.source();
    }
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, WouldBlock};
    matches!(cause(error), Some(BrokenPipe | ConnectionReset | WouldBlock))
}

/// What the system said, without the address that libraries put around it.
fn cause(error: &reqwest::Error) -> Option<std::io::ErrorKind> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

fn bearer(file: &Path) -> Result<HeaderValue, Failure> {
    match Token::load(file) {
        Ok(token) => Ok(token.header()),
        Err(error @ TokenError::Io { .. }) => Err(Failure::new(Exit::InputOutput, error.to_string())),
        Err(error) => Err(Failure::new(Exit::Denied, error.to_string())),
    }
}
