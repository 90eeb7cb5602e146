//! Many short texts in one allocation, sorted.

use std::collections::{BTreeSet, HashMap};

/// Sorted, distinct texts, each with a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Texts {
    text: Box<str>,
    /// Where each ends.
    ends: Box<[u32]>,
}

impl Texts {
    /// Packs them; also tells each one's number.
    pub(super) fn pack<'t>(texts: impl Iterator<Item = &'t str>) -> (Self, HashMap<&'t str, u32>) {
        let sorted: BTreeSet<&str> = texts.collect();
        let mut text = String::with_capacity(sorted.iter().map(|text| text.len()).sum());
        let mut ends = Vec::with_capacity(sorted.len());
        let mut numbers = HashMap::with_capacity(sorted.len());
        for (number, one) in (0..).zip(sorted) {
            text.push_str(one);
            ends.push(u32::try_from(text.len()).expect("a vault's tags are far below four billion bytes"));
            numbers.insert(one, number);
        }
        (Self { text: text.into(), ends: ends.into() }, numbers)
    }

    pub(super) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[number] as usize]
    }

    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let (mut low, mut high) = (0, u32::try_from(self.ends.len()).expect("it was counted when it was packed"));
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..).zip(&self.ends).map(|(number, _)| self.get(number))
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.ends)
    }
}
