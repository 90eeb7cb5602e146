//! Which rows pass, beside their names. The one place where rows are let through: what a caller may see will be asked
//! here.

use std::ops::Range;

use time::OffsetDateTime;

use super::query::Query;
use super::segment::Segment;

/// All that a row must be beside its name, worked out once for a segment.
pub(super) struct Filter {
    /// By set of tags, whether it holds all that is asked for.
    tags: Option<Vec<bool>>,
    /// Whether anything beside tags is asked for.
    more: bool,
    types: Option<Vec<bool>>,
    enabled: Option<bool>,
    managed: Option<bool>,
    expired: Option<bool>,
    expires_before: Option<i64>,
    updated_since: Option<i64>,
    now: i64,
}

impl Filter {
    /// `None`: no row of the segment can pass.
    pub(super) fn of(query: &Query, segment: &Segment, now: OffsetDateTime) -> Option<Self> {
        let mut tags: Option<Vec<bool>> = None;
        for tag in &query.tags {
            let sets = segment.which_tag_sets(&tag.key, tag.value.as_deref())?;
            match &mut tags {
                None => tags = Some(sets),
                Some(all) => all.iter_mut().zip(sets).for_each(|(all, this)| *all &= this),
            }
        }
        if tags.as_ref().is_some_and(|sets| !sets.contains(&true)) {
            return None;
        }
        let now = now.unix_timestamp();
        let Query { content_type, enabled, managed, expired, expires_within, updated_since, .. } = query;
        Some(Self {
            tags,
            more: content_type.is_some()
                || enabled.is_some()
                || managed.is_some()
                || expired.is_some()
                || expires_within.is_some()
                || updated_since.is_some(),
            types: query.content_type.as_deref().map(|content_type| segment.which_types(content_type)),
            enabled: query.enabled,
            managed: query.managed,
            expired: query.expired,
            expires_before: query
                .expires_within
                .map(|within| now.saturating_add(i64::try_from(within.as_secs()).unwrap_or(i64::MAX))),
            // Rows hold whole seconds: what moved within the second asked for is let through.
            updated_since: query.updated_since.map(OffsetDateTime::unix_timestamp),
            now,
        })
    }

    pub(super) fn admits(&self, segment: &Segment, row: usize) -> bool {
        self.tags.as_ref().is_none_or(|sets| sets[segment.tag_set_index(row)])
            && (!self.more || self.admits_beside_tags(segment, row))
    }

    /// Visits those of the rows that pass, in order. The visitor says whether it wants to see more; if not, those after it
    /// may be counted only. Returns how many were.
    pub(super) fn each(&self, segment: &Segment, rows: Range<usize>, mut visit: impl FnMut(usize) -> bool) -> usize {
        let beside = |row: &usize| !self.more || self.admits_beside_tags(segment, *row);
        let Some(sets) = &self.tags else {
            for row in rows.filter(beside) {
                visit(row);
            }
            return 0;
        };
        // How many rows have a set of tags is known.
        let is_known = !self.more && rows == (0..segment.len());
        let mut seen = 0;
        for (row, set) in segment.tag_set_indices(rows) {
            if sets[set] && beside(&row) {
                seen += 1;
                if !visit(row) && is_known {
                    return segment.rows_of_tag_sets(sets) - seen;
                }
            }
        }
        0
    }

    /// Whether every row passes.
    pub(super) fn admits_all(&self) -> bool {
        self.tags.is_none() && !self.more
    }

    fn admits_beside_tags(&self, segment: &Segment, row: usize) -> bool {
        self.types.as_ref().is_none_or(|types| types[segment.type_index(row)])
            && self.enabled.is_none_or(|enabled| segment.enabled(row) == enabled)
            && self.managed.is_none_or(|managed| segment.managed(row) == managed)
            && self.expired.is_none_or(|expired| segment.expires(row).is_some_and(|at| at <= self.now) == expired)
            && self
                .expires_before
                .is_none_or(|before| segment.expires(row).is_some_and(|at| self.now < at && at <= before))
            && self.updated_since.is_none_or(|since| segment.updated(row).is_some_and(|at| at >= since))
    }
}
