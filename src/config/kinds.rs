//! The kinds of values a setting can have. Each parser takes both the file's typed value and a variable's or flag's
//! text, and says what it expected, never what it found.

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeValue;

use crate::secret::Reference;

/// A setting before it is parsed.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// From a variable or a flag.
    Text(&'a str),
    /// From the file.
    Value(&'a DeValue<'a>),
}

/// The type's name as a person would say it.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(super) fn text(raw: Raw<'_>) -> Result<String, String> {
    let text = match raw {
        Raw::Text(text) => text,
        Raw::Value(DeValue::String(text)) => text.as_ref(),
        Raw::Value(other) => return Err(format!("expected text in quotes, found {}", type_of(other))),
    };
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) fn duration(raw: Raw<'_>) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as \"30s\" or \"5m\"";
    parsed(raw, EXPECTED, |text| humantime::parse_duration(text).ok())
}

/// What we give the name of ourselves: a client's, a profile's.
pub(super) fn name(raw: Raw<'_>) -> Result<String, String> {
    const LONGEST: usize = 63;
    let name = text(raw)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.len() <= LONGEST && name.bytes().all(fits) {
        return Ok(name);
    }
    Err(format!("expected at most {LONGEST} letters, digits, '-', '_' and '.'"))
}

/// The address of a secret. What it is not is told, and never what it was: it may be a value in the wrong place.
pub(super) fn reference(raw: Raw<'_>) -> Result<Reference, String> {
    parsed(raw, "expected a reference such as \"secret://pay-prod/db-password\"", |text| text.parse().ok())
}

/// A duration that is longer than none.
pub(super) fn interval(raw: Raw<'_>) -> Result<Duration, String> {
    duration(raw).and_then(|time| if time.is_zero() { Err("must be longer than 0s".to_owned()) } else { Ok(time) })
}

/// A size in bytes, such as `64MiB`.
pub(super) fn size(raw: Raw<'_>) -> Result<u64, String> {
    parsed(raw, "expected a size such as \"64MiB\"", |text| text.parse::<bytesize::ByteSize>().ok())
        .map(|size| size.as_u64())
}

pub(super) fn count(raw: Raw<'_>) -> Result<u64, String> {
    const EXPECTED: &str = "expected a whole number, 0 or more";
    match raw {
        Raw::Text(text) => text.trim().parse().map_err(|_| EXPECTED.to_owned()),
        Raw::Value(DeValue::Integer(number)) => {
            u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).map_err(|_| EXPECTED.to_owned())
        }
        Raw::Value(other) => Err(format!("{EXPECTED}, found {}", type_of(other))),
    }
}

/// A count of at least one.
pub(super) fn positive(raw: Raw<'_>) -> Result<u64, String> {
    count(raw).and_then(|n| if n == 0 { Err("must be at least 1".to_owned()) } else { Ok(n) })
}

pub(super) fn yes_no(raw: Raw<'_>) -> Result<bool, String> {
    match raw {
        Raw::Value(DeValue::Boolean(yes)) => Ok(*yes),
        Raw::Text("true" | "1" | "yes" | "on") => Ok(true),
        Raw::Text("false" | "0" | "no" | "off") => Ok(false),
        Raw::Text(_) => Err("expected true or false".to_owned()),
        Raw::Value(other) => Err(format!("expected true or false, found {}", type_of(other))),
    }
}

/// A list of texts; separated by commas in a variable or flag.
pub(super) fn texts(raw: Raw<'_>) -> Result<Vec<String>, String> {
    match raw {
        Raw::Text(text) => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
        Raw::Value(DeValue::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(at, item)| text(Raw::Value(item.get_ref())).map_err(|what| format!("entry {}: {what}", at + 1)))
            .collect(),
        Raw::Value(other) => Err(format!("expected a list of texts, found {}", type_of(other))),
    }
}

/// A table of texts, as pairs; `KEY=VALUE,…` in a variable or flag.
pub(super) fn pairs(raw: Raw<'_>) -> Result<Vec<(String, String)>, String> {
    match raw {
        Raw::Text(_) => texts(raw)?
            .into_iter()
            .enumerate()
            .map(|(at, pair)| {
                let (key, value) = pair.split_once('=').ok_or(format!("entry {}: expected KEY=VALUE", at + 1))?;
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            })
            .collect(),
        Raw::Value(DeValue::Table(table)) => table
            .iter()
            .enumerate()
            .map(|(at, (key, value))| match value.get_ref() {
                DeValue::String(value) => Ok((key.get_ref().to_string(), value.to_string())),
                other => Err(format!("entry {}: expected text in quotes, found {}", at + 1, type_of(other))),
            })
            .collect(),
        Raw::Value(other) => Err(format!("expected a table of texts, found {}", type_of(other))),
    }
}

/// An address with a port, such as `127.0.0.1:7733`.
pub(super) fn address(raw: Raw<'_>) -> Result<SocketAddr, String> {
    parsed(raw, "expected an address and a port such as \"127.0.0.1:7733\"", |text| text.parse().ok())
}

/// A URL with https, a host and nothing of an identity.
pub(super) fn https(raw: Raw<'_>) -> Result<url::Url, String> {
    let url = parsed(raw, "expected an https URL", |text| url::Url::parse(text).ok())?;
    https_only(url)
}

/// Refuses what is not plain https.
pub(super) fn https_only(url: url::Url) -> Result<url::Url, String> {
    let plain = url.scheme() == "https"
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err("expected an https URL without a user, query or fragment".to_owned()) }
}

fn parsed<T>(raw: Raw<'_>, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    match raw {
        Raw::Text(text) => parse(text.trim()).ok_or_else(|| expected.to_owned()),
        Raw::Value(DeValue::String(text)) => parse(text.trim()).ok_or_else(|| expected.to_owned()),
        Raw::Value(other) => Err(format!("{expected}, found {}", type_of(other))),
    }
}
