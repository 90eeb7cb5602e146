//! Globs over names: `*`, `?`, `[a-z]`, `{a,b}`, always over the whole name.
//!
//! `globset` says what a glob is and refuses what is none. Those with stars alone, which nearly all are, are then
//! matched piece by piece; the others as the regular expression that `globset` makes of them.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use super::bounded;

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
        start: String,
        inner: Vec<Finder<'static>>,
        end: String,
    },
    /// No star, nor anything else.
    Fixed,
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
        let whole = if text.contains(['?', '[', ']', '{', '}', '\\']) {
            // Its text is of small letters by now, and `[#-_]` must not come to hold them.
            Whole::Regex(bounded::regex(glob.regex(), false).map_err(|why| BadGlob(why.to_owned()))?)
        } else if let Some((start, rest)) = text.split_once('*') {
            let (inner, end) = rest.rsplit_once('*').unwrap_or(("", rest));
            let inner = inner.split('*').filter(|piece| !piece.is_empty());
            Whole::Pieces {
                start: start.to_owned(),
                inner: inner.map(|piece| Finder::new(piece).into_owned()).collect(),
                end: end.to_owned(),
            }
        } else {
            Whole::Fixed
        };
        Ok(Self { text, whole })
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match &self.whole {
            Whole::Fixed => name == self.text,
            Whole::Regex(regex) => regex.is_match(name.as_bytes()),
            Whole::Pieces { start, inner, end } => {
                let Some(mut rest) = name.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()))
                else {
                    return false;
                };
                // The earliest place of each piece leaves the most for those after it.
                inner.iter().all(|piece| {
                    let place = piece.find(rest.as_bytes());
                    place.is_some_and(|place| {
                        rest = &rest[place + piece.needle().len()..];
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
        matches!(self.whole, Whole::Fixed).then_some(&*self.text)
    }

    /// It matches all that starts like this, and nothing else.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.text.strip_suffix('*').filter(|start| self.is_plain(start))
    }

    /// It matches all that holds this, and nothing else.
    pub(crate) fn substring(&self) -> Option<&str> {
        let held = self.text.strip_prefix('*')?.strip_suffix('*')?;
        Some(held).filter(|held| !held.is_empty() && self.is_plain(held))
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

    fn is_plain(&self, piece: &str) -> bool {
        matches!(self.whole, Whole::Pieces { .. }) && !piece.contains(['*', '\n'])
    }
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
        fn the_short_cuts_match_what_the_library_matches(glob in "[ab*?-]{1,7}", name in "[ab-]{1,9}") {
            let library = globset::Glob::new(&glob).expect("a glob").compile_matcher().is_match(&name);
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
