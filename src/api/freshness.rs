//! Freshness in HTTP's own words: what a caller asks (`Cache-Control`, `If-None-Match`), what an answer tells (`Age`,
//! `Cache-Status` of RFC 9211). No answer may be kept by anybody else: `no-store` on all of them.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::HeaderValue;

use super::head::{Field, Head};
use crate::broker::{Forward, Origin, Reading, Steer};

/// The request directives of RFC 9111, 5.2.1 that mean something here. Unknown ones are ignored, as it requires; a
/// `max-age` that is no number counts as zero, which is the safe side (1.2.2, 4.2.1).
pub(super) fn steer(head: Head<'_>) -> Steer {
    let mut steer = Steer::default();
    let values = head.all(Field::CacheControl).filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name.trim(), argument.trim().trim_matches('"')),
            None => (directive.trim(), ""),
        };
        if name.eq_ignore_ascii_case("no-cache") {
            steer.no_cache = true;
        } else if name.eq_ignore_ascii_case("only-if-cached") {
            steer.only_if_cached = true;
        } else if name.eq_ignore_ascii_case("max-age") {
            let told = Duration::from_secs(delta_seconds(argument));
            steer.max_age = Some(steer.max_age.map_or(told, |other| other.min(told)));
        }
    }
    steer
}

/// A number too large to hold means 'very long' (1.2.2).
fn delta_seconds(text: &str) -> u64 {
    if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        text.parse().unwrap_or(u64::from(u32::MAX))
    } else {
        0
    }
}

/// Whether the caller holds this very representation already. Weak comparison, as RFC 9110, 13.1.2 has it.
pub(super) fn is_held_by_caller(head: Head<'_>, etag: &str) -> bool {
    head.all(Field::IfNoneMatch)
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.trim() == "*" || tags(value).any(|tag| tag == etag))
}

/// The quoted tags of a list, without their `W/`. A comma may stand within a tag.
fn tags(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let start = rest.find('"')?;
        let length = rest[start + 1..].find('"')? + 2;
        let tag = &rest[start..start + length];
        rest = &rest[start + length..];
        Some(tag)
    })
}

/// `Age`, in whole seconds.
pub(super) fn age(age: Duration) -> HeaderValue {
    static MADE: LazyLock<Made> = LazyLock::new(|| Made::of(|seconds| seconds.to_string()));
    MADE.get(age.as_secs()).unwrap_or_else(|| HeaderValue::from(age.as_secs()))
}

/// Texts about the first numbers of seconds, which nearly all hits tell: made once, and shared without being counted.
struct Made(Vec<HeaderValue>);

impl Made {
    /// Longer than the usual time to live.
    const MOST: u64 = 512;

    fn of(text: impl Fn(u64) -> String) -> Self {
        Self((0..Self::MOST).map(|seconds| HeaderValue::from_static(text(seconds).leak())).collect())
    }

    fn get(&self, seconds: u64) -> Option<HeaderValue> {
        self.0.get(usize::try_from(seconds).ok()?).cloned()
    }
}

/// `Cache-Status`, RFC 9211: `sidekey; hit; ttl=212`, `sidekey; hit; ttl=-40; detail=stale-vault-unavailable`,
/// `sidekey; fwd=miss; collapsed`.
pub(super) fn cache_status(reading: &Reading) -> HeaderValue {
    static FRESH: LazyLock<Made> = LazyLock::new(|| Made::of(|ttl| format!("sidekey; hit; ttl={ttl}")));
    match reading.origin {
        Origin::Held => {
            let fresh = u64::try_from(reading.ttl).ok().filter(|_| reading.stale.is_none());
            if let Some(made) = fresh.and_then(|ttl| FRESH.get(ttl)) {
                return made;
            }
            let mut text = [0; HIT];
            let length = write_hit(&mut text, reading.ttl, reading.stale);
            HeaderValue::from_bytes(&text[..length]).expect("digits and ASCII words")
        }
        Origin::Read(why) => HeaderValue::from_static(match why {
            Forward::Miss => "sidekey; fwd=miss",
            Forward::Stale => "sidekey; fwd=stale",
            Forward::Request => "sidekey; fwd=request",
        }),
        Origin::Collapsed(why) => HeaderValue::from_static(match why {
            Forward::Miss => "sidekey; fwd=miss; collapsed",
            Forward::Stale => "sidekey; fwd=stale; collapsed",
            Forward::Request => "sidekey; fwd=request; collapsed",
        }),
    }
}

/// Into a buffer on the stack.
fn write_hit(text: &mut [u8; HIT], ttl: i64, stale: Option<&'static str>) -> usize {
    use std::io::Write as _;
    let mut rest = &mut text[..];
    let written = match stale {
        None => write!(rest, "sidekey; hit; ttl={ttl}"),
        Some(reason) => write!(rest, "sidekey; hit; ttl={ttl}; detail=stale-{reason}"),
    };
    written.expect("at most 20 digits and a short word");
    HIT - rest.len()
}

/// Room for `sidekey; hit; ttl=`, a number, and the longest reason.
const HIT: usize = 96;

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::*;

    fn headers(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn directives_of_a_request() {
        let seconds = Duration::from_secs;
        for (text, no_cache, max_age, only_if_cached) in [
            ("no-cache", true, None, false),
            ("No-Cache, max-age=5", true, Some(seconds(5)), false),
            ("max-age=\"60\"", false, Some(seconds(60)), false),
            ("max-age=60, max-age=7", false, Some(seconds(7)), false),
            ("max-age=99999999999999999999999", false, Some(seconds(u64::from(u32::MAX))), false),
            ("max-age=-1", false, Some(seconds(0)), false),
            ("max-age", false, Some(seconds(0)), false),
            ("only-if-cached, no-transform, x=1", false, None, true),
            ("no-store", false, None, false),
            ("", false, None, false),
        ] {
            let expected = Steer { no_cache, max_age, only_if_cached };
            assert_eq!(steer(Head::of(&headers(&header::CACHE_CONTROL, &[text]))), expected, "{text}");
        }
        let two = headers(&header::CACHE_CONTROL, &["max-age=3", "only-if-cached"]);
        assert_eq!(steer(Head::of(&two)), Steer { max_age: Some(seconds(3)), only_if_cached: true, no_cache: false });
    }

    #[test]
    fn tags_are_compared_weakly_and_whole() {
        for (values, held) in [
            (&["\"v1\""][..], true),
            (&["W/\"v1\""], true),
            (&["\"x\", W/\"a,b\" , \"v1\""], true),
            (&["\"x\"", "\"v1\""], true),
            (&["*"], true),
            (&["v1"], false),
            (&["\"v1-json\""], false),
            (&["\"v\""], false),
            (&["\"v1"], false),
            (&[], false),
        ] {
            assert_eq!(
                is_held_by_caller(Head::of(&headers(&header::IF_NONE_MATCH, values)), "\"v1\""),
                held,
                "{values:?}"
            );
        }
    }
}
