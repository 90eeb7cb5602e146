//! Which secrets a query matches, and in which order.

use sidekey::catalog::{Catalog, Query};
use sidekey::secret::Metadata;
use time::OffsetDateTime;
use time::macros::datetime;

use super::estate::{Act, Scripted, hits, listed, named, search, secret_name};

const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

async fn names(parameters: &[(&str, &str)]) -> Vec<String> {
    let vault =
        Scripted::holding("v", &["redis-password", "redis-user", "Orders-Redis", "password", "pass-word", "re-x"]);
    hits(&search(&listed([&vault]).await, parameters)).into_iter().map(|hit| hit.replace("v/", "")).collect()
}

#[tokio::test]
async fn an_empty_query_matches_everything_by_name() {
    assert_eq!(names(&[]).await, ["orders-redis", "pass-word", "password", "re-x", "redis-password", "redis-user"]);
}

#[tokio::test]
async fn a_substring_is_found_anywhere_whatever_its_case() {
    assert_eq!(names(&[("q", "REDIS")]).await, ["orders-redis", "redis-password", "redis-user"]);
    assert_eq!(names(&[("q", "s")]).await.len(), 5, "a name that holds it several times is one hit");
    assert!(names(&[("q", "redis_password")]).await.is_empty());
}

#[tokio::test]
async fn a_match_never_reaches_over_two_names() {
    // In the buffer the names stand one after the other.
    assert!(names(&[("q", "passwordre")]).await.is_empty());
    assert!(names(&[("q", "password\nre")]).await.is_empty());
    assert!(names(&[("q", "word.*redis"), ("match", "regex")]).await.is_empty());
}

#[tokio::test]
async fn exact_and_prefix_are_no_substrings() {
    assert_eq!(names(&[("q", "Password"), ("match", "exact")]).await, ["password"]);
    assert!(names(&[("q", "passwor"), ("match", "exact")]).await.is_empty());
    assert_eq!(names(&[("q", "redis-"), ("match", "prefix")]).await, ["redis-password", "redis-user"]);
}

#[tokio::test]
async fn a_glob_covers_the_whole_name() {
    for (glob, expected) in [
        ("*", 6),
        ("**", 6),
        ("redis", 0),
        ("redis-*", 2),
        ("*-redis", 1),
        ("*redis*", 3),
        ("r*-*d", 1),
        ("re?is-*", 2),
        ("re[a-d]is-user", 1),
        ("{password,re-x}", 2),
        ("pass?word", 1),
        ("*e*s*", 3),
        ("*\n*", 0),
        ("Redis-USER", 1),
    ] {
        let matched = names(&[("q", glob), ("match", "glob")]).await;
        let slow = slow_glob(glob).await;
        assert_eq!(matched, slow, "{glob}");
        assert_eq!(matched.len(), expected, "{glob}: {matched:?}");
    }
}

/// The same by the glob library alone, without any of the catalog's short cuts.
async fn slow_glob(glob: &str) -> Vec<String> {
    let matcher = globset::Glob::new(&glob.to_lowercase()).unwrap().compile_matcher();
    names(&[]).await.into_iter().filter(|name| matcher.is_match(name)).collect()
}

#[tokio::test]
async fn a_regex_is_found_anywhere_and_its_case_does_not_matter_but_its_classes_do() {
    assert_eq!(names(&[("q", "^RE(dis|-)"), ("match", "regex")]).await, ["re-x", "redis-password", "redis-user"]);
    assert_eq!(names(&[("q", r"^\D+$"), ("match", "regex")]).await.len(), 6, "\\D is not \\d");
    assert_eq!(names(&[("q", "word$"), ("match", "regex")]).await, ["pass-word", "password", "redis-password"]);
}

#[tokio::test]
async fn fuzzy_puts_the_best_first_and_scores_it() {
    let vault = Scripted::holding("v", &["r-p-x", "orders-redis-password", "redis-pw", "unrelated"]);
    let page = search(&listed([&vault]).await, &[("q", "RedisPw"), ("match", "fuzzy")]);
    assert_eq!(hits(&page), ["v/redis-pw", "v/orders-redis-password"]);
    assert!(page.hits[0].score > page.hits[1].score);
    assert_eq!(search(&listed([&vault]).await, &[("q", "redis")]).hits[0].score, None);
}

#[tokio::test]
async fn the_vault_glob_takes_addresses_and_sources() {
    let (pay, mail) = (Scripted::holding("pay-prod", &["a"]), Scripted::holding("mail", &["a"]));
    let catalog = listed([&pay, &mail]).await;
    for (glob, expected) in
        [("pay-*", vec!["pay-prod/a"]), ("PAY-prod", vec!["pay-prod/a"]), ("s:m*", vec!["mail/a"]), ("pay", vec![])]
    {
        assert_eq!(hits(&search(&catalog, &[("vault", glob)])), expected, "{glob}");
    }
}

/// `a`: disabled, expired, tagged; `b`: of a certificate, expires soon; `c`: expires later; `d`: nothing told.
async fn described() -> Catalog {
    let mut rows = named(&["a", "b", "c", "d"]);
    let set = |row: &mut Metadata, expires: OffsetDateTime, updated: OffsetDateTime| {
        row.expires = Some(expires);
        row.updated = Some(updated);
    };
    set(&mut rows[0], datetime!(2026-06-01 12:00 UTC), datetime!(2026-01-03 00:00 UTC));
    set(&mut rows[1], datetime!(2026-06-02 12:00 UTC), datetime!(2026-01-02 00:00 UTC));
    set(&mut rows[2], datetime!(2027-01-01 00:00 UTC), datetime!(2026-01-01 00:00 UTC));
    rows[0].enabled = false;
    rows[0].tags = [("team".to_owned(), "pay".to_owned()), ("env".to_owned(), "prod".to_owned())].into();
    rows[1].tags = [("team".to_owned(), "mail".to_owned())].into();
    rows[1].managed = true;
    rows[1].content_type = Some("Application/X-PKCS12".to_owned());
    let vault = Scripted::holding("v", &[]);
    vault.now(Act::Tell(rows));
    listed([&vault]).await
}

async fn filtered(parameters: &[(&str, &str)]) -> String {
    let query = Query { now: Some(NOW), ..Query::from_parameters(parameters.iter().copied()).unwrap() };
    let page = described().await.search(&query).unwrap();
    assert_eq!(page.total, page.hits.len());
    page.hits.iter().map(|hit| hit.metadata.name.to_string()).collect()
}

#[tokio::test]
async fn each_filter_takes_what_it_says_and_all_must_hold() {
    for (parameters, expected) in [
        (&[("enabled", "true")][..], "bcd"),
        (&[("enabled", "false")], "a"),
        (&[("managed", "true")], "b"),
        (&[("managed", "false")], "acd"),
        (&[("content_type", "application/x-pkcs12")], "b"),
        (&[("content_type", "application/x")], ""),
        (&[("tag", "team")], "ab"),
        (&[("tag", "team=pay")], "a"),
        (&[("tag", "team=Pay")], ""),
        (&[("tag", "team"), ("tag", "env=prod")], "a"),
        (&[("tag", "team=mail"), ("tag", "env=prod")], ""),
        (&[("tag", "pay")], ""),
        (&[("expired", "true")], "a"),
        (&[("expired", "false")], "bcd"),
        (&[("expires_within", "1d")], "b"),
        (&[("expires_within", "23h")], ""),
        (&[("expires_within", "400d")], "bc"),
        (&[("updated_since", "2026-01-02T00:00:00Z")], "ab"),
        (&[("tag", "team"), ("enabled", "true"), ("q", "b")], "b"),
        (&[("tag", "team"), ("enabled", "true"), ("q", "a")], ""),
    ] {
        assert_eq!(filtered(parameters).await, expected, "{parameters:?}");
    }
}

#[tokio::test]
async fn what_has_no_such_time_comes_last_in_both_directions() {
    for (sort, expected) in [
        ("name", "abcd"),
        ("-name", "dcba"),
        ("expires", "abcd"),
        ("-expires", "cbad"),
        ("updated", "cbad"),
        ("-updated", "abcd"),
    ] {
        assert_eq!(filtered(&[("sort", sort)]).await, expected, "{sort}");
    }
}

#[tokio::test]
async fn a_name_in_several_vaults_is_told_by_vault() {
    let (one, two) = (Scripted::holding("one", &["b", "x"]), Scripted::holding("two", &["a", "x"]));
    let catalog = listed([&two, &one]).await;
    assert_eq!(hits(&search(&catalog, &[])), ["two/a", "one/b", "one/x", "two/x"]);
    assert_eq!(hits(&search(&catalog, &[("sort", "vault")])), ["one/b", "one/x", "two/a", "two/x"]);
    assert_eq!(hits(&search(&catalog, &[("sort", "-vault")])), ["two/a", "two/x", "one/b", "one/x"]);
    assert_eq!(hits(&search(&catalog, &[("sort", "-name")])), ["one/x", "two/x", "one/b", "two/a"]);
}

#[tokio::test]
async fn what_a_listing_told_comes_out_whole() {
    let page = search(&described().await, &[("q", "a")]);
    assert_eq!(page.hits[0].metadata.name, secret_name("a"));
    assert_eq!(page.hits[0].metadata.tags.get("team"), Some("pay"));
    assert_eq!(page.hits[0].metadata.expires, Some(datetime!(2026-06-01 12:00 UTC)));
}

#[tokio::test]
async fn a_bad_query_says_which_parameter_what_and_where() {
    let parameters = |parameters: &[(&str, &str)]| Query::from_parameters(parameters.iter().copied());
    for (bad, says) in [
        (&[("match", "fuzy")][..], "`match` is none of"),
        (&[("enabled", "yes")], "`enabled` is neither true nor false"),
        (&[("expires_within", "soon")], "`expires_within` is no duration"),
        (&[("updated_since", "yesterday")], "`updated_since` is no RFC 3339 time"),
        (&[("sort", "size")], "`sort` is none of"),
        (&[("limit", "-1")], "`limit` is no number"),
        (&[("tag", "=v")], "`tag` has no key"),
        (&[("expires_witin", "3d")], "did you mean `expires_within`?"),
        (&[("colour", "red")], "`colour` is not a parameter here"),
        (&[("\u{1b}[31m", "red")], "`\\u{1b}[31m` is not"),
        (&[("q", "a"), ("q", "b")], "`q` is told twice"),
    ] {
        let error = parameters(bad).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let catalog = described().await;
    for (bad, says) in [
        (&[("q", "re(dis"), ("match", "regex")][..], "`q` is no regular expression: unclosed group, at character 3"),
        (&[("q", "aé["), ("match", "regex")], "at character 3"),
        (&[("q", "(a{1000}){1000}"), ("match", "regex")], "`q` is too large a pattern"),
        (&[("q", "re[dis"), ("match", "glob")], "`q` is no glob: "),
        (&[("vault", "{a")], "`vault` is no glob: "),
        (&[("vault", "")], "`vault` is empty"),
        (&[("limit", "0")], "`limit` is 0"),
        (&[("limit", "1001")], "`limit` is 1001; 1000 is the most"),
        (&[("cursor", "nonsense")], "`cursor` is not one that a page gave"),
    ] {
        let error = catalog.search(&parameters(bad).unwrap()).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let deep = "(".repeat(1025);
    let error = catalog.search(&parameters(&[("q", &deep), ("match", "regex")]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("1024 is the most"), "{error}");
}
