//! Finding names: one sweep over a segment's buffer where the text has something fixed in it, name by name where not.
//!
//! Patterns come from callers: their length, what they compile to and the time they take are bounded, and a regular
//! expression that is refused says where it is wrong.

use std::ops::Range;

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
    Glob(Glob),
    Regex(Regex),
    Fuzzy(Pattern, Box<Matcher>),
}

/// A glob that is none of the simpler kinds.
pub(super) struct Glob {
    /// Every match starts with this.
    start: String,
    /// Every match holds this.
    holds: Option<Finder<'static>>,
    whole: Regex,
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
            // What stands between names is in none of them.
            Matching::Substring if text.contains('\n') => Ok(Self::Exact(lower())),
            Matching::Substring => Ok(Self::Substring(Finder::new(&lower()).into_owned())),
            Matching::Exact => Ok(Self::Exact(lower())),
            Matching::Prefix => Ok(Self::Prefix(lower())),
            Matching::Glob => Self::glob(&lower()),
            Matching::Regex => Ok(Self::Regex(regex("q", text)?)),
            Matching::Fuzzy => {
                let pattern = Pattern::new(&lower(), CaseMatching::Respect, Normalization::Never, AtomKind::Fuzzy);
                Ok(Self::Fuzzy(pattern, Box::new(Matcher::new(Config::DEFAULT))))
            }
        }
    }

    fn glob(text: &str) -> Result<Self, BadQuery> {
        let whole = glob("q", text)?;
        // The everyday globs need no pattern at all.
        let (starts, ends) = (text.strip_prefix('*'), text.strip_suffix('*'));
        Ok(match (starts, ends) {
            (Some(""), _) => Self::All,
            (None, None) if is_fixed(text) => Self::Exact(text.to_owned()),
            (None, Some(start)) if is_fixed(start) => Self::Prefix(start.to_owned()),
            (Some(end), None) if is_fixed(end) => Self::Suffix(end.to_owned()),
            (Some(rest), Some(_)) if rest.strip_suffix('*').is_some_and(is_fixed) => {
                Self::Substring(Finder::new(rest.trim_end_matches('*')).into_owned())
            }
            _ => {
                let start = text.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default().to_owned();
                let holds = longest_fixed(text).map(|fixed| Finder::new(fixed).into_owned());
                Self::Glob(Glob { start, holds, whole })
            }
        })
    }

    /// The rows that match, where they are all those of a range.
    pub(super) fn range(&self, segment: &Segment) -> Option<Range<usize>> {
        match self {
            Self::All => Some(0..segment.len()),
            Self::Exact(name) => Some(segment.find(name).map_or(0..0, |row| row..row + 1)),
            Self::Prefix(start) => Some(segment.starting_with(start)),
            Self::Suffix(_) | Self::Substring(_) | Self::Glob(_) | Self::Regex(_) | Self::Fuzzy(..) => None,
        }
    }

    /// Visits the rows that match, in order, with how well (0 where that is not measured).
    pub(super) fn each(&mut self, segment: &Segment, mut visit: impl FnMut(usize, u32)) {
        let all = 0..segment.len();
        match self {
            Self::All | Self::Exact(_) | Self::Prefix(_) => {
                self.range(segment).into_iter().flatten().for_each(|row| visit(row, 0));
            }
            Self::Suffix(end) => {
                all.filter(|row| segment.name(*row).ends_with(end.as_str())).for_each(|row| visit(row, 0));
            }
            Self::Substring(finder) => holding(finder, segment, all, |row| visit(row, 0)),
            Self::Glob(Glob { start, holds, whole }) => {
                let rows = if start.is_empty() { all } else { segment.starting_with(start) };
                let check = |row| {
                    if whole.is_match(segment.name(row).as_bytes()) {
                        visit(row, 0);
                    }
                };
                match holds {
                    Some(finder) => holding(finder, segment, rows, check),
                    None => rows.for_each(check),
                }
            }
            Self::Regex(regex) => {
                all.filter(|row| regex.is_match(segment.name(*row).as_bytes())).for_each(|row| visit(row, 0));
            }
            Self::Fuzzy(pattern, matcher) => {
                for row in all {
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

/// Visits each of the rows whose name holds what the finder looks for, once.
fn holding(finder: &Finder<'_>, segment: &Segment, rows: Range<usize>, mut visit: impl FnMut(usize)) {
    let end = segment.start(rows.end);
    let names = segment.names().as_bytes();
    let (mut from, mut row) = (segment.start(rows.start), rows.start);
    while let Some(place) = finder.find(&names[from..end]) {
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

/// Whether a glob, or a part of one, means itself.
fn is_fixed(part: &str) -> bool {
    !part.is_empty() && !part.contains(['*', '?', '[', ']', '{', '}', '\\', ',', '!', '\n'])
}

/// The longest run that every match of a glob must hold; `None` if alternatives or classes make that unsure.
fn longest_fixed(glob: &str) -> Option<&str> {
    if glob.contains(['[', ']', '{', '}', '\\']) {
        return None;
    }
    glob.split(['*', '?']).max_by_key(|part| part.len()).filter(|part| !part.is_empty())
}
