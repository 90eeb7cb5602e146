//! The API over a unix socket or loopback TCP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::{Address, Answer, Request};
use crate::api::{Token, TokenError};
use crate::cli::{Exit, Failure};

/// Longer than the longest read that a sidecar allows itself.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(3);

/// One sidecar's address with what it asks of callers.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    address: Address,
}

impl Http {
    /// A client for that address. `token` is sent over TCP only: on a socket the kernel says who asks.
    pub(super) fn new(address: Address, token: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            // Nothing here speaks TLS: the system's certificates need not be read.
            .tls_certs_only([]);
        match (&address, token) {
            (Address::Socket(path), _) => builder = builder.unix_socket(PathBuf::clone(path)),
            (Address::Tcp(_), Some(file)) => {
                builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer(file)?)]));
            }
            (Address::Tcp(_), None) => {}
        }
        let client = builder.build().map_err(|_| Failure::new(Exit::Unavailable, "the HTTP client cannot be made"))?;
        Ok(Self { client, address })
    }

    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let origin = match &self.address {
            Address::Socket(_) => "http://localhost".to_owned(),
            Address::Tcp(address) => format!("http://{address}"),
        };
        let mut sent = self.client.get(format!("{origin}{}", request.target()));
        for (name, value) in request.headers() {
            sent = sent.header(name, value);
        }
        let answer = sent.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status, headers, body })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = if error.is_timeout() {
            "did not answer in time".to_owned()
        } else {
            match cause(error) {
                Some(kind) => format!("cannot be reached: {}", crate::config::cause(kind)),
                None => "broke the connection off".to_owned(),
            }
        };
        Failure::new(Exit::Unavailable, format!("the sidecar at {} {why}", self.address))
    }
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
