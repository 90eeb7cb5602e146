//! One vault's metadata, packed: a whole listing in a dozen allocations, and names that can be searched in one sweep.
//!
//! A segment never changes; a listing that brought something new makes a new one. Rows are in the order of their
//! names. Every name is in one buffer, each followed by a newline, which no name can hold: a match cannot reach over
//! two names. Times are kept to the second, as Key Vault keeps them.

use std::collections::HashMap;
use std::ops::Range;

use time::OffsetDateTime;

use super::texts::Texts;
use crate::secret::{Metadata, Version, told_last};

/// Metadata of the secrets of one vault, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    names: Box<str>,
    /// Where each name starts, and one past the last name's newline.
    starts: Box<[u32]>,
    flags: Box<[u8]>,
    tags: Box<[u32]>,
    types: Box<[u32]>,
    not_before: Box<[i64]>,
    expires: Box<[i64]>,
    created: Box<[i64]>,
    updated: Box<[i64]>,
    /// Empty where no row tells its version, as in Key Vault's listings.
    versions: Box<[Option<Version>]>,
    /// The distinct sets of tags one after the other, each in the order of keys. The first is empty.
    tag_sets: Box<[Tag]>,
    /// Where each set ends.
    tag_ends: Box<[u32]>,
    /// How many rows have each set.
    tag_rows: Box<[u32]>,
    /// Keys and values of tags.
    texts: Texts,
    /// A row's content type is one more than its number here, 0 for none.
    content_types: Texts,
}

/// A key and a value, as numbers in the segment's texts.
type Tag = (u32, u32);

const ENABLED: u8 = 1;
const MANAGED: u8 = 2;
/// No time told. Far before any that Key Vault can tell.
const NEVER: i64 = i64::MIN;

impl Segment {
    /// Packs a listing, in any order. A name told twice (a page moved while it was listed) counts once, as it was told
    /// last.
    pub(super) fn pack(listing: Vec<Metadata>) -> Self {
        let rows = told_last(listing, |a, b| a.name.cmp(&b.name));

        let tagged = rows.iter().flat_map(|row| row.tags.iter().flat_map(|(k, v)| [k, v]));
        let (texts, text_numbers) = Texts::pack(tagged);
        let (content_types, type_numbers) = Texts::pack(rows.iter().filter_map(|row| row.content_type.as_deref()));

        let mut tag_sets: Vec<Tag> = Vec::new();
        let mut tag_ends: Vec<u32> = vec![0];
        let mut set_numbers: HashMap<Box<[Tag]>, u32> = HashMap::from([(Box::default(), 0)]);
        let tags = rows
            .iter()
            .map(|row| {
                let set: Box<[Tag]> = row.tags.iter().map(|(k, v)| (text_numbers[k], text_numbers[v])).collect();
                *set_numbers.entry(set).or_insert_with_key(|set| {
                    tag_sets.extend(set);
                    tag_ends.push(count(tag_sets.len()));
                    count(tag_ends.len() - 1)
                })
            })
            .collect::<Box<[u32]>>();
        let mut tag_rows = vec![0; tag_ends.len()];
        tags.iter().for_each(|set| tag_rows[*set as usize] += 1);

        let mut names = String::with_capacity(rows.iter().map(|row| row.name.as_str().len() + 1).sum());
        let mut starts = Vec::with_capacity(rows.len() + 1);
        for row in &rows {
            starts.push(count(names.len()));
            names.push_str(row.name.as_str());
            names.push('\n');
        }
        starts.push(count(names.len()));

        let told = rows.iter().any(|row| row.version.is_some());
        Self {
            names: names.into(),
            starts: starts.into(),
            flags: rows.iter().map(flags).collect(),
            tags,
            types: rows
                .iter()
                .map(|row| row.content_type.as_deref().map_or(0, |content_type| type_numbers[content_type] + 1))
                .collect(),
            not_before: rows.iter().map(|row| seconds(row.not_before)).collect(),
            expires: rows.iter().map(|row| seconds(row.expires)).collect(),
            created: rows.iter().map(|row| seconds(row.created)).collect(),
            updated: rows.iter().map(|row| seconds(row.updated)).collect(),
            versions: if told { rows.iter().map(|row| row.version.clone()).collect() } else { Box::default() },
            tag_sets: tag_sets.into(),
            tag_ends: tag_ends.into(),
            tag_rows: tag_rows.into(),
            texts,
            content_types,
        }
    }

    /// How many secrets.
    pub(super) fn len(&self) -> usize {
        self.flags.len()
    }

    /// Every name, each followed by a newline.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// A row's name.
    #[inline]
    pub(super) fn name(&self, row: usize) -> &str {
        &self.names[self.start(row)..self.start(row + 1) - 1]
    }

    /// Where a row's name starts in [`Segment::names`]; for one past the last row, where the names end.
    pub(super) fn start(&self, row: usize) -> usize {
        self.starts[row] as usize
    }

    /// The first row whose name is not before `name`.
    pub(super) fn lower_bound(&self, name: &str) -> usize {
        self.first_not(0, |other| other < name)
    }

    /// The rows whose names start like that.
    pub(super) fn starting_with(&self, start: &str) -> Range<usize> {
        let first = self.lower_bound(start);
        first..self.first_not(first, |other| other.starts_with(start))
    }

    /// The row of exactly that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let row = self.lower_bound(name);
        (row < self.len() && self.name(row) == name).then_some(row)
    }

    /// A row, unpacked.
    pub(super) fn metadata(&self, row: usize) -> Metadata {
        let text = |number: &u32| self.texts.get(*number);
        Metadata {
            name: self.name(row).parse().expect("it was a name when it was packed"),
            version: self.versions.get(row).cloned().flatten(),
            enabled: self.enabled(row),
            not_before: moment(self.not_before[row]),
            expires: moment(self.expires[row]),
            created: moment(self.created[row]),
            updated: moment(self.updated[row]),
            content_type: self.content_type(row).map(str::to_owned),
            tags: self.tag_set(self.tags[row] as usize).iter().map(|(k, v)| (text(k), text(v))).collect(),
            managed: self.managed(row),
        }
    }

    /// Whether a row, unpacked, would be that: to the second, as all that is packed.
    pub(super) fn is(&self, row: usize, told: &Metadata) -> bool {
        let Metadata {
            name,
            version,
            enabled: _,
            not_before,
            expires,
            created,
            updated,
            content_type,
            tags,
            managed: _,
        } = told;
        let set = self.tag_set(self.tags[row] as usize);
        let times = [
            (&self.not_before, not_before),
            (&self.expires, expires),
            (&self.created, created),
            (&self.updated, updated),
        ];
        self.name(row) == name.as_str()
            && self.flags[row] == flags(told)
            && times.iter().all(|(known, told)| known[row] == seconds(**told))
            && self.content_type(row) == content_type.as_deref()
            && self.versions.get(row).and_then(Option::as_ref) == version.as_ref()
            && set.len() == tags.len()
            && set.iter().zip(tags.iter()).all(|((k, v), tag)| (self.texts.get(*k), self.texts.get(*v)) == tag)
    }

    pub(super) fn enabled(&self, row: usize) -> bool {
        self.flags[row] & ENABLED != 0
    }

    pub(super) fn managed(&self, row: usize) -> bool {
        self.flags[row] & MANAGED != 0
    }

    /// Seconds since 1970.
    pub(super) fn expires(&self, row: usize) -> Option<i64> {
        told(self.expires[row])
    }

    /// Seconds since 1970.
    pub(super) fn updated(&self, row: usize) -> Option<i64> {
        told(self.updated[row])
    }

    /// An index into what [`Segment::which_types`] and [`Segment::which_tag_sets`] answer.
    pub(super) fn type_index(&self, row: usize) -> usize {
        self.types[row] as usize
    }

    /// As [`Segment::type_index`].
    pub(super) fn tag_set_index(&self, row: usize) -> usize {
        self.tags[row] as usize
    }

    /// The same of several rows, each with its number.
    pub(super) fn tag_set_indices(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        rows.clone().zip(self.tags[rows].iter().map(|set| *set as usize))
    }

    /// Which of the content types are this one; case does not matter. The first entry is for 'none'.
    pub(super) fn which_types(&self, content_type: &str) -> Vec<bool> {
        std::iter::once(false).chain(self.content_types.iter().map(|t| t.eq_ignore_ascii_case(content_type))).collect()
    }

    /// Which of the sets of tags hold this key, and this value where one is told. `None`: none does.
    pub(super) fn which_tag_sets(&self, key: &str, value: Option<&str>) -> Option<Vec<bool>> {
        let key = self.texts.find(key)?;
        let value = match value {
            Some(value) => Some(self.texts.find(value)?),
            None => None,
        };
        let holds = |(k, v): &Tag| *k == key && value.is_none_or(|value| *v == value);
        Some((0..self.tag_ends.len()).map(|set| self.tag_set(set).iter().any(holds)).collect())
    }

    /// How many rows have one of those sets of tags.
    pub(super) fn rows_of_tag_sets(&self, sets: &[bool]) -> usize {
        sets.iter().zip(&self.tag_rows).filter(|(counts, _)| **counts).map(|(_, rows)| *rows as usize).sum()
    }

    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        self.names.len()
            + size_of_val(&*self.starts)
            + self.len() * (size_of::<u8>() + 2 * size_of::<u32>() + 4 * size_of::<i64>())
            + size_of_val(&*self.versions)
            + size_of_val(&*self.tag_sets)
            + 2 * size_of_val(&*self.tag_ends)
            + self.texts.heap_bytes()
            + self.content_types.heap_bytes()
    }

    fn tag_set(&self, number: usize) -> &[Tag] {
        let start = number.checked_sub(1).map_or(0, |before| self.tag_ends[before] as usize);
        &self.tag_sets[start..self.tag_ends[number] as usize]
    }

    /// The first row from there on whose name is not (any more) so; names that are so come first.
    fn first_not(&self, from: usize, so: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if so(self.name(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn content_type(&self, row: usize) -> Option<&str> {
        Some(self.content_types.get(self.types[row].checked_sub(1)?))
    }
}

fn flags(row: &Metadata) -> u8 {
    (if row.enabled { ENABLED } else { 0 }) | (if row.managed { MANAGED } else { 0 })
}

fn seconds(moment: Option<OffsetDateTime>) -> i64 {
    moment.map_or(NEVER, OffsetDateTime::unix_timestamp)
}

fn told(seconds: i64) -> Option<i64> {
    (seconds != NEVER).then_some(seconds)
}

fn moment(seconds: i64) -> Option<OffsetDateTime> {
    told(seconds).map(|s| OffsetDateTime::from_unix_timestamp(s).expect("it was a moment when it was packed"))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a vault's listing is far below four billion bytes of names")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn named(name: &str) -> Metadata {
        Metadata::new(name.parse().unwrap())
    }

    fn full(name: &str) -> Metadata {
        Metadata {
            version: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
            enabled: false,
            not_before: Some(datetime!(1969-12-31 23:59:59 UTC)),
            expires: Some(datetime!(2030-01-01 00:00 UTC)),
            created: Some(datetime!(2020-01-01 00:00 UTC)),
            updated: Some(datetime!(2021-01-01 00:00 UTC)),
            content_type: Some("Text/Plain".into()),
            tags: [("team".into(), "pay".into()), ("pay".into(), "team".into())].into(),
            managed: true,
            ..named(name)
        }
    }

    #[test]
    fn rows_stand_by_name_and_one_that_is_told_twice_stands_as_it_was_told_last() {
        let last = Metadata { enabled: false, ..named("a") };
        let segment = Segment::pack(vec![named("b"), named("a"), named("c"), last.clone(), named("c")]);
        let rows: Vec<_> = (0..segment.len()).map(|row| segment.metadata(row)).collect();
        assert_eq!(rows, [last, named("b"), named("c")]);
    }

    #[test]
    fn what_is_packed_comes_out_unchanged_and_in_the_order_of_names() {
        let segment = Segment::pack(vec![named("b"), full("c"), named("a")]);
        let rows: Vec<_> = (0..segment.len()).map(|row| segment.metadata(row)).collect();
        assert_eq!(rows, [named("a"), named("b"), full("c")]);
    }

    #[test]
    fn the_same_listing_in_another_order_is_the_same_segment() {
        let there = Segment::pack(vec![full("a"), named("b"), full("c")]);
        let back = Segment::pack(vec![full("c"), named("b"), full("a")]);
        assert_eq!(there, back);
        assert_ne!(there, Segment::pack(vec![full("a"), Metadata { enabled: false, ..named("b") }, full("c")]));
    }

    #[test]
    fn a_name_that_two_pages_told_counts_once() {
        let segment = Segment::pack(vec![named("a"), named("b"), full("a")]);
        assert_eq!(segment.len(), 2);
        assert_eq!(segment.metadata(0), full("a"));
    }

    #[test]
    fn names_are_found_and_neighbours_are_not() {
        let segment = Segment::pack(vec![named("ab"), named("abc"), named("b")]);
        assert_eq!(
            ["a", "ab", "abc", "abcd", "b", "c"].map(|n| segment.find(n)),
            [None, Some(0), Some(1), None, Some(2), None]
        );
        assert_eq!(Segment::pack(Vec::new()).find("a"), None);
    }

    #[test]
    fn a_value_is_not_taken_for_a_key() {
        let segment = Segment::pack(vec![Metadata { tags: [("team".into(), "pay".into())].into(), ..named("a") }]);
        let holds = |key, value| {
            segment.which_tag_sets(key, value).is_some_and(|sets: Vec<bool>| sets[segment.tag_set_index(0)])
        };
        assert!(holds("team", None) && holds("team", Some("pay")));
        assert!(!holds("pay", None) && !holds("team", Some("team")) && !holds("absent", None));
    }
}
