//! Regular expressions from outside, over names: none may take more than its share of memory or of the stack.

use regex::bytes::{Regex, RegexBuilder};

/// What a compiled one may take, in bytes.
const COMPILED: usize = 256 << 10;
/// What matching it may take, in bytes.
const WHILE_MATCHING: usize = 1 << 20;

/// A pattern that is known to be one, and takes bytes for characters, as names are ASCII. Names are of small letters: with
/// `ignores_case` it finds them by large ones too, and a range that spans large letters then holds the small ones.
///
/// # Errors
/// It would take too much: the end of a sentence.
pub(crate) fn regex(pattern: &str, ignores_case: bool) -> Result<Regex, &'static str> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ignores_case)
        .nest_limit(50)
        .size_limit(COMPILED)
        .dfa_size_limit(WHILE_MATCHING)
        .build()
        .map_err(|_| "is too large a pattern; repeat less")
}
