//! Finding names: one sweep over a segment's buffer where the text has something fixed in it, name by name where not.
//!
//! Patterns come from callers: their length, what they compile to and the time they take are bounded, and a regular
//! expression that is refused says where it is wrong.

use memchr::memmem::Finder;
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use regex::bytes::{Regex, RegexBuilder};

use super::query::{BadQuery, Matching, Query};
use super::segment::Segment;

/// What a compiled pattern may take, in bytes.
const COMPILED: usize = 256 << 10;
/// What matching it may take.
const WHILE_MATCHING: usize = 1 << 20;

/// A query's text, ready to be looked for.
pub(super) enum Names {
    All,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(Finder<'static>),
    /// A pattern, and something fixed that every match holds.
    Pattern(Regex, Option<Finder<'static>>),
    Fuzzy(Pattern, Box<Matcher>),
}

impl Names {
    pub(super) fn of(query: &Query) -> Result<Self, BadQuery> {
        let text = query.text.as_str();
        if text.len() > Query::LONGEST {
            return Err(BadQuery::new("q", format!("has {} bytes; {} is the most", text.len(), Query::LONGEST)));
        }
        if text.is_empty() {
            return Ok(Self::All);
        }
        // Names are ASCII and lower-cased. A regex is not: `\D` would become `\d`.
        let lower = || text.to_ascii_lowercase();
        match query.matching {
            Matching::Substring => Ok(Self::Substring(Finder::new(&lower()).into_owned())),
            Matching::Exact => Ok(Self::Exact(lower())),
            Matching::Prefix => Ok(Self::Prefix(lower())),
            Matching::Glob => Self::glob(&lower()),
            Matching::Regex => Ok(Self::Pattern(regex("q", text)?, None)),
            Matching::Fuzzy => {
                let pattern = Pattern::new(&lower(), CaseMatching::Respect, Normalization::Never, AtomKind::Fuzzy);
                Ok(Self::Fuzzy(pattern, Box::new(Matcher::new(Config::DEFAULT))))
            }
        }
    }

    fn glob(text: &str) -> Result<Self, BadQuery> {
        let pattern = glob("q", text)?;
        // The everyday globs need no pattern at all.
        let fixed = |part: &str| !part.is_empty() && !part.contains(['*', '?', '[', ']', '{', '}', '\\', ',', '!']);
        let (starts, ends) = (text.strip_prefix('*'), text.strip_suffix('*'));
        Ok(match (starts, ends) {
            (Some("" | "*"), _) => Self::All,
            (None, None) if fixed(text) => Self::Exact(text.to_owned()),
            (None, Some(start)) if fixed(start) => Self::Prefix(start.to_owned()),
            (Some(end), None) if fixed(end) => Self::Suffix(end.to_owned()),
            (Some(rest), Some(_)) if rest.strip_suffix('*').is_some_and(fixed) => {
                Self::Substring(Finder::new(rest.trim_end_matches('*')).into_owned())
            }
            _ => Self::Pattern(pattern, longest_fixed(text).map(|fixed| Finder::new(fixed).into_owned())),
        })
    }

    /// Visits the rows that match, in order, with how well (0 where that is not measured).
    pub(super) fn each(&mut self, segment: &Segment, mut visit: impl FnMut(usize, u32)) {
        match self {
            Self::All => (0..segment.len()).for_each(|row| visit(row, 0)),
            Self::Exact(name) => segment.find(name).into_iter().for_each(|row| visit(row, 0)),
            Self::Prefix(start) => (segment.lower_bound(start)..segment.len())
                .take_while(|row| segment.name(*row).starts_with(start.as_str()))
                .for_each(|row| visit(row, 0)),
            Self::Suffix(end) => (0..segment.len())
                .filter(|row| segment.name(*row).ends_with(end.as_str()))
                .for_each(|row| visit(row, 0)),
            Self::Substring(finder) => holding(finder, segment, |row| visit(row, 0)),
            Self::Pattern(pattern, Some(finder)) => holding(finder, segment, |row| {
                if pattern.is_match(segment.name(row).as_bytes()) {
                    visit(row, 0);
                }
            }),
            Self::Pattern(pattern, None) => (0..segment.len())
                .filter(|row| pattern.is_match(segment.name(*row).as_bytes()))
                .for_each(|row| visit(row, 0)),
            Self::Fuzzy(pattern, matcher) => {
                for row in 0..segment.len() {
                    if let Some(score) = pattern.score(Utf32Str::Ascii(segment.name(row).as_bytes()), matcher) {
                        visit(row, score);
                    }
                }
            }
        }
    }
}

/// A glob on the addresses of vaults.
pub(super) fn vaults(text: Option<&str>) -> Result<Option<Regex>, BadQuery> {
    text.map(|text| glob("vault", &text.to_ascii_lowercase())).transpose()
}

/// Visits each row whose name holds what the finder looks for, once.
fn holding(finder: &Finder<'_>, segment: &Segment, mut visit: impl FnMut(usize)) {
    let names = segment.names().as_bytes();
    let (mut from, mut row) = (0, 0);
    while let Some(place) = finder.find(&names[from..]) {
        row = segment.row_at(from + place, row);
        visit(row);
        from = segment.start(row + 1);
    }
}

fn glob(parameter: &str, text: &str) -> Result<Regex, BadQuery> {
    if text.len() > Query::LONGEST {
        return Err(BadQuery::new(parameter, format!("has {} bytes; {} is the most", text.len(), Query::LONGEST)));
    }
    let glob = globset::GlobBuilder::new(text).backslash_escape(true).build();
    let glob = glob.map_err(|error| BadQuery::new(parameter, format!("is no glob: {}", error.kind())))?;
    compile(parameter, glob.regex())
}

fn regex(parameter: &str, text: &str) -> Result<Regex, BadQuery> {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).nest_limit(50).build().parse(text);
    let told = |problem: String, span: &regex_syntax::ast::Span| {
        let character = text[..span.start.offset].chars().count() + 1;
        BadQuery::new(parameter, format!("is no regular expression: {problem}")).at(character)
    };
    match parsed {
        Ok(_) => compile(parameter, text),
        Err(regex_syntax::Error::Parse(error)) => Err(told(error.kind().to_string(), error.span())),
        Err(regex_syntax::Error::Translate(error)) => Err(told(error.kind().to_string(), error.span())),
        Err(_) => Err(BadQuery::new(parameter, "is no regular expression")),
    }
}

fn compile(parameter: &str, pattern: &str) -> Result<Regex, BadQuery> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(true)
        .nest_limit(50)
        .size_limit(COMPILED)
        .dfa_size_limit(WHILE_MATCHING)
        .build()
        .map_err(|_| BadQuery::new(parameter, "is too large a pattern; repeat less"))
}

/// The longest run that every match of a glob must hold; `None` if alternatives or classes make that unsure.
fn longest_fixed(glob: &str) -> Option<&str> {
    if glob.contains(['[', ']', '{', '}', '\\']) {
        return None;
    }
    glob.split(['*', '?']).max_by_key(|part| part.len()).filter(|part| !part.is_empty())
}
