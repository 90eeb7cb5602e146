//! One vault's metadata, packed: a whole listing in a dozen allocations, and names that can be searched in one sweep.
//!
//! A segment never changes; a listing that brought something new makes a new one. Rows are in the order of their
//! names. Every name is in one buffer, each followed by a newline, which no name can hold: a match cannot reach over
//! two names. Times are kept to the second, as Key Vault keeps them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use time::OffsetDateTime;

use crate::secret::{Metadata, SecretName, Version};

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
    /// The distinct sets of tags, each a run of (key, value) in `texts`, in the order of keys. The first is empty.
    tag_sets: Box<[TagSet]>,
    /// Keys and values of tags, sorted.
    texts: Box<[Box<str>]>,
    /// Content types, sorted; a row's index is one more, 0 for none.
    content_types: Box<[Box<str>]>,
}

/// Keys and values, as indices into the segment's texts, in the order of keys.
type TagSet = Box<[(u32, u32)]>;

const ENABLED: u8 = 1;
const MANAGED: u8 = 2;
/// No time told. Far before any that Key Vault can tell.
const NEVER: i64 = i64::MIN;

impl Segment {
    /// Packs a listing, in any order. A name told twice (a page moved while it was listed) counts once, as it was told
    /// last.
    pub(super) fn pack(listing: Vec<Metadata>) -> Self {
        let listing: BTreeMap<SecretName, Metadata> =
            listing.into_iter().map(|metadata| (metadata.name.clone(), metadata)).collect();
        let rows: Vec<Metadata> = listing.into_values().collect();

        let texts: BTreeSet<&str> =
            rows.iter().flat_map(|row| row.tags.iter().flat_map(|(k, v)| [k.as_str(), v.as_str()])).collect();
        let content_types: BTreeSet<&str> = rows.iter().filter_map(|row| row.content_type.as_deref()).collect();
        let text_index = indexed(&texts);
        let type_index = indexed(&content_types);

        let mut tag_sets: Vec<TagSet> = vec![Box::default()];
        let mut set_index: HashMap<TagSet, u32> = HashMap::from([(Box::default(), 0)]);
        let tags = rows
            .iter()
            .map(|row| {
                let set: TagSet =
                    row.tags.iter().map(|(k, v)| (text_index[k.as_str()], text_index[v.as_str()])).collect();
                *set_index.entry(set).or_insert_with_key(|set| {
                    tag_sets.push(set.clone());
                    count(tag_sets.len() - 1)
                })
            })
            .collect();

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
                .map(|row| row.content_type.as_deref().map_or(0, |content_type| type_index[content_type] + 1))
                .collect(),
            not_before: rows.iter().map(|row| seconds(row.not_before)).collect(),
            expires: rows.iter().map(|row| seconds(row.expires)).collect(),
            created: rows.iter().map(|row| seconds(row.created)).collect(),
            updated: rows.iter().map(|row| seconds(row.updated)).collect(),
            versions: if told { rows.iter().map(|row| row.version.clone()).collect() } else { Box::default() },
            tag_sets: tag_sets.into(),
            texts: texts.into_iter().map(Box::from).collect(),
            content_types: content_types.into_iter().map(Box::from).collect(),
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
    pub(super) fn name(&self, row: usize) -> &str {
        &self.names[self.start(row)..self.start(row + 1) - 1]
    }

    /// Where a row's name starts in [`Segment::names`]; for one past the last row, where the names end.
    pub(super) fn start(&self, row: usize) -> usize {
        self.starts[row] as usize
    }

    /// The row whose name (or the newline after it) covers a place in [`Segment::names`]. `from` is a row at or before
    /// it: hits come in order, and the next one is near.
    pub(super) fn row_at(&self, place: usize, from: usize) -> usize {
        let mut step = 1;
        let mut low = from;
        while low + step < self.len() && self.start(low + step) <= place {
            low += step;
            step *= 2;
        }
        let high = (low + step).min(self.len());
        low + self.starts[low..high].partition_point(|start| *start as usize <= place) - 1
    }

    /// The first row whose name is not before `name`.
    pub(super) fn lower_bound(&self, name: &str) -> usize {
        self.first_not(|other| other < name)
    }

    /// The rows whose names start like that.
    pub(super) fn starting_with(&self, start: &str) -> Range<usize> {
        let first = self.lower_bound(start);
        first..self.first_not(|other| other < start || other.starts_with(start)).max(first)
    }

    /// The row of exactly that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let row = self.lower_bound(name);
        (row < self.len() && self.name(row) == name).then_some(row)
    }

    /// A row, unpacked.
    pub(super) fn metadata(&self, row: usize) -> Metadata {
        let text = |index: u32| self.texts[index as usize].to_string();
        Metadata {
            name: self.name(row).parse().expect("it was a name when it was packed"),
            version: self.versions.get(row).cloned().flatten(),
            enabled: self.enabled(row),
            not_before: moment(self.not_before[row]),
            expires: moment(self.expires[row]),
            created: moment(self.created[row]),
            updated: moment(self.updated[row]),
            content_type: self.content_type(row).map(str::to_owned),
            tags: self.tag_sets[self.tags[row] as usize].iter().map(|(k, v)| (text(*k), text(*v))).collect(),
            managed: self.managed(row),
        }
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

    /// Which of the content types are this one; case does not matter. The first entry is for 'none'.
    pub(super) fn which_types(&self, content_type: &str) -> Vec<bool> {
        std::iter::once(false).chain(self.content_types.iter().map(|t| t.eq_ignore_ascii_case(content_type))).collect()
    }

    /// Which of the sets of tags hold this key, and this value where one is told. `None`: none does.
    pub(super) fn which_tag_sets(&self, key: &str, value: Option<&str>) -> Option<Vec<bool>> {
        let key = self.text(key)?;
        let value = match value {
            Some(value) => Some(self.text(value)?),
            None => None,
        };
        let holds = |set: &[(u32, u32)]| {
            set.binary_search_by_key(&key, |(k, _)| *k).is_ok_and(|at| value.is_none_or(|value| set[at].1 == value))
        };
        Some(self.tag_sets.iter().map(|set| holds(set)).collect())
    }

    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        let texts = |texts: &[Box<str>]| texts.iter().map(|text| text.len() + size_of::<Box<str>>()).sum::<usize>();
        self.names.len()
            + self.starts.len() * 4
            + self.len() * (1 + 4 + 4 + 4 * 8)
            + self.versions.len() * size_of::<Option<Version>>()
            + self.tag_sets.iter().map(|set| set.len() * 8 + size_of::<TagSet>()).sum::<usize>()
            + texts(&self.texts)
            + texts(&self.content_types)
    }

    /// The first row whose name is not (any more) so; names that are so come first.
    fn first_not(&self, so: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
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
        let index = (self.types[row] as usize).checked_sub(1)?;
        Some(&self.content_types[index])
    }

    fn text(&self, text: &str) -> Option<u32> {
        self.texts.binary_search_by(|probe| (**probe).cmp(text)).ok().map(count)
    }
}

fn indexed<'t>(sorted: &BTreeSet<&'t str>) -> HashMap<&'t str, u32> {
    sorted.iter().enumerate().map(|(index, text)| (*text, count(index))).collect()
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
    fn every_place_belongs_to_its_row() {
        let segment = Segment::pack((0..300).map(|n| named(&format!("n{n}"))).collect());
        for row in 0..segment.len() {
            for place in segment.start(row)..segment.start(row + 1) {
                for from in [0, row / 2, row] {
                    assert_eq!(segment.row_at(place, from), row);
                }
            }
        }
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
