//! What a secret shows of itself in a listing, and when that is proof that its value did not change.
//!
//! Key Vault tells `updated` in whole seconds: of two writes in one second a listing cannot tell the second from the
//! first. A value that was read between them looks like the newest one for ever. So a stamp counts as proof only if
//! the value was read a while after the stamp was first seen: then whatever was written in the same second was there
//! to be read. This compares our clock with itself only; the vault's may be wrong.

use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::Moment;
use crate::secret::Metadata;

/// One second, which is the resolution, and one for the clocks of a vault's replicas to differ by.
const SETTLING: Duration = Duration::from_secs(2);

/// Whether a value that was asked for at `asked` is what its stamp, first seen at `first_seen`, will mean for ever.
pub(super) fn settled(first_seen: Moment, asked: Moment) -> bool {
    asked >= first_seen + SETTLING
}

/// Whether two views of a secret show the same attributes. The version is not compared: listings do not tell it.
pub(super) fn same(a: &Metadata, b: &Metadata) -> bool {
    let Metadata { name: _, version: _, enabled, not_before, expires, created, updated, content_type, tags, managed } =
        a;
    let second = |time: Option<OffsetDateTime>| time.map(OffsetDateTime::unix_timestamp);
    *enabled == b.enabled
        && second(*not_before) == second(b.not_before)
        && second(*expires) == second(b.expires)
        && second(*created) == second(b.created)
        && second(*updated) == second(b.updated)
        && *content_type == b.content_type
        && *tags == b.tags
        && *managed == b.managed
        // Without a time there is nothing that would move.
        && updated.is_some()
}

/// Whether `a` is older than `b`, where both tell.
pub(super) fn older(a: &Metadata, b: &Metadata) -> bool {
    matches!((a.updated, b.updated), (Some(a), Some(b)) if a.unix_timestamp() < b.unix_timestamp())
}
