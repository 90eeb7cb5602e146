//! The machine-readable part of an error answer.

use std::fmt;

use azure_core::http::headers::HeaderName;
use serde::Deserialize;

use crate::vaults::azure::transport::Answer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const WWW_AUTHENTICATE: HeaderName = HeaderName::from_static("www-authenticate");

/// `error.code` and `error.innererror.code`, as Key Vault and Resource Manager write them.
#[derive(Debug, Default)]
pub(super) struct Codes {
    pub(super) outer: Option<String>,
    pub(super) inner: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    error: Option<Outer>,
}

#[derive(Deserialize)]
struct Outer {
    code: Option<String>,
    innererror: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    code: Option<String>,
}

impl Codes {
    pub(super) fn of(answer: &Answer) -> Self {
        let Ok(Envelope { error: Some(outer) }) = serde_json::from_slice(&answer.body) else {
            return Self::default();
        };
        let inner = outer.innererror.and_then(|inner| inner.code);
        Self { outer: outer.code.and_then(plain), inner: inner.and_then(plain) }
    }
}

/// A code is a word; anything else is somebody's text and is dropped.
fn plain(code: String) -> Option<String> {
    let word = !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    word.then_some(code)
}

/// What the log may know of an answer: nothing that the upstream wrote freely.
#[derive(Debug)]
pub(super) struct Cause {
    status: u16,
    codes: Codes,
    request: Option<String>,
}

impl Cause {
    pub(super) fn of(answer: &Answer) -> Self {
        let request = answer.headers.get_optional_str(&REQUEST_ID).map(str::to_owned);
        let request = request.filter(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        Self { status: answer.status, codes: Codes::of(answer), request }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        for code in [&self.codes.outer, &self.codes.inner].into_iter().flatten() {
            write!(f, " {code}")?;
        }
        match &self.request {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Cause {}

/// Key Vault's `AKV…` code of a 401, from the body or else from the challenge.
pub(in crate::vaults::azure) fn akv_code(answer: &Answer) -> Option<String> {
    let challenge = answer.headers.get_optional_str(&WWW_AUTHENTICATE).unwrap_or_default();
    fish(b"AKV", &answer.body).or_else(|| fish(b"AKV", challenge.as_bytes()))
}

/// Entra's `AADSTS…` code, wherever it stands in a text: Entra's JSON holds it in a description whose escapes break the
/// SDK's parser, and other services and tools quote it in their own texts.
pub(in crate::vaults::azure) fn aadsts_code(text: &[u8]) -> Option<String> {
    fish(b"AADSTS", text)
}

fn fish(prefix: &[u8], text: &[u8]) -> Option<String> {
    memchr::memmem::find_iter(text, prefix).find_map(|at| {
        let digits = &text[at + prefix.len()..];
        let length = digits.iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(&digits[..length]).ok().filter(|digits| digits.len() >= 4)?;
        Some(format!("{}{digits}", std::str::from_utf8(prefix).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_fished_out_of_any_text() {
        assert_eq!(aadsts_code(b"...\\r\\nAADSTS7000215: Invalid").as_deref(), Some("AADSTS7000215"));
        assert_eq!(aadsts_code(b"AADSTS: none, AADSTS50034 then").as_deref(), Some("AADSTS50034"));
        assert_eq!(aadsts_code(b"AADSTS"), None);
        assert_eq!(fish(b"AKV", b"[x] / AKV10032: Invalid issuer").as_deref(), Some("AKV10032"));
    }

    #[test]
    fn a_code_that_is_a_text_is_dropped() {
        assert_eq!(plain("Forbidden".into()).as_deref(), Some("Forbidden"));
        assert_eq!(plain("appid=1;oid=2".into()), None);
    }
}
