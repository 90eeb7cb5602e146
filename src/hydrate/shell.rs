//! One word of a shell, whoever the shell is.
//!
//! Single quotes: in them every shell takes every byte as it is. In double quotes a backslash that should protect a `$` can
//! be the second half of a letter (Shift JIS, GBK, Big5), and then the `$` runs. A single quote of the value's own stands
//! between two such texts, in double quotes, where nothing but it can be.

/// The pieces of the word, in order; together they are it. The text must have no NUL.
pub(super) fn word(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let between = |at| if at == 0 { b"'".as_slice() } else { b"'\"'\"'".as_slice() };
    let pieces = text.split(|byte| *byte == b'\'').enumerate().flat_map(move |(at, piece)| [between(at), piece]);
    pieces.chain([b"'".as_slice()])
}
