//! What is not granted is not there: it is not told, not asked, and refused in the same words whether or not it exists.

use std::collections::BTreeMap;

use serde_json::json;
use sidekey::broker::BrokerOptions;
use sidekey::catalog::Query;
use sidekey::rights::Rights;

use super::{Answer, Estate, SHORT, Site, ask, caller, client, own_uid, resolve};

const VAULTS: &[(&str, &[&str])] = &[
    ("a:pay", &["db", "db-x", "api"]),
    ("a:hr", &["db", "salary"]),
    ("a:ops!", &["db", "root"]),
    ("b:pay", &["db"]),
    ("b:gov", &["db"]),
];

#[tokio::test]
async fn a_refusal_is_the_same_whether_or_not_it_exists_and_asks_nobody() {
    let estate = Estate::of(VAULTS).await;
    let (router, app) = (estate.router(), caller(&["pay/db"], &["pay/*"]));
    let version = "0".repeat(32);
    let refused = [
        "/v1/vaults/hr/secrets/db",
        "/v1/vaults/hr/secrets/none",
        "/v1/vaults/none/secrets/db",
        "/v1/vaults/pay/secrets/api",
        "/v1/vaults/pay/secrets/none",
        "/v1/vaults/ops/secrets/root",
        "/v1/vaults/b:pay/secrets/db",
        "/v1/vaults/a:pay/secrets/db",
        "/v1/vaults/hr/secrets/db?field=/x",
        "/v1/vaults/hr/secrets/db?format=pem",
        "/v1/vaults/hr/secrets/db/versions",
        "/v1/vaults/none/secrets/none/versions",
        &format!("/v1/vaults/hr/secrets/db/versions/{version}"),
        &format!("/v1/vaults/none/secrets/none/versions/{version}"),
        "/v1/secrets/salary",
        "/v1/secrets/none",
        &format!("/v1/secrets/salary?version={version}"),
        "/v1/vaults/hr/secrets",
        "/v1/vaults/none/secrets",
        "/v1/vaults/ops/secrets?limit=1",
        "/v1/search?vault=hr",
        "/v1/search?vault=none&q=x",
        "/v1/watch?ref=hr/db",
        "/v1/watch?ref=none/db",
        "/v1/watch?ref=hr/*",
        "/v1/watch?ref=salary",
        "/v1/watch?ref=none",
        "/v1/watch?ref=pay/db&ref=pay/api",
    ];
    let mut first: Option<Answer> = None;
    for path in refused {
        let answer = ask(&router, &app, path).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("forbidden")), "{path}");
        assert_eq!(*first.get_or_insert_with(|| answer.clone()), answer, "{path}");
    }
    assert!(estate.asked().is_empty(), "nobody was asked");
    // Before anything is known as well: whether a vault was found already tells of it, too.
    let early = Estate::of(&[]).await;
    assert_eq!(ask(&early.router(), &app, refused[0]).await, first.clone().unwrap());
    // In a resolve it is that key's failure, and the same.
    let of = |reference: &str| BTreeMap::from([("K".to_owned(), reference.to_owned())]);
    let one = resolve(&router, &app, &of("secret://hr/db")).await;
    let fault = &one.json()["errors"]["K"];
    assert_eq!((one.status, fault["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(one, resolve(&router, &app, &of("secret://hr/none")).await);
    assert_eq!(one, resolve(&router, &app, &of("secret://*/salary")).await);
    assert!(estate.asked().is_empty());
    // What is granted is told apart as ever.
    assert_eq!(ask(&router, &app, "/v1/vaults/pay/secrets/db").await.text(), "a:pay/db");
    assert_eq!(ask(&router, &caller(&["pay/*"], &[]), "/v1/vaults/pay/secrets/none").await.status, 404);
}

#[tokio::test]
async fn a_bare_name_means_the_vaults_that_may_be_read_and_asks_no_other() {
    let estate = Estate::of(VAULTS).await;
    let router = estate.router();
    // Held by five; one may be read: there is nothing to choose, and nothing that it does without.
    let answer = ask(&router, &caller(&["hr/*"], &[]), "/v1/secrets/db").await;
    assert_eq!((answer.status, answer.text()), (200, "a:hr/db"));
    assert!(answer.headers.iter().all(|(name, _)| name != "sidekey-incomplete"));
    assert_eq!(estate.asked(), [("a:hr".to_owned(), "db".to_owned())]);
    // Two: the candidates are those.
    let answer = ask(&router, &caller(&["hr/*", "b:*/db"], &[]), "/v1/secrets/db").await;
    assert_eq!(
        (answer.status, answer.json()["candidates"].clone()),
        (409, json!(["secret://b:gov/db", "secret://b:pay/db", "secret://hr/db"]))
    );
    assert!(estate.asked().is_empty());
    // A vault that cannot be listed is asked, and counted, only for who may read there.
    assert_eq!(ask(&router, &caller(&["pay/*"], &[]), "/v1/secrets/root").await.status, 404);
    assert!(estate.asked().is_empty());
    assert_eq!(ask(&router, &caller(&["*/root"], &[]), "/v1/secrets/root").await.text(), "a:ops/root");
    assert_eq!(estate.asked(), [("a:ops".to_owned(), "root".to_owned())]);
}

#[tokio::test]
async fn the_search_order_decides_among_what_may_be_read() {
    let order = vec!["hr".parse().unwrap(), "gov".parse().unwrap(), "pay".parse().unwrap()];
    let estate = Estate::with(VAULTS, BrokerOptions { order, ..BrokerOptions::default() }).await;
    let router = estate.router();
    let get = async |read: &[&str]| ask(&router, &caller(read, &[]), "/v1/secrets/db").await.text().to_owned();
    assert_eq!(get(&["*/*"]).await, "a:hr/db");
    assert_eq!(get(&["pay/*", "gov/*"]).await, "b:gov/db");
    // By whichever of its addresses it may be read, it is the vault that the order names.
    assert_eq!(get(&["pay/*", "b:gov/*"]).await, "b:gov/db");
    // And by whichever the order names it.
    let order = vec!["b:pay".parse().unwrap(), "a:hr".parse().unwrap()];
    let estate = Estate::with(VAULTS, BrokerOptions { order, ..BrokerOptions::default() }).await;
    let router = estate.router();
    let get = async |read: &[&str]| ask(&router, &caller(read, &[]), "/v1/secrets/db").await.text().to_owned();
    assert_eq!((get(&["*/*", "*:*/*"]).await, get(&["hr/*", "gov/*"]).await), ("b:pay/db".into(), "a:hr/db".into()));
}

#[tokio::test]
async fn what_is_found_is_told_under_an_address_by_which_it_may_be_read() {
    let estate = Estate::of(VAULTS).await;
    let router = estate.router();
    let app = caller(&["b:*/*", "hr/salary"], &["*/*"]);
    let hits = ask(&router, &app, "/v1/search").await.json();
    let told: Vec<_> = hits["hits"].as_array().unwrap().iter().map(|hit| hit["reference"].as_str().unwrap()).collect();
    assert_eq!(told, ["secret://b:gov/db", "secret://b:pay/db", "secret://hr/salary"]);
    assert_eq!((hits["total"].as_u64(), hits["complete"].as_bool()), (Some(3), Some(true)), "{hits}");
    for path in ["/v1/vaults/b:gov/secrets/db", "/v1/secrets/db"] {
        let answer = ask(&router, &app, path).await;
        assert!(!answer.text().contains("\"secret://gov"), "{path}");
    }
    let answer = ask(&router, &app, "/v1/vaults/b:gov/secrets/db").await;
    assert!(answer.headers.contains(&("sidekey-vault".to_owned(), "b:gov".to_owned())), "{answer:?}");
    assert_eq!(ask(&router, &app, "/v1/vaults/gov/secrets/db").await.status, 403);
    let listed = ask(&router, &app, "/v1/vaults/b:gov/secrets").await.json();
    assert_eq!(listed["secrets"][0]["reference"], "secret://b:gov/db");
}

#[tokio::test]
async fn vaults_counts_and_what_is_missing_are_those_that_may_be_seen() {
    let estate = Estate::of(VAULTS).await;
    let router = estate.router();
    let app = caller(&["pay/*", "hr/db"], &["pay/db*", "hr/*"]);
    let vaults = ask(&router, &app, "/v1/vaults").await.json();
    let told = vaults["vaults"].as_array().unwrap().iter();
    let told: Vec<_> = told.map(|vault| (vault["name"].clone(), vault["listing"]["secrets"].clone())).collect();
    assert_eq!(told, [(json!("hr"), json!(1)), (json!("pay"), json!(2))]);
    assert_eq!((&vaults["complete"], &vaults["unanswered"]), (&json!(true), &json!([])), "{vaults}");
    let page = ask(&router, &app, "/v1/vaults/pay/secrets").await.json();
    assert_eq!((page["total"].as_u64(), page["secrets"].as_array().unwrap().len()), (Some(2), 2));
    let ready = ask(&router, &app, "/readyz?verbose").await.json();
    assert_eq!((&ready["vaults"], &ready["secrets"], &ready["unanswered"]), (&json!(2), &json!(3), &json!([])));
    assert!(ready["sources"].get("b").is_none(), "{ready}");
    // One who could see the vault that cannot be listed is told that it is missing.
    let ops = ask(&router, &caller(&["o*/*"], &["o*/*"]), "/v1/search").await.json();
    assert_eq!((&ops["complete"], &ops["unanswered"][0]["vault"]), (&json!(false), &json!("ops")));
}

#[tokio::test]
async fn what_was_declared_and_is_missing_is_named_to_who_could_find_it_and_counted_for_all() {
    let prefetch = ["pay/gone", "hr/gone", "hr/other", "gov/never-*"].map(|what| what.parse().unwrap()).to_vec();
    let estate = Estate::with(VAULTS, BrokerOptions { prefetch, ..BrokerOptions::default() }).await;
    let router = estate.router();
    let named = async |read: &[&str], list: &[&str]| {
        let ready = ask(&router, &caller(read, list), "/readyz?verbose").await.json();
        assert_eq!(ready["ready"], json!(false));
        let missing = ready["missing"].as_array().unwrap().iter();
        missing.map(|missing| missing["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = named(&["*/*"], &["*/*"]).await;
    assert!(all.iter().any(|what| what.contains("pay/gone")) && all.iter().any(|what| what.contains("hr/gone")));
    // A pattern of the configuration is for who is kept from nothing.
    assert!(all.iter().all(|what| !what.contains('*')), "{all:?}");
    for (read, list) in [(&["hr/gone"][..], &["hr/*"][..]), (&["hr/*"], &["hr/gone"])] {
        let told = named(read, list).await;
        assert!(told.len() == 1 && told[0].contains("hr/gone"), "{told:?}");
    }
    assert!(named(&["hr/*"], &[]).await.is_empty() && named(&[], &["*/*"]).await.is_empty());
}

#[tokio::test]
async fn of_a_vault_that_cannot_be_listed_any_more_as_much_is_known_as_may_be_found() {
    let estate = Estate::of(&[("a:hr", &["db", "salary"])]).await;
    estate.shelves[0].unlisted.store(true, std::sync::atomic::Ordering::Relaxed);
    estate.catalog.refresh(None).await;
    for (read, known) in [(&["hr/*"][..], 2), (&["hr/db"], 1)] {
        let app = caller(read, &["*/*"]);
        for path in ["/v1/search", "/v1/vaults", "/readyz?verbose"] {
            let told = ask(&estate.router(), &app, path).await.json();
            let unanswered = &told["unanswered"][0];
            assert_eq!((&unanswered["vault"], &unanswered["known_secrets"]), (&json!("hr"), &json!(known)), "{told}");
        }
    }
}

#[tokio::test]
async fn a_vault_that_is_never_asked_is_missing_in_a_read_over_all_of_them() {
    let estate = Estate::of(&[("a:pay", &["db"]), (SHORT, &[])]).await;
    let router = estate.router();
    let unanswered = async |read: &[&str]| {
        let answer = ask(&router, &caller(read, &[]), "/v1/secrets/absent").await;
        let told = answer.json()["unanswered"].as_array().cloned().unwrap_or_default();
        told.iter().filter_map(|one| one["vault"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(unanswered(&["*/*"]).await, ["hidden"]);
    assert!(unanswered(&["pay/*"]).await.is_empty(), "for who may not read there it is not there");
    let answer = ask(&router, &caller(&["*/*"], &[]), "/v1/secrets/db").await;
    let incomplete = answer.headers.iter().find(|(name, _)| name == "sidekey-incomplete").unwrap();
    assert!(incomplete.1.contains("hidden;reason="), "{incomplete:?}");
}

#[tokio::test]
async fn what_may_be_listed_and_not_read_is_not_found_and_the_other_way_round() {
    let estate = Estate::of(VAULTS).await;
    let router = estate.router();
    for (read, list) in [(&["pay/db"][..], &[][..]), (&[], &["*/*"])] {
        let app = caller(read, list);
        let found = ask(&router, &app, "/v1/search").await.json();
        assert_eq!((&found["hits"], &found["total"], &found["vaults"]), (&json!([]), &json!(0), &json!(0)));
        assert_eq!(ask(&router, &app, "/v1/vaults").await.json()["vaults"], json!([]));
    }
    // A name is watched by who may read it.
    let app = caller(&["pay/db"], &[]);
    let within = estate.broker.within(app.rights());
    let may = |pattern: &str| within.may_watch(&sidekey::rights::Pattern::parse_lenient(pattern).unwrap());
    assert!(may("pay/db") && may("db") && !may("pay/*") && !may("hr/db") && !may("api"));
}

#[tokio::test]
async fn nobody_is_not_let_in_by_the_routes_themselves() {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;
    // In this process, who is not told of is the process itself.
    let estate = Estate::of(VAULTS).await;
    let answer = estate.router().oneshot(Request::get("/v1/vaults/hr/secrets/db").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.unwrap().status(), 200);
    let nobody = sidekey::access::Caller::nobody();
    for path in ["/v1/vaults/hr/secrets/db", "/v1/secrets/db", "/v1/vaults/hr/secrets"] {
        assert_eq!(ask(&estate.router(), &nobody, path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let estate = Estate::of(VAULTS).await;
    let app = sidekey::access::Client { uid: Some(own_uid()), ..client("app", &["pay/*"], &[]) };
    let site = Site::start(&estate, [app]).await;
    assert_eq!(site.unix("/v1/vaults/hr/secrets/db", None).await.status, 403);
    assert_eq!(site.tcp("/v1/vaults/pay/secrets/db", Some("a-token-of-nobody")).await.status, 401);
    let text = site.metrics.encode();
    for line in ["sidekey_refused_total{reason=\"forbidden\"} 1", "sidekey_refused_total{reason=\"unauthenticated\"} 1"]
    {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    assert!(site.unix_or_nothing("/metrics").await.is_some_and(|answer| answer.status == 200));
}

#[tokio::test]
async fn pages_of_what_is_found_are_full_and_end_where_it_ends() {
    let names: Vec<String> =
        (0..60).map(|n| format!("{}-{n:02}", if n % 3 == 0 { "mine" } else { "theirs" })).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let estate = Estate::of(&[("a:pay", &names), ("b:pay", &names), ("a:hr", &names)]).await;
    let app = caller(&["pay/mine-*", "b:pay/mine-1*"], &["*/*"]);
    let router = estate.router();
    for (path, all) in [
        ("/v1/search?sort=vault", 23),
        ("/v1/search?q=mine", 23),
        ("/v1/search?match=glob&q=m*", 23),
        ("/v1/vaults/pay/secrets?", 20),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(&router, &app, &format!("{path}&limit=7{cursor}")).await.json();
            assert_eq!(page["total"], all, "{path}");
            let rows = page["hits"].as_array().or(page["secrets"].as_array()).unwrap().clone();
            let next = page["next"].as_str();
            assert!(rows.len() == 7 || next.is_none(), "{path}: a short page that is not the last");
            seen.extend(rows.iter().map(|row| row["reference"].as_str().unwrap().to_owned()));
            let Some(next) = next else { break };
            cursor = format!("&cursor={next}");
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!((seen.len(), once.len()), (all, all), "{path}");
        assert!(seen.iter().all(|reference| reference.contains("mine")), "{path}: {seen:?}");
    }
    let everything = estate.catalog.search_within(&Rights::all(), &Query::default()).unwrap();
    assert_eq!(everything.total, 180);
}

#[tokio::test]
async fn what_could_not_be_asked_is_told_to_who_could_find_something_there() {
    let estate = Estate::of(&[("a:pay", &["db"]), (SHORT, &[])]).await;
    let router = estate.router();
    let missing = async |patterns: &[&str]| {
        let app = caller(patterns, patterns);
        let answers = [ask(&router, &app, "/v1/search").await, ask(&router, &app, "/v1/vaults").await];
        let found = answers[0].json();
        assert_eq!(found["unanswered"], answers[1].json()["unanswered"]);
        assert_eq!(found["unanswered"], ask(&router, &app, "/readyz?verbose").await.json()["unanswered"]);
        let told = found["unanswered"].as_array().unwrap().clone();
        let told = told.iter().map(|one| one["vault"].as_str().or(one["source"].as_str()).unwrap().to_owned());
        let shown = answers[1].json()["vaults"].as_array().unwrap().len();
        (told.collect::<Vec<_>>(), shown, ask(&router, &app, "/v1/secrets/none").await.status)
    };
    let told = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(missing(&["*/*"]).await, (told(&["short", "hidden"]), 2, 503));
    assert_eq!(missing(&["a:*/*"]).await, (told(&[]), 1, 404));
    assert_eq!(missing(&["short:*/*"]).await, (told(&["short", "short:hidden"]), 1, 503));
    assert_eq!(missing(&["pay/*"]).await, (told(&["short"]), 1, 503), "it may be one that nobody has seen");
    // Of another name, nothing is missing.
    let app = caller(&["short:*/x", "pay/*"], &[]);
    let incomplete = ask(&router, &app, "/v1/secrets/none").await;
    assert_eq!(incomplete.status, 503);
    assert!(!incomplete.text().contains("hidden"), "{}", incomplete.text());
    // One that is never asked is told of by the address that was asked for.
    assert_eq!(ask(&router, &caller(&["hidden/*"], &[]), "/v1/vaults/hidden/secrets/x").await.status, 502);
    assert!(
        !ask(&router, &caller(&["short:*/*"], &[]), "/v1/vaults/short:hidden/secrets/x")
            .await
            .text()
            .contains("vault hidden")
    );
    assert_eq!(ask(&router, &caller(&["pay/*"], &[]), "/v1/vaults/hidden/secrets/x").await.status, 403);
}
