//! Globs over names: `*`, `?`, `[a-z]`, `{a,b}`, always over the whole name.
//!
//! `globset` says what a glob is and refuses what is none. Nearly all are then matched piece by piece; those with choices
//! or quotes as the regular expression that `globset` makes of them.

use regex::bytes::Regex;

use super::bounded;
use super::piece::{Piece, pieces};

/// The longest glob, in bytes. Names have 127 characters at most.
const LONGEST: usize = 1024;

/// Why a text is no glob: the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadGlob(String);

/// A glob, lower-cased, ready to be matched.
#[derive(Clone)]
pub(crate) struct Glob {
    text: String,
    whole: Whole,
}

#[derive(Clone)]
enum Whole {
    /// What stands before the first star, between stars, and after the last.
    Pieces {
        start: Piece,
        inner: Vec<Piece>,
        end: Piece,
    },
    /// No star.
    One(Piece),
    Regex(Regex),
}

impl Glob {
    /// # Errors
    /// Not a glob, empty, too long, or too large.
    pub(crate) fn new(text: &str) -> Result<Self, BadGlob> {
        if text.is_empty() {
            return Err(BadGlob("is empty, which matches nothing; `*` matches everything".to_owned()));
        }
        if text.len() > LONGEST {
            return Err(BadGlob(format!("has {} bytes; {LONGEST} is the most", text.len())));
        }
        let text = text.to_ascii_lowercase();
        let glob = globset::GlobBuilder::new(&text).backslash_escape(true).build();
        // A range that is none is quoted, whatever its ends are.
        let told = |error: globset::Error| BadGlob(format!("is no glob: {}", tame(&error.kind().to_string())));
        let glob = glob.map_err(told)?;
        let whole = match pieces(&text) {
            // Its text is of small letters by now, and `[#-_]` must not come to hold them.
            None => Whole::Regex(bounded::regex(glob.regex(), false).map_err(|why| BadGlob(why.to_owned()))?),
            Some(mut pieces) => match (pieces.pop(), pieces.is_empty()) {
                (Some(end), false) => {
                    let start = pieces.remove(0);
                    pieces.retain(|piece| piece.len() > 0);
                    Whole::Pieces { start, inner: pieces, end }
                }
                (one, _) => Whole::One(one.expect("a text has one piece at least")),
            },
        };
        Ok(Self { text, whole })
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        match &self.whole {
            Whole::One(piece) => name.len() == piece.len() && piece.is(name),
            Whole::Regex(regex) => regex.is_match(name),
            Whole::Pieces { start, inner, end } => {
                let Some(behind) = name.len().checked_sub(end.len()).filter(|behind| start.len() <= *behind) else {
                    return false;
                };
                if !start.is(&name[..start.len()]) || !end.is(&name[behind..]) {
                    return false;
                }
                // The earliest place of each piece leaves the most for those after it.
                let mut rest = &name[start.len()..behind];
                inner.iter().all(|piece| {
                    piece.end_in(rest).is_some_and(|end| {
                        rest = &rest[end..];
                        true
                    })
                })
            }
        }
    }

    /// As it was written, lower-cased.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The only name it matches.
    pub(crate) fn exact(&self) -> Option<&str> {
        is_plain(&self.text).then_some(&*self.text)
    }

    /// It matches all that starts like this, and nothing else.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.text.strip_suffix('*').filter(|start| is_plain(start))
    }

    /// It matches all that holds this, and nothing else.
    pub(crate) fn substring(&self) -> Option<&str> {
        let held = self.text.strip_prefix('*')?.strip_suffix('*')?;
        Some(held).filter(|held| !held.is_empty() && is_plain(held))
    }

    /// Every match starts with this.
    pub(crate) fn start(&self) -> &str {
        self.text.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default()
    }

    /// Every match holds this: the longest that is sure. `None`: nothing is.
    pub(crate) fn holds(&self) -> Option<&str> {
        if self.text.contains(['[', ']', '{', '}', '\\']) {
            return None;
        }
        self.text.split(['*', '?']).max_by_key(|piece| piece.len()).filter(|piece| !piece.is_empty())
    }
}

/// Whether it stands for itself. What stands between names is in none of them.
fn is_plain(piece: &str) -> bool {
    !piece.contains(['*', '?', '[', ']', '{', '}', '\\', '\n'])
}

/// Control characters would reach a terminal.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_may_not_overlap() {
        let matches = |glob: &str, name: &str| Glob::new(glob).expect("a glob").matches(name);
        assert!(matches("ab*ba", "abba") && !matches("ab*ba", "aba"));
        assert!(matches("a*b*b", "abb") && !matches("a*b*b", "ab"));
        assert!(matches("*ab*ab*", "abab") && !matches("*ab*ab*", "aba"));
    }

    #[test]
    fn a_range_that_spans_large_letters_does_not_hold_the_small_ones() {
        let matches = |glob: &str, name: &str| Glob::new(glob).expect("a glob").matches(name);
        assert!(matches("[%-c]*", "abc") && matches("[A-C]*", "abc"));
        assert!(!matches("[%-c]*", "db-password") && !matches("[#-_]*", "db-password"));
    }

    #[test]
    fn what_is_no_glob_is_told_without_its_control_characters() {
        let told = Glob::new("[z-\u{1b}]").err().expect("no glob").to_string();
        assert!(told.contains("'z' > '\u{fffd}'"), "{told:?}");
    }

    proptest! {
        /// With few letters, so that pieces meet themselves.
        #[test]
        fn the_short_cuts_match_what_the_library_matches(
            glob in r"([ab*?\]-]|\[[!^]?[ab\]-][ab!^-]{0,3}\]){1,7}",
            name in r"[ab\]!^-]{1,9}",
        ) {
            // A range that is none is refused by both.
            let Ok(library) = globset::Glob::new(&glob) else { return Ok(()) };
            let library = library.compile_matcher().is_match(&name);
            let ours = Glob::new(&glob).expect("a glob");
            prop_assert_eq!(ours.matches(&name), library);
            if library {
                prop_assert!(name.starts_with(ours.start()));
                prop_assert!(ours.holds().is_none_or(|held| name.contains(held)));
            }
            for (kind, matches) in [
                (ours.exact(), ours.exact() == Some(&*name)),
                (ours.prefix(), ours.prefix().is_some_and(|start| name.starts_with(start))),
                (ours.substring(), ours.substring().is_some_and(|held| name.contains(held))),
            ] {
                prop_assert!(kind.is_none() || matches == library);
            }
        }
    }
}
