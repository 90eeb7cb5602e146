//! Failures as their readers meet them: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Two failures that call for different acts never look alike, and no failure tells its cause: that is in the log. The
//! log tells a failed request once, under the id that the answer carries in `Sidekey-Request-Id`: of each kind the first
//! ones in a minute, and at `debug` all. What stands in `detail` is in our own words.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::rand::{SecureRandom, SystemRandom};

use super::model::{Fault, ProblemDocument, Unanswered};
use crate::broker;
use crate::sparing::Sparing;
use crate::vaults::{VaultError, VaultErrorKind};

/// Names the failure in the log, and the request in the audit; on problems, on what is recorded, and where the caller has
/// sent one.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("sidekey-request-id");

/// The media type of RFC 9457.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// Every failure of the API. The words are stable; `status` and `title` follow from the code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them, as the OpenAPI document lists them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status it is answered with, but for a `Host` that is well-formed and not ours: 421.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// A name, version, field or reference is malformed.
    BadReference = "bad-reference", BAD_REQUEST, "The address is malformed";
    /// A parameter, header or body is malformed.
    BadQuery = "bad-query", BAD_REQUEST, "The request is malformed";
    /// A Host, Origin or similar header that a local caller does not send.
    BadHost = "bad-host", BAD_REQUEST, "Not a request of a local caller";
    /// A forwarding header: the request passed a proxy.
    Forwarded = "forwarded", BAD_REQUEST, "The request was forwarded";
    /// No or a wrong token where one is needed.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A token is needed";
    /// The caller's grants do not cover it.
    Forbidden = "forbidden", FORBIDDEN, "Not granted";
    /// Nothing is served at that path.
    NotFound = "not-found", NOT_FOUND, "Nothing is served at this path";
    /// Every vault that could hold it was asked, and none does.
    SecretNotFound = "secret-not-found", NOT_FOUND, "No such secret";
    /// No vault of that name is known.
    VaultNotFound = "vault-not-found", NOT_FOUND, "No such vault";
    /// The secret has no such version.
    VersionNotFound = "version-not-found", NOT_FOUND, "No such version";
    /// The value has no such field, or is no certificate.
    FieldNotFound = "field-not-found", NOT_FOUND, "The value has no such part";
    /// That method is not served at that path.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not served at this path";
    /// No representation that the caller accepts.
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "No representation is acceptable";
    /// The request's body did not come in time.
    TooSlow = "too-slow", REQUEST_TIMEOUT, "The request did not arrive in time";
    /// Several vaults hold it, and nothing decides.
    Ambiguous = "ambiguous", CONFLICT, "Several vaults hold it";
    /// It exists and is disabled.
    SecretDisabled = "secret-disabled", GONE, "The secret is disabled";
    /// The request's body is too large.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// The request's body is not JSON.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// A fault of sidekey's own.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// Azure refused sidekey; the caller did nothing wrong.
    VaultDenied = "vault-denied", BAD_GATEWAY, "The vault refused sidekey";
    /// Azure refused sidekey's credential.
    SignInFailed = "sign-in-failed", BAD_GATEWAY, "Sidekey could not sign in";
    /// Too many calls to that vault.
    VaultThrottled = "vault-throttled", SERVICE_UNAVAILABLE, "The vault is throttled";
    /// The vault cannot be reached, or fails.
    VaultUnavailable = "vault-unavailable", SERVICE_UNAVAILABLE, "The vault is unavailable";
    /// Not found where it could be looked for; not every vault could be asked.
    Incomplete = "incomplete", SERVICE_UNAVAILABLE, "Not every vault could be asked";
    /// The vaults are still being discovered and listed.
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "Not ready yet";
    /// The audit is required, and the read cannot be recorded.
    AuditFailed = "audit-failed", SERVICE_UNAVAILABLE, "The read cannot be recorded";
    /// Too many reads are under way.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too busy";
    /// The vault did not answer in time.
    VaultTimeout = "vault-timeout", GATEWAY_TIMEOUT, "The vault did not answer in time";
    /// Only a held value was wanted, and it is not held.
    NotCached = "not-cached", GATEWAY_TIMEOUT, "The value is not held";
}

/// A failure on its way out. Becomes a response once, and is logged then.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: Code,
    fault: Fault,
    errors: BTreeMap<String, Fault>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    /// The request's, if it has one already.
    id: Option<HeaderValue>,
}

impl Problem {
    /// A failure of that kind; `detail` says what and where, in our own words.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        Self(Box::new(Inner {
            status,
            code,
            fault: Fault {
                status: status.as_u16(),
                code: code.as_str().to_owned(),
                detail: detail.into(),
                ..Fault::default()
            },
            errors: BTreeMap::new(),
            retry_after: retry_after(code),
            allow: None,
            id: None,
        }))
    }

    /// A `Host` that is well-formed and not ours: 421 (RFC 9110, 15.5.20).
    #[must_use]
    pub fn misdirected(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(Code::BadHost, detail);
        problem.0.status = StatusCode::MISDIRECTED_REQUEST;
        problem.0.fault.status = problem.0.status.as_u16();
        problem
    }

    /// The same with its `Allow` header.
    #[must_use]
    pub(super) fn allowing(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// The same, to be told under that id.
    #[must_use]
    pub(super) fn under(mut self, id: Option<&HeaderValue>) -> Self {
        self.0.id = id.cloned();
        self
    }

    /// The references of a resolve that failed, each with its own reason. Status and code are those of the failure that
    /// waiting would mend least, so that whoever retries on 503 does not wait for what will never come.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn unresolved(failures: BTreeMap<String, Self>, of: usize) -> Self {
        let worst = failures.values().min_by_key(|problem| problem.lasting()).expect("something failed");
        let detail = format!("{} of {of} references could not be resolved; errors names each", failures.len());
        let mut all = Self::new(worst.0.code, detail);
        all.0.retry_after = failures.values().filter_map(|problem| problem.0.retry_after).max();
        if all.0.status != StatusCode::SERVICE_UNAVAILABLE {
            all.0.retry_after = None;
        }
        all.0.errors = failures.into_iter().map(|(key, problem)| (key, problem.0.fault)).collect();
        all
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Lower: asking again will help less.
    fn lasting(&self) -> u8 {
        match self.0.status.as_u16() {
            400..=499 => 0,
            500 | 502 => 1,
            504 => 2,
            _ => 3,
        }
    }

    fn of_vault(error: &VaultError, detail: String) -> Self {
        let code = match error.kind() {
            VaultErrorKind::NotFound => Code::SecretNotFound,
            VaultErrorKind::Disabled => Code::SecretDisabled,
            VaultErrorKind::Denied(_) => Code::VaultDenied,
            VaultErrorKind::Unauthenticated { .. } => Code::SignInFailed,
            VaultErrorKind::Throttled { .. } => Code::VaultThrottled,
            VaultErrorKind::TimedOut => Code::VaultTimeout,
            VaultErrorKind::Unavailable(_) | VaultErrorKind::Malformed => Code::VaultUnavailable,
        };
        let mut problem = Self::new(code, detail);
        problem.0.fault.reason = Some(error.reason().to_owned());
        let told = if let VaultErrorKind::Throttled { retry_after } = error.kind() { *retry_after } else { None };
        if let (Some(told), Some(_)) = (told.or(error.worth_trying_after()), problem.0.retry_after) {
            problem.0.retry_after = Some(told.clamp(Duration::from_secs(1), Duration::from_secs(300)));
        }
        problem
    }
}

impl From<broker::Error> for Problem {
    fn from(error: broker::Error) -> Self {
        let detail = error.to_string();
        match error {
            broker::Error::Forbidden => Self::new(Code::Forbidden, detail),
            broker::Error::UnknownVault { .. } => Self::new(Code::VaultNotFound, detail),
            broker::Error::SecretNotFound { .. } => Self::new(Code::SecretNotFound, detail),
            broker::Error::VersionNotFound { .. } => Self::new(Code::VersionNotFound, detail),
            broker::Error::Disabled { .. } => Self::new(Code::SecretDisabled, detail),
            broker::Error::Ambiguous { candidates, .. } => {
                let mut problem = Self::new(Code::Ambiguous, detail);
                problem.0.fault.candidates = candidates.iter().map(ToString::to_string).collect();
                problem
            }
            broker::Error::Incomplete { unanswered, .. } => {
                let mut problem = Self::new(Code::Incomplete, detail);
                problem.0.fault.unanswered = unanswered.iter().map(Unanswered::from).collect();
                problem
            }
            broker::Error::NotReady => Self::new(Code::NotReady, detail),
            broker::Error::NotCached => Self::new(Code::NotCached, detail),
            broker::Error::Overloaded => Self::new(Code::Overloaded, detail),
            broker::Error::Skipped { reason, .. } => {
                let mut problem = Self::new(Code::VaultDenied, detail);
                problem.0.fault.reason = Some(reason.code().to_owned());
                problem
            }
            broker::Error::Vault { error, .. } => Self::of_vault(&error, detail),
            broker::Error::View(_) => Self::new(Code::FieldNotFound, detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { status, code, fault, errors, retry_after, allow, id } = *self.0;
        let id = id.unwrap_or_else(request_id_header);
        log(status, code, &fault, id.to_str().unwrap_or_default());
        let document = ProblemDocument {
            kind: format!("urn:sidekey:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            fault,
            errors,
        };
        let body = serde_json::to_vec(&document).expect("a problem is plain data");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(REQUEST_ID, id);
        if let Some(after) = retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sidekey\""));
        }
        response
    }
}

/// When to come back, where the vault did not say: of what goes over by itself, which a value that is not held does not.
fn retry_after(code: Code) -> Option<Duration> {
    if code.status() != StatusCode::SERVICE_UNAVAILABLE && code != Code::VaultTimeout {
        return None;
    }
    let seconds = match code {
        Code::NotReady | Code::Overloaded => 1,
        Code::VaultThrottled => 10,
        _ => 5,
    };
    Some(Duration::from_secs(seconds))
}

/// Once for a failed request, and not for each of those that a caller brings about in a loop. What a vault met on the way
/// is in the log already, told by whoever asked the vault.
fn log(status: StatusCode, code: Code, fault: &Fault, id: &str) {
    static TOLD: LazyLock<Sparing<(Code, Option<String>)>> = LazyLock::new(Sparing::default);
    let Fault { code: word, reason, detail, .. } = fault;
    // A caller's own mistake is no news to an operator, nor is one that waits for a start and asks again and again.
    let is_news = status.is_server_error() && code != Code::NotReady;
    let told = if is_news { TOLD.tell((code, reason.clone())) } else { None };
    let (code, reason) = (word.as_str(), reason.as_deref());
    let Some(untold) = told else {
        tracing::debug!(code, reason, request_id = id, "a request failed: {detail}");
        return;
    };
    if untold > 0 {
        tracing::info!(code, reason, requests = untold, "as many more failed so, and were not told");
    }
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(code, reason, request_id = id, "a request failed: {detail}");
    } else {
        tracing::info!(code, reason, request_id = id, "a request failed: {detail}");
    }
}

/// Unique over restarts and within one: eight random digits of this process, then a number.
pub(super) fn request_id_header() -> HeaderValue {
    HeaderValue::from_maybe_shared(axum::body::Bytes::from(request_id())).expect("hexadecimal digits")
}

/// The same as text.
pub(crate) fn request_id() -> String {
    static PROCESS: LazyLock<String> = LazyLock::new(|| {
        let mut bytes = [0; 4];
        // Without randomness the count alone remains, which still tells requests of this process apart.
        let _ = SystemRandom::new().fill(&mut bytes);
        format!("{:08x}-", u32::from_ne_bytes(bytes))
    });
    let number = number();
    let digits = number.checked_ilog2().unwrap_or_default() / 4 + 1;
    // As long as it is, and not longer: a header takes it as it is then.
    let mut id = String::with_capacity(PROCESS.len() + digits as usize);
    id.push_str(&PROCESS);
    id.extend((0..digits).rev().map(|digit| char::from(b"0123456789abcdef"[(number >> (4 * digit)) as usize % 16])));
    id
}

/// Never the same again. Threads take numbers by the hundred, as they would hold each other up over every single one.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    const AT_ONCE: u64 = 256;
    thread_local! {
        static OWN: Cell<u64> = const { Cell::new(0) };
    }
    // A thread's numbers begin where a round of them does, so that it sees when it has used them up.
    let number = match OWN.get() {
        own if own % AT_ONCE == 0 => NEXT.fetch_add(AT_ONCE, Ordering::Relaxed),
        own => own,
    };
    OWN.set(number + 1);
    number
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_processs_own_and_a_count_in_as_many_digits_as_it_has() {
        let parts = |id: &str| {
            let (process, count) = id.split_once('-').unwrap();
            let number = u64::from_str_radix(count, 16).unwrap();
            assert_eq!((process.len(), count), (8, &*format!("{number:x}")));
            (process.to_owned(), number)
        };
        let ids: Vec<_> = (0..300).map(|_| request_id()).collect();
        for two in ids.windows(2) {
            let [(process, count), (same, next)] = [parts(&two[0]), parts(&two[1])];
            assert!(process == same && count < next, "{two:?}");
        }
    }
}
