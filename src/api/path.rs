//! Names in the path and parameters in the query: parsed once, and refused with what is wrong and where.
//!
//! Each part of the path is percent-decoded exactly once, after it was split, so that `%2f` is a slash within a name, which no
//! name may hold, and never a separator.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::problem::{Code, Problem};

/// The named parts of the path.
pub(super) struct Names(RawPathParams);

impl Names {
    /// The part of that name, parsed.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, part: &str) -> Result<T, Problem> {
        let text = self.0.iter().find_map(|(name, text)| (name == part).then_some(text));
        parsed(text.expect("the route has that part"))
    }
}

/// The parts of a path between its slashes. As `split`, which takes longer over paths as short as ours.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let all = rest.take()?;
        let Some(slash) = all.bytes().position(|byte| byte == b'/') else { return Some(all) };
        rest = Some(&all[slash + 1..]);
        Some(&all[..slash])
    })
}

/// A part of a path that no router has decoded, decoded once and parsed.
pub(super) fn part<T: FromStr<Err: Display>>(text: &str) -> Result<T, Problem> {
    if !text.as_bytes().contains(&b'%') {
        return parsed(text);
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    parsed(&decoded.map_err(|_| not_utf8())?)
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::new(Code::BadReference, format!("in the path: {error}")))
}

fn not_utf8() -> Problem {
    Problem::new(Code::BadReference, "in the path: what is percent-encoded there is not UTF-8")
}

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match RawPathParams::from_request_parts(parts, state).await {
            Ok(names) => Ok(Self(names)),
            Err(_) => Err(not_utf8()),
        }
    }
}

/// A parameter's name and value.
pub(super) type Parameter<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The parameters of a query, decoded. Each at most once.
pub(super) fn parameters(query: Option<&str>) -> Result<Vec<Parameter<'_>>, Problem> {
    let all = pairs(query)?;
    for (at, (name, _)) in all.iter().enumerate() {
        if all[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(bad_parameter(name, "is told twice"));
        }
    }
    Ok(all)
}

/// The same, where one may be told several times.
pub(super) fn pairs(query: Option<&str>) -> Result<Vec<Parameter<'_>>, Problem> {
    let Some(query) = query else { return Ok(Vec::new()) };
    // Decoding as a form alone would put another character in the place of what is broken.
    if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
        return Err(Problem::new(Code::BadQuery, "in the query: what is percent-encoded there is not UTF-8"));
    }
    Ok(url::form_urlencoded::parse(query.as_bytes()).collect())
}

/// A parameter that is not understood.
pub(super) fn bad_parameter(name: &str, problem: &str) -> Problem {
    Problem::new(Code::BadQuery, format!("the parameter `{}` {problem}", name.escape_debug()))
}
