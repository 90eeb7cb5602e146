//! Finding names: one sweep over a segment's buffer where the text has something fixed in it, name by name where not.
//!
//! Patterns come from callers: their length, what they compile to and the time they take are bounded, and a regular
//! expression that is refused says where it is wrong.

use std::ops::Range;

use memchr::memmem::Finder;
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use regex::bytes::Regex;

use super::query::{BadQuery, Matching, Query};
use super::segment::Segment;
use crate::rights::{Glob, bounded};

/// A query's text, ready to be looked for.
pub(super) enum Names {
    All,
    Exact(String),
    Prefix(String),
    Substring(Finder<'static>),
    /// With something that every match holds.
    Glob(Option<Finder<'static>>, Glob),
    Regex(Regex),
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
            // What stands between names is in none of them.
            Matching::Substring if text.contains('\n') => Ok(Self::Exact(lower())),
            Matching::Substring => Ok(Self::Substring(Finder::new(&lower()).into_owned())),
            Matching::Exact => Ok(Self::Exact(lower())),
            Matching::Prefix => Ok(Self::Prefix(lower())),
            Matching::Glob => Self::glob(text),
            Matching::Regex => Ok(Self::Regex(regex("q", text)?)),
            Matching::Fuzzy => {
                let pattern = Pattern::new(&lower(), CaseMatching::Respect, Normalization::Never, AtomKind::Fuzzy);
                Ok(Self::Fuzzy(pattern, Box::new(Matcher::new(Config::DEFAULT))))
            }
        }
    }

    /// The everyday globs need no glob at all.
    fn glob(text: &str) -> Result<Self, BadQuery> {
        let glob = Glob::new(text).map_err(|error| BadQuery::new("q", error.to_string()))?;
        let finder = |held: &str| Finder::new(held).into_owned();
        Ok(if let Some(name) = glob.exact() {
            Self::Exact(name.to_owned())
        } else if let Some(start) = glob.prefix() {
            Self::Prefix(start.to_owned())
        } else if let Some(held) = glob.substring() {
            Self::Substring(finder(held))
        } else {
            Self::Glob(glob.holds().map(finder), glob)
        })
    }

    /// The rows that match, where they are all those of a range.
    pub(super) fn range(&self, segment: &Segment) -> Option<Range<usize>> {
        match self {
            Self::All => Some(0..segment.len()),
            Self::Exact(name) => Some(segment.find(name).map_or(0..0, |row| row..row + 1)),
            Self::Prefix(start) => Some(segment.starting_with(start)),
            Self::Substring(_) | Self::Glob(..) | Self::Regex(_) | Self::Fuzzy(..) => None,
        }
    }

    /// Visits the rows that match, in order, with how well (0 where that is not measured). The visitor says whether it
    /// wants to see more; if not, those after it may be counted only. Returns how many were.
    pub(super) fn each(&mut self, segment: &Segment, mut visit: impl FnMut(usize, u32) -> bool) -> usize {
        let all = 0..segment.len();
        match self {
            Self::All | Self::Exact(_) | Self::Prefix(_) => {
                for row in self.range(segment).into_iter().flatten() {
                    visit(row, 0);
                }
            }
            Self::Substring(finder) => return holding(finder, segment, all, |row| visit(row, 0)),
            Self::Glob(held, glob) => {
                let rows = segment.starting_with(glob.start());
                let check = |row| {
                    if glob.matches(segment.name(row)) {
                        visit(row, 0);
                    }
                    // Only a look at the name tells.
                    true
                };
                match held {
                    Some(finder) => return holding(finder, segment, rows, check),
                    None => rows.map(check).for_each(drop),
                }
            }
            Self::Regex(regex) => {
                for row in all.filter(|row| regex.is_match(segment.name(*row).as_bytes())) {
                    visit(row, 0);
                }
            }
            Self::Fuzzy(pattern, matcher) => {
                for row in all {
                    if let Some(score) = pattern.score(Utf32Str::Ascii(segment.name(row).as_bytes()), matcher) {
                        visit(row, score);
                    }
                }
            }
        }
        0
    }
}

/// Visits each of the rows whose name holds what the finder looks for, once; counts them when the visitor has seen
/// enough.
fn holding(finder: &Finder<'_>, segment: &Segment, rows: Range<usize>, mut visit: impl FnMut(usize) -> bool) -> usize {
    let names = &segment.names().as_bytes()[..segment.start(rows.end)];
    let (mut from, mut row) = (segment.start(rows.start), rows.start);
    let (mut wanted, mut counted) = (true, 0);
    while let Some(place) = finder.find(&names[from..]) {
        // Names are short: this is nearer than the next newline, and tells which row it is.
        while segment.start(row + 1) <= from + place {
            row += 1;
        }
        if wanted {
            wanted = visit(row);
        } else {
            counted += 1;
        }
        row += 1;
        from = segment.start(row);
    }
    counted
}

fn regex(parameter: &str, text: &str) -> Result<Regex, BadQuery> {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).nest_limit(50).build().parse(text);
    let told = |problem: String, span: &regex_syntax::ast::Span| {
        let character = text[..span.start.offset].chars().count() + 1;
        BadQuery::new(parameter, format!("is no regular expression: {problem}")).at(character)
    };
    match parsed {
        Ok(_) => bounded::regex(text, true).map_err(|why| BadQuery::new(parameter, why)),
        Err(regex_syntax::Error::Parse(error)) => Err(told(error.kind().to_string(), error.span())),
        Err(regex_syntax::Error::Translate(error)) => Err(told(error.kind().to_string(), error.span())),
        Err(_) => Err(BadQuery::new(parameter, "is no regular expression")),
    }
}
