//! Regular expressions from outside, over names: none may take more than its share of memory or of the stack.

use regex::bytes::{Regex, RegexBuilder};

/// What a compiled one may take, in bytes.
const COMPILED: usize = 256 << 10;
/// What matching it may take, in bytes.
const WHILE_MATCHING: usize = 1 << 20;

/// A pattern that is known to be one, tells no case apart and takes bytes for characters, as names are ASCII.
///
/// # Errors
/// It would take too much: the end of a sentence.
pub(crate) fn regex(pattern: &str) -> Result<Regex, &'static str> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(true)
        .nest_limit(50)
        .size_limit(COMPILED)
        .dfa_size_limit(WHILE_MATCHING)
        .build()
        .map_err(|_| "is too large a pattern; repeat less")
}
