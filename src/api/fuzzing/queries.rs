use std::collections::BTreeSet;

use time::macros::datetime;

use crate::api::path::pairs;
use crate::catalog::{Catalog, Matching, Query};
use crate::secret::fuzzing::assert_tellable;
use crate::vaults::memory::Attributes;

thread_local! {
    static CATALOG: Catalog = super::runtime().block_on(super::listed(vaults()));
}

/// The query of a search as it stands in a URL: pages hold what they say, no hit comes twice, and what is refused is
/// refused in few words.
pub fn search(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(pairs) = pairs(Some(text)) else { return };
    let query = Query::from_parameters(pairs.iter().map(|(name, value)| (&**name, &**value)));
    let query = match query {
        Ok(query) => Query { now: Some(datetime!(2026-01-31 12:00 UTC)), ..query },
        Err(error) => return assert_tellable(&error.to_string(), 400 + 8 * text.len()),
    };
    let found = CATALOG.with(|catalog| all_pages(catalog, query.clone()));
    if let Some(hits) = found
        && let Some(vault) = query.named_vault()
    {
        let own = |of: &str| of.eq_ignore_ascii_case(vault) || format!("fuzz:{of}").eq_ignore_ascii_case(vault);
        assert!(hits.iter().all(|(of, _)| own(of)), "a hit is of another vault than was asked about");
    }
}

/// A text as each kind of pattern, after a byte that tells which: what is found is what somebody else's reading of the
/// same pattern finds, name by name.
pub fn patterns(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kinds = [Matching::Substring, Matching::Exact, Matching::Prefix, Matching::Glob, Matching::Regex];
    let matching = *kinds.get(usize::from(*kind) % (kinds.len() + 1)).unwrap_or(&Matching::Fuzzy);
    let query = Query { text: text.to_owned(), matching, limit: Some(50), ..Query::default() };
    let Some(found) = CATALOG.with(|catalog| all_pages(catalog, query)) else { return };
    let Some(expected) = expected(matching, text) else { return };
    let names: BTreeSet<_> = found.into_iter().map(|(_, name)| name).collect();
    for name in names_of_all() {
        let (told, meant) = (names.contains(&name), text.is_empty() || expected(&name));
        assert_eq!(told, meant, "{matching:?} {text:?} finds {name:?}: {told}, and should: {meant}");
    }
}

type Meant = Box<dyn Fn(&str) -> bool>;

/// What a name must be to match, in the words of others; `None` where nobody else has any.
fn expected(matching: Matching, text: &str) -> Option<Meant> {
    let lower = text.to_ascii_lowercase();
    Some(match matching {
        Matching::Substring => Box::new(move |name| name.contains(&lower)),
        Matching::Exact => Box::new(move |name| name == lower),
        Matching::Prefix => Box::new(move |name| name.starts_with(&lower)),
        Matching::Glob => {
            let glob = globset::GlobBuilder::new(&lower).backslash_escape(true).build();
            let matcher = glob.expect("what was taken is a glob").compile_matcher();
            Box::new(move |name| matcher.is_match(name))
        }
        Matching::Regex => {
            let regex = regex::bytes::RegexBuilder::new(text).unicode(false).case_insensitive(true).build();
            let regex = regex.expect("what was taken is a regular expression");
            Box::new(move |name| regex.is_match(name.as_bytes()))
        }
        Matching::Fuzzy => return None,
    })
}

/// Vault and name of every hit, page by page; `None` if the query is refused.
fn all_pages(catalog: &Catalog, mut query: Query) -> Option<Vec<(String, String)>> {
    let (mut hits, mut total) = (Vec::new(), None);
    loop {
        let page = match catalog.search(&query) {
            Ok(page) => page,
            Err(error) => {
                // Only a cursor of ours was checked before: it is good for the next page.
                assert!(hits.is_empty(), "the next page is refused: {error}");
                assert_tellable(&error.to_string(), 400 + 8 * query.text.len());
                return None;
            }
        };
        let limit = query.limit.unwrap_or(Query::USUAL);
        assert!(page.hits.len() <= limit, "{} hits on a page of {limit}", page.hits.len());
        assert!(page.complete && page.unanswered.is_empty(), "every vault has answered");
        hits.extend(page.hits.iter().map(|hit| (hit.vault.to_string(), hit.metadata.name.to_string())));
        // A stranger's cursor may begin anywhere: only what is told from the start has a sum.
        if query.cursor.is_none() {
            total = Some(page.total);
        }
        let Some(next) = page.next else { break };
        assert!(!page.hits.is_empty(), "a page without a hit leads to another");
        query.cursor = Some(next);
        // A page of one hit, a hundred times: the order is shown by then.
        if hits.len() > 300 || (limit < 10 && hits.len() > 30) {
            total = None;
            break;
        }
    }
    let once: BTreeSet<_> = hits.iter().collect();
    assert_eq!(once.len(), hits.len(), "a hit is told twice");
    assert!(total.is_none_or(|total| total == hits.len()), "{total:?} hits are promised, {} told", hits.len());
    Some(hits)
}

fn names_of_all() -> impl Iterator<Item = String> {
    NAMES.iter().map(|name| (*name).to_owned()).chain((0..40).map(|n| format!("filler-{n:02}")))
}

const NAMES: &[&str] =
    &["a", "b", "ab", "aba", "abba", "db-password", "db-user", "redis-password", "redis-0", "tls", "-", "--", "x-1"];

fn vaults() -> Vec<crate::vaults::memory::MemoryVault> {
    let at = datetime!(2026-02-10 12:00 UTC);
    let vaults = ["pay-prod", "shared"].map(super::vault);
    for (vault, n) in vaults.iter().zip(0_u8..) {
        for (name, at_name) in names_of_all().zip(0_u8..) {
            let attributes = Attributes {
                enabled: at_name % 5 != 0,
                expires: (at_name % 3 == 0).then_some(at + time::Duration::days(i64::from(at_name) - 20)),
                content_type: (at_name % 4 == 0).then(|| "text/plain".to_owned()),
                tags: [("team".to_owned(), if n == 0 { "pay" } else { "all" }.to_owned())].into(),
                managed: at_name % 7 == 0,
                written: Some(at - time::Duration::days(i64::from(at_name))),
                ..Attributes::default()
            };
            super::set(vault, &name, "value", attributes);
        }
    }
    vaults.into()
}
