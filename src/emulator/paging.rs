//! Cutting a list into pages as the estate says: short ones, empty ones, and marks to go on from.
//!
//! A mark names the last item that was given, so that a list which changes between two pages repeats nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::estate::Paging;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The page to come, from 0.
    pub(super) page: usize,
    /// The last item given; `None`: none yet.
    pub(super) after: Option<String>,
}

impl Mark {
    pub(super) const START: Self = Self { page: 0, after: None };

    pub(super) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a number and a text are JSON"))
    }

    /// `None` if the text was not made by [`Mark::to_text`].
    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// How many items a page has, given what the caller asked for.
pub(super) fn size(paging: &Paging, page: usize, asked: usize) -> usize {
    match paging.pages.get(page) {
        Some(size) => (*size).min(asked),
        None if paging.pages.is_empty() && (1..=paging.empty_pages).contains(&page) => 0,
        None => paging.page_size.min(asked),
    }
}

/// Whether another page follows this one, given whether items are left.
pub(super) fn goes_on(paging: &Paging, page: usize, items_left: bool) -> bool {
    let told = if paging.pages.is_empty() { paging.empty_pages + 1 } else { paging.pages.len() };
    let padded = !paging.pages.is_empty() || paging.empty_pages > 0;
    items_left || (padded && page + 1 < told)
}

#[cfg(test)]
mod tests {
    use super::super::estate::PageEnd;
    use super::*;

    fn walk(paging: &Paging, items: usize) -> Vec<usize> {
        let (mut left, mut page, mut sizes) = (items, 0, Vec::new());
        loop {
            let given = size(paging, page, 1000).min(left);
            left -= given;
            sizes.push(given);
            if !goes_on(paging, page, left > 0) {
                return sizes;
            }
            page += 1;
        }
    }

    #[test]
    fn empty_pages_stand_between_the_first_page_and_the_rest() {
        let paging = Paging { page_size: 2, empty_pages: 3, pages: vec![], end: PageEnd::Null };
        assert_eq!(walk(&paging, 5), [2, 0, 0, 0, 2, 1]);
        assert_eq!(walk(&paging, 1), [1, 0, 0, 0]);
    }

    #[test]
    fn pages_can_be_told_one_by_one() {
        let paging = Paging { page_size: 2, empty_pages: 0, pages: vec![1, 0, 0, 1, 0], end: PageEnd::Absent };
        assert_eq!(walk(&paging, 2), [1, 0, 0, 1, 0]);
        assert_eq!(walk(&paging, 5), [1, 0, 0, 1, 0, 2, 1]);
    }

    #[test]
    fn a_mark_survives_its_text() {
        let mark = Mark { page: 7, after: Some("db".into()) };
        assert_eq!(Mark::from_text(&mark.to_text()), Some(mark));
        assert_eq!(Mark::from_text("nonsense"), None);
    }
}
