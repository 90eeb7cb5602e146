//! The API over a unix socket, loopback TCP, or TLS.

use std::error::Error;
use std::io::ErrorKind;
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
                answer => return answer.map_err(|error| self.unheard(&error)),
            }
        }
        request().send().await.map_err(|error| self.unheard(&error))
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

    /// Of a request that has no answer. On the socket a caller is known, or not, before it is heard.
    fn unheard(&self, error: &reqwest::Error) -> Failure {
        match (&self.address, io_error(error).map(std::io::Error::kind)) {
            _ if error.is_timeout() => self.unreachable(error),
            (
                Address::Socket(path),
                None | Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof),
            ) => {
                let uid = rustix::process::geteuid().as_raw();
                let what = format!(
                    "the sidecar at {} broke the connection off: most likely it has [[client]]s and none is for user {uid} (its \
                     log tells); else it is stopping, or has no more room",
                    path.display()
                );
                Failure::new(Exit::Unavailable, what)
            }
            (Address::Socket(_) | Address::Tcp(_) | Address::Tls(_), _) => self.unreachable(error),
        }
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
    } else if let Some(tls) = tls(error) {
        format!("cannot be spoken to over TLS: {tls}")
    } else {
        match io_error(error) {
            Some(error) if error.kind() != ErrorKind::UnexpectedEof => {
                format!("cannot be reached: {}", crate::config::cause(error))
            }
            Some(_) | None => "broke the connection off".to_owned(),
        }
    };
    Failure::new(Exit::Unavailable, format!("the sidecar at {address} {why}"))
}

/// Whether it was there, and closed before it answered or had no room in its queue.
fn is_turned_away(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        source = error.source();
    }
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, WouldBlock};
    matches!(io_error(error).map(std::io::Error::kind), Some(BrokenPipe | ConnectionReset | WouldBlock))
}

/// What TLS found wrong, such as a certificate that nobody vouches for. rustls hands its errors out inside of `io::Error`s, whose
/// `source` skips the error itself.
fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let within = || error.downcast_ref::<std::io::Error>()?.get_ref().and_then(|within| tls(within));
    error.downcast_ref().or_else(within).or_else(|| tls(error.source()?))
}

/// What the system said, without the address that libraries put around it.
fn io_error(error: &reqwest::Error) -> Option<&std::io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
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
