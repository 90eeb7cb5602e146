//! Where a page ended: the last hit's own place in the order, never a count of hits, so that nothing is told twice or
//! passed over when secrets come and go between two pages. Bound to its query: another query's cursor is refused.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::query::{BadQuery, Query};

/// A hit's place in the order of hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Of the query.
    of: u64,
    /// Seconds, or a score, where that is what hits are sorted by.
    pub(super) number: Option<i64>,
    pub(super) name: String,
    pub(super) vault: String,
}

impl Cursor {
    pub(super) fn new(of: u64, number: Option<i64>, name: &str, vault: &str) -> Self {
        Self { of, number, name: name.to_owned(), vault: vault.to_owned() }
    }

    pub(super) fn encode(&self) -> String {
        let Self { of, number, name, vault } = self;
        let text = serde_json::to_vec(&(of, number, name, vault)).expect("numbers and text are JSON");
        URL_SAFE_NO_PAD.encode(text)
    }

    /// # Errors
    /// No cursor at all, or another query's.
    pub(super) fn decode(text: &str, of: u64) -> Result<Self, BadQuery> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let parts: Option<(u64, Option<i64>, String, String)> =
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match parts {
            None => Err(BadQuery::new("cursor", "is not one that a page gave")),
            Some((other, ..)) if other != of => Err(BadQuery::new("cursor", "belongs to another query")),
            Some((of, number, name, vault)) => Ok(Self { of, number, name, vault }),
        }
    }
}

/// What tells queries apart: all that decides which hits there are and in which order. Not the limit, the cursor and
/// the clock. The same in every run of the same program.
pub(super) fn fingerprint(query: &Query) -> u64 {
    let Query {
        text,
        matching,
        vault,
        tags,
        enabled,
        managed,
        content_type,
        expires_within,
        expired,
        updated_since,
        sort,
        limit: _,
        cursor: _,
        now: _,
    } = query;
    let mut hasher = DefaultHasher::new();
    (text, matching, vault, tags, enabled, managed, content_type).hash(&mut hasher);
    (expires_within, expired, updated_since, sort).hash(&mut hasher);
    hasher.finish()
}
