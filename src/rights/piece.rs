//! What stands between two stars of a glob: a stretch of one length, each of whose places has its characters.

use memchr::memmem::Finder;

use super::bounded;

/// A glob with more classes is for the library: each has to be understood by itself.
const MOST_CLASSES: usize = 8;

/// The characters that may stand at one place: names are ASCII.
type Set = u128;

/// Any character but the one that no name holds and that stands between names.
const ANY: Set = !(1 << b'\n');

#[derive(Clone)]
pub(super) enum Piece {
    Text(Box<Finder<'static>>),
    Sets(Box<[Set]>),
}

/// The pieces of a glob, as many as it has stars and one more. `None`: it has choices or quotes, or is not of plain
/// characters alone, and is for the library to match.
pub(super) fn pieces(glob: &str) -> Option<Vec<Piece>> {
    if !glob.contains(['?', '[', ']', '{', '}', '\\']) {
        return Some(glob.split('*').map(Piece::text).collect());
    }
    let classes = glob.bytes().filter(|byte| *byte == b'[').count();
    if glob.contains(['{', '}', '\\', '/']) || !glob.is_ascii() || classes > MOST_CLASSES {
        return None;
    }
    let mut pieces = vec![Vec::new()];
    let mut rest = glob.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let set = match first {
            b'*' => {
                pieces.push(Vec::new());
                continue;
            }
            b'?' => ANY,
            b'[' => {
                // What comes first in a class, beside what negates it, is part of it even if it is the bracket.
                let inner = usize::from(matches!(rest.first(), Some(b'!' | b'^'))) + 1;
                let end = inner + rest.get(inner..)?.iter().position(|byte| *byte == b']')?;
                let (class, more) = rest.split_at(end + 1);
                rest = more;
                class_of(class)?
            }
            byte => 1 << byte,
        };
        pieces.last_mut()?.push(set);
    }
    Some(pieces.into_iter().map(Piece::of).collect())
}

/// What the library takes a class for, of which the opening bracket was read.
fn class_of(class: &[u8]) -> Option<Set> {
    let glob = format!("[{}", std::str::from_utf8(class).ok()?);
    let class = bounded::regex(globset::Glob::new(&glob).ok()?.regex(), false).ok()?;
    Some((0..128_u8).filter(|byte| class.is_match(&[*byte])).fold(0, |set, byte| set | 1 << byte))
}

impl Piece {
    fn text(text: &str) -> Self {
        Self::Text(Box::new(Finder::new(text).into_owned()))
    }

    fn of(sets: Vec<Set>) -> Self {
        Self::Sets(sets.into())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.needle().len(),
            Self::Sets(sets) => sets.len(),
        }
    }

    /// Whether that, which is as long, is it.
    pub(super) fn is(&self, stretch: &[u8]) -> bool {
        match self {
            // Nothing is compared where there is nothing: an empty needle may lie at an address that is none, and to load from
            // there, masked as `memcmp` does it, takes the processor longer than all else of a glob.
            Self::Text(text) => text.needle().is_empty() || text.needle() == stretch,
            Self::Sets(sets) => sets.iter().zip(stretch).all(|(set, byte)| *byte < 128 && set >> byte & 1 == 1),
        }
    }

    /// Where it ends first.
    pub(super) fn end_in(&self, name: &[u8]) -> Option<usize> {
        let start = match self {
            Self::Text(text) => text.find(name)?,
            Self::Sets(sets) => name.windows(sets.len()).position(|window| self.is(window))?,
        };
        Some(start + self.len())
    }
}
