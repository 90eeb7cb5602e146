//! Pages: whole, without repeats, and stable while secrets come and go.

use sidekey::catalog::{Catalog, Query};

use super::estate::{Act, Scripted, found, hits, listed, named, search};

const SORTS: [&str; 8] = ["name", "-name", "vault", "-vault", "expires", "-expires", "updated", "-updated"];

async fn two_vaults() -> Catalog {
    let rows = |offset: i64| {
        let mut rows = named(&["a", "b", "c", "d", "e", "f", "g"]);
        for (n, row) in (0..).zip(&mut rows) {
            let at = time::OffsetDateTime::from_unix_timestamp(1_000_000 + (n * 3 + offset) % 5).unwrap();
            row.updated = Some(at);
            row.expires = (n % 2 == 0).then_some(at);
            row.tags = [("team".to_owned(), if n % 2 == 0 { "pay" } else { "mail" }.to_owned())].into();
        }
        rows
    };
    let (one, two) = (Scripted::holding("one", &[]), Scripted::holding("two", &[]));
    one.now(Act::Tell(rows(0)));
    two.now(Act::Tell(rows(2)));
    listed([&one, &two]).await
}

fn walk(catalog: &Catalog, parameters: &[(&str, &str)], limit: usize) -> Vec<String> {
    walk_of(14, catalog, parameters, limit)
}

fn walk_of(total: usize, catalog: &Catalog, parameters: &[(&str, &str)], limit: usize) -> Vec<String> {
    let mut query = Query { limit: Some(limit), ..Query::from_parameters(parameters.iter().copied()).unwrap() };
    let mut all = Vec::new();
    loop {
        let page = catalog.search(&query).unwrap();
        assert_eq!(page.total, total, "the total is of all pages");
        assert!(page.hits.len() <= limit);
        all.extend(hits(&page));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_make_up_the_whole_in_every_order() {
    let catalog = two_vaults().await;
    let fuzzy: &[(&str, &str)] = &[("match", "fuzzy"), ("q", "")];
    for parameters in SORTS.map(|sort| [("sort", sort)]).iter().map(|p| &p[..]).chain([fuzzy]) {
        let whole = walk(&catalog, parameters, 1000);
        assert_eq!(whole.len(), 14);
        for limit in [1, 2, 3, 7, 13, 14] {
            assert_eq!(walk(&catalog, parameters, limit), whole, "{parameters:?} in pages of {limit}");
        }
    }
}

#[tokio::test]
async fn a_filter_counts_the_same_on_a_page_of_any_size() {
    let catalog = two_vaults().await;
    for (total, parameters) in [
        (14, &[("tag", "team")][..]),
        (8, &[("tag", "team=pay")]),
        (6, &[("tag", "team=mail"), ("enabled", "true")]),
        (6, &[("tag", "team=mail"), ("q", "[!z]"), ("match", "glob")]),
        (6, &[("tag", "team=pay"), ("q", "[a-e]"), ("match", "glob")]),
        (8, &[("tag", "team=pay"), ("sort", "-updated")]),
    ] {
        let whole = walk_of(total, &catalog, parameters, 1000);
        assert_eq!(whole.len(), total);
        for limit in [1, 2, 5] {
            assert_eq!(walk_of(total, &catalog, parameters, limit), whole, "{parameters:?} in pages of {limit}");
        }
    }
}

#[tokio::test]
async fn pages_of_fuzzy_hits_go_on_where_the_last_ended() {
    let vault = Scripted::holding("v", &["rd", "r-d", "red", "r-e-d", "ro-de", "x-rd", "xrxd"]);
    let catalog = listed([&vault]).await;
    let whole = search(&catalog, &[("q", "rd"), ("match", "fuzzy")]);
    assert_eq!(whole.total, 7);
    let mut query = Query::from_parameters([("q", "rd"), ("match", "fuzzy"), ("limit", "1")]).unwrap();
    let mut walked = Vec::new();
    while walked.len() < 20 {
        let page = catalog.search(&query).unwrap();
        walked.extend(hits(&page));
        let Some(next) = page.next else { break };
        query.cursor = Some(next);
    }
    assert_eq!(walked, hits(&whole));
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_ended_though_secrets_came_and_went() {
    let vault = Scripted::holding("v", &["b", "d", "f", "h"]);
    let catalog = listed([&vault]).await;
    let first = search(&catalog, &[("limit", "2")]);
    assert_eq!(hits(&first), ["v/b", "v/d"]);
    // Before the end of the first page one comes, and its last hit goes: neither moves what is still to be told.
    vault.now(Act::Tell(named(&["a", "b", "e", "f", "h"])));
    catalog.refresh(None).await;
    let second = search(&catalog, &[("limit", "2"), ("cursor", first.next.as_deref().unwrap())]);
    assert_eq!(hits(&second), ["v/e", "v/f"]);
    let third = search(&catalog, &[("limit", "2"), ("cursor", second.next.as_deref().unwrap())]);
    assert_eq!((hits(&third), third.next), (vec!["v/h".to_owned()], None));
}

#[tokio::test]
async fn a_cursor_of_another_query_is_refused_and_another_limit_is_not_another_query() {
    let catalog = two_vaults().await;
    let next = search(&catalog, &[("limit", "2")]).next.unwrap();
    assert_eq!(search(&catalog, &[("limit", "5"), ("cursor", &next)]).hits.len(), 5);
    for other in [("q", "a"), ("sort", "-name"), ("vault", "one"), ("tag", "k"), ("enabled", "true"), ("match", "glob")]
    {
        let query = Query::from_parameters([other, ("cursor", &next)]).unwrap();
        let error = catalog.search(&query).expect_err("another query's cursor").to_string();
        assert_eq!(error, "`cursor` belongs to another query", "{other:?}");
    }
}

#[tokio::test]
async fn the_last_page_offers_no_next_one() {
    let vault = Scripted::holding("v", &["a", "b"]);
    let catalog = listed([&vault]).await;
    assert_eq!(search(&catalog, &[("limit", "2")]).next, None);
    assert!(search(&catalog, &[("limit", "1")]).next.is_some());
}

#[tokio::test]
async fn one_vaults_secrets_are_paged_by_name() {
    let (vault, other) = (Scripted::holding("v", &["c", "a", "b"]), Scripted::holding("w", &["x"]));
    let catalog = listed([&vault, &other]).await;
    let v = found(&catalog, "v");
    let names =
        |page: &sidekey::catalog::SecretsPage| page.secrets.iter().map(|m| m.name.to_string()).collect::<String>();
    let first = catalog.secrets(&v, 2, None).unwrap();
    assert_eq!((names(&first).as_str(), first.total, &first.unanswered), ("ab", 3, &None));
    let second = catalog.secrets(&v, 2, first.next.as_deref()).unwrap();
    assert_eq!((names(&second).as_str(), &second.next), ("c", &None));
    catalog.secrets(&found(&catalog, "w"), 2, first.next.as_deref()).expect_err("another vault's cursor");
    catalog.secrets(&v, 0, None).expect_err("a page of nothing never ends");
}
