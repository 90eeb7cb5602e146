//! Which representation of a secret a caller gets: the value's own bytes, or the JSON document (RFC 9110, 12.5.1).
//!
//! The bytes win wherever the caller likes both alike: that is what the API is for.

use super::head::{Field, Head};
use super::problem::{Code, Problem};

/// A representation of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The value and not one byte more, as text if it is text.
    Raw,
    /// The document.
    Json,
}

/// What `Accept` asks for.
pub(super) fn form(head: Head<'_>) -> Result<Form, Problem> {
    let mut wishes = head.all(Field::Accept).peekable();
    match wishes.peek() {
        None => return Ok(Form::Raw),
        Some(only) if only.as_bytes() == b"*/*" => return Ok(Form::Raw),
        Some(_) => {}
    }
    let (mut text, mut bytes, mut json) = (Wish::default(), Wish::default(), Wish::default());
    for range in wishes.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some((kind, subtype)) = parts.next().and_then(|range| range.split_once('/')) else { continue };
        let quality = parts.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
        let quality = quality.map_or(1_000, thousandths);
        text.consider(kind, subtype, ("text", "plain"), quality);
        bytes.consider(kind, subtype, ("application", "octet-stream"), quality);
        json.consider(kind, subtype, ("application", "json"), quality);
    }
    let raw = text.quality.max(bytes.quality);
    match (raw, json.quality) {
        (0, 0) => Err(Problem::new(
            Code::NotAcceptable,
            "Accept covers neither text/plain (the value itself), application/octet-stream nor application/json",
        )),
        (raw, json) if raw >= json => Ok(Form::Raw),
        _ => Ok(Form::Json),
    }
}

/// How much one media type is wanted, by the most specific range that covers it.
#[derive(Default)]
struct Wish {
    specific: u8,
    quality: u16,
}

impl Wish {
    fn consider(&mut self, kind: &str, subtype: &str, own: (&str, &str), quality: u16) {
        let specific = match (kind, subtype) {
            ("*", "*") => 1,
            (kind, "*") if kind.eq_ignore_ascii_case(own.0) => 2,
            (kind, subtype) if kind.eq_ignore_ascii_case(own.0) && subtype.eq_ignore_ascii_case(own.1) => 3,
            _ => return,
        };
        if specific > self.specific || (specific == self.specific && quality > self.quality) {
            *self = Self { specific, quality };
        }
    }
}

/// `0.8` as 800. What is no quality counts as none told.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    match (whole, fraction.len(), fraction.bytes().all(|digit| digit.is_ascii_digit())) {
        ("1", ..) => 1_000,
        ("0", 0..=3, true) => format!("{fraction:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::*;

    #[track_caller]
    fn chosen(accept: &[&str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        form(Head::of(&headers)).ok()
    }

    #[test]
    fn the_value_itself_unless_json_is_liked_better() {
        for (accept, expected) in [
            (&[][..], Some(Form::Raw)),
            (&["*/*"], Some(Form::Raw)),
            (&["text/plain"], Some(Form::Raw)),
            (&["text/*"], Some(Form::Raw)),
            (&["application/octet-stream"], Some(Form::Raw)),
            (&["application/json"], Some(Form::Json)),
            (&["APPLICATION/JSON; charset=utf-8"], Some(Form::Json)),
            // What a widespread JavaScript client sends when it is not told.
            (&["application/json, text/plain, */*"], Some(Form::Raw)),
            (&["application/json, text/plain;q=0.9"], Some(Form::Json)),
            (&["application/json;q=0.5, */*;q=0.4"], Some(Form::Json)),
            (&["application/json;q=0.001,text/plain;q=0"], Some(Form::Json)),
            (&["text/plain;q=0.8", "application/json;q=0.81"], Some(Form::Json)),
            // The most specific range counts, not the best.
            (&["*/*, text/plain;q=0, application/octet-stream;q=0"], Some(Form::Json)),
            (&["application/json;q=0, */*"], Some(Form::Raw)),
            (&["text/html"], None),
            (&["application/xml, image/*"], None),
            (&["*/*;q=0"], None),
            (&["nonsense"], None),
        ] {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
    }
}
