//! Every route leaves its line, whatever becomes of the request, and before it is answered.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sidekey::access::audit::{Audit, Book, Names};
use sidekey::access::{Access, AccessSettings, Client, Peer};
use sidekey::api::{Api, ServeOptions, router};
use sidekey::metrics::Metrics;
use sidekey::vaults::{Outage, VaultErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::listeners::Running;
use super::{House, ask, get, post};
use crate::audit::{Asking, Paper, Verdict};

/// The only line since the last look, without what is another in every run.
#[track_caller]
fn only(paper: &Paper) -> Value {
    let mut lines = paper.taken();
    assert_eq!(lines.len(), 1, "{lines:?}");
    bare(lines.remove(0))
}

fn bare(mut line: Value) -> Value {
    let parts = line.as_object_mut().unwrap();
    assert!(parts.remove("time").is_some() && parts.remove("request").is_some_and(|id| id != ""));
    parts.remove("version");
    parts.retain(|name, _| !["caller", "by", "uid", "gid"].contains(&name.as_str()));
    line
}

/// Two vaults; what a request may meet is in them.
fn house() -> House {
    let house = House::new(&["pay", "web"]);
    house.set("pay", "db", "canary-value-1");
    house.set("pay", "both", "canary-value-2");
    house.set("web", "both", "canary-value-3");
    house.set("pay", "json", "{\"user\":\"canary-value-4\"}");
    house.set("pay", "bytes", vec![0xff]);
    house.set("pay", "off", "canary-value-5");
    house.vault("pay").shelf.update(&"off".parse().unwrap(), None, |metadata| metadata.enabled = false).unwrap();
    house.set("pay", "down", "canary-value-6");
    house.get_fails("pay", "down", VaultErrorKind::Unavailable(Outage::Connection));
    house
}

async fn audited() -> (Router, Paper) {
    let paper = Paper::default();
    (router(house().audited(paper.required()).await), paper)
}

/// What is asked, its status, and the line that it leaves, without its outcome if that is the problem's code.
fn cases() -> Vec<(&'static str, u16, Value)> {
    let of = |operation: &str, more: Value| {
        let mut line = more;
        line["operation"] = operation.into();
        line
    };
    let read = |vault: &str, name: &str| of("read", json!({"vault": vault, "name": name}));
    let got = |vault: &str, name: &str| {
        let mut line = read(vault, name);
        line.as_object_mut().unwrap().extend([
            ("outcome".to_owned(), "ok".into()),
            ("freshness".to_owned(), "read".into()),
            ("age".to_owned(), 0.into()),
        ]);
        line
    };
    let told = |operation: &str, hits: usize, more: Value| {
        let mut line = of(operation, more);
        line["outcome"] = "ok".into();
        line["hits"] = hits.into();
        line
    };
    vec![
        ("/v1/secrets/db", 200, got("pay", "db")),
        ("/v1/secrets/absent", 404, read("*", "absent")),
        ("/v1/secrets/both", 409, read("*", "both")),
        ("/v1/secrets/b%20d", 400, of("read", json!({}))),
        ("/v1/secrets/db?frob=1", 400, of("read", json!({}))),
        ("/v1/vaults/pay/secrets/both", 200, got("pay", "both")),
        ("/v1/vaults/pay/secrets/json?field=/user", 200, got("pay", "json")),
        ("/v1/vaults/pay/secrets/json?field=/none", 404, read("pay", "json")),
        ("/v1/vaults/pay/secrets/off", 410, read("pay", "off")),
        ("/v1/vaults/pay/secrets/down", 503, read("pay", "down")),
        ("/v1/vaults/nowhere/secrets/db", 404, read("nowhere", "db")),
        ("/v1/vaults/pay/secrets/db/versions/0123", 400, of("read", json!({}))),
        (
            "/v1/vaults/pay/secrets/db/versions/0b31729e2750416caba40429a1f3bea4",
            404,
            of("read", json!({"vault": "pay", "name": "db", "asked_version": "0b31729e2750416caba40429a1f3bea4"})),
        ),
        ("/v1/vaults/pay/secrets/db/versions", 200, told("versions", 1, json!({"vault": "pay", "name": "db"}))),
        ("/v1/vaults/pay/secrets/none/versions", 404, of("versions", json!({"vault": "pay", "name": "none"}))),
        ("/v1/vaults/pay/secrets/n_ne/versions", 400, of("versions", json!({"vault": "pay"}))),
        ("/v1/vaults", 200, told("vaults", 2, json!({}))),
        ("/v1/vaults?frob=1", 400, of("vaults", json!({}))),
        ("/v1/vaults/web/secrets", 200, told("list", 1, json!({"vault": "web"}))),
        ("/v1/vaults/nowhere/secrets", 404, of("list", json!({"vault": "nowhere"}))),
        ("/v1/vaults/n_where/secrets", 400, of("list", json!({}))),
        ("/v1/search?q=bo&match=prefix", 200, told("search", 2, json!({"query": "bo", "match": "prefix"}))),
        ("/v1/search", 200, told("search", 7, json!({"match": "substring"}))),
        ("/v1/search?q=b(&match=regex", 400, of("search", json!({"query": "b(", "match": "regex"}))),
        ("/v1/search?match=nohow", 400, of("search", json!({}))),
        ("/v1/watch?ref=pay/*&ref=web/b*", 200, of("watch", json!({"query": "pay/*,web/b*", "outcome": "ok"}))),
        ("/v1/aws/credentials/nowhere", 404, of("aws", json!({}))),
        ("/v1/watch?ref=nowhere/*", 404, of("watch", json!({"query": "nowhere/*"}))),
    ]
}

#[tokio::test]
async fn every_route_leaves_one_line_whatever_becomes_of_it() {
    let (router, paper) = audited().await;
    let mut seen = BTreeSet::new();
    for (path, status, mut expected) in cases() {
        let (route, _) = path.split_once('?').unwrap_or((path, ""));
        if let "/v1/watch" = route {
            // It has no end.
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            if status != 200 {
                expected["outcome"] = "vault-not-found".into();
            }
        } else {
            let answer = get(&router, path).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {:?}", answer.body);
            if status >= 400 {
                expected["outcome"] = answer.json()["code"].clone();
            }
        }
        let line = only(&paper);
        assert_eq!(line, expected, "{path}");
        seen.insert(line["operation"].as_str().unwrap().to_owned());
    }
    let operations = ["read", "versions", "vaults", "list", "search", "watch", "aws"];
    assert_eq!(seen, operations.map(str::to_owned).into_iter().collect());
}

#[tokio::test]
async fn what_a_caller_may_not_do_is_recorded_under_its_name_and_before_anything_is_looked_up() {
    let (router, paper) = audited().await;
    let client = Client {
        name: "orders".to_owned(),
        uid: Some(4711),
        read: vec!["pay/db".parse().unwrap()],
        list: vec!["pay/d*".parse().unwrap()],
        ..Client::default()
    };
    let access = Access::load(&AccessSettings { clients: vec![client], token_file: None }).unwrap();
    let caller = access.of_peer(&Peer { uid: 4711, gid: 12, groups: [].into() }).unwrap();
    let ask = async |method: &str, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.extension(caller.clone()).body(Body::from(body.to_owned())).unwrap();
        let answer = super::send(&router, request).await;
        let lines = paper.taken();
        for line in &lines {
            let who = [&line["caller"], &line["by"], &line["uid"], &line["gid"]];
            assert_eq!(who, [&json!("orders"), &json!("peer"), &json!(4711), &json!(12)]);
        }
        (answer.status.as_u16(), lines.into_iter().map(bare).collect::<Vec<_>>())
    };
    let forbidden = |operation: &str, mut more: Value| {
        more["operation"] = operation.into();
        more["outcome"] = "forbidden".into();
        (403, vec![more])
    };
    for (path, expected) in [
        ("/v1/vaults/pay/secrets/both", forbidden("read", json!({"vault": "pay", "name": "both"}))),
        ("/v1/vaults/pay/secrets/absent", forbidden("read", json!({"vault": "pay", "name": "absent"}))),
        ("/v1/secrets/both", forbidden("read", json!({"vault": "*", "name": "both"}))),
        ("/v1/vaults/web/secrets", forbidden("list", json!({"vault": "web"}))),
        ("/v1/vaults/pay/secrets/both/versions", forbidden("versions", json!({"vault": "pay", "name": "both"}))),
        ("/v1/search?vault=web&q=b", forbidden("search", json!({"query": "b", "match": "substring"}))),
        ("/v1/watch?ref=web/both", forbidden("watch", json!({"query": "web/both"}))),
    ] {
        assert_eq!(ask("GET", path, "").await, expected, "{path}");
    }
    assert_eq!(ask("GET", "/v1/vaults/pay/secrets/db", "").await.1[0]["outcome"], "ok");
    let refs = "{\"refs\":{\"A\":\"secret://pay/db\",\"B\":\"secret://web/both\"}}";
    let (status, lines) = ask("POST", "/v1/resolve", refs).await;
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!((status, outcomes), (403, vec!["withheld", "forbidden"]));
    // As many rows as it is told of, and no more.
    assert_eq!(ask("GET", "/v1/vaults/pay/secrets", "").await.1[0]["hits"], 1);
}

#[tokio::test]
async fn what_tells_nothing_of_secrets_leaves_no_line() {
    let (router, paper) = audited().await;
    for path in ["/livez", "/readyz", "/readyz?verbose", "/metrics", "/openapi.json", "/v1/frob", "/v1/secrets/db/x/y"]
    {
        get(&router, path).await;
        assert!(paper.taken().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_sent_is_told_apart_and_forms_are_recorded_alike() {
    let (router, paper) = audited().await;
    let etag = get(&router, "/v1/vaults/pay/secrets/db").await.header("etag").unwrap().to_owned();
    assert_eq!(only(&paper)["outcome"], "ok");
    let held = ask(&router, "GET", "/v1/vaults/pay/secrets/db", &[("if-none-match", &etag)]).await;
    let line = only(&paper);
    assert_eq!(
        (held.status.as_u16(), &line["outcome"], &line["freshness"]),
        (304, &"not-modified".into(), &"fresh".into())
    );
    ask(&router, "GET", "/v1/vaults/pay/secrets/db", &[("accept", "application/json")]).await;
    assert_eq!(only(&paper)["outcome"], "ok");
    let answer = ask(&router, "GET", "/v1/vaults/pay/secrets/bytes", &[("accept", "application/json")]).await;
    answer.problem(406, "not-acceptable");
    assert_eq!(only(&paper)["outcome"], "not-acceptable");
    ask(&router, "HEAD", "/v1/vaults/pay/secrets/db", &[]).await;
    assert_eq!(only(&paper)["outcome"], "ok");
}

#[tokio::test]
async fn a_resolve_leaves_a_line_for_each_reference() {
    let (router, paper) = audited().await;
    let resolve = async |refs: Value| {
        let answer = post(&router, "/v1/resolve", json!({ "refs": refs }).to_string()).await;
        let lines = paper.taken();
        assert!(lines.iter().all(|line| line["request"] == lines[0]["request"]), "{lines:?}");
        let outcomes: BTreeSet<_> = lines
            .iter()
            .map(|line| {
                let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
                assert_eq!(
                    (text("operation"), line["version"].is_string()),
                    ("resolve".into(), text("outcome") == "ok")
                );
                format!("{}/{} {}", text("vault"), text("name"), text("outcome"))
            })
            .collect();
        (answer, outcomes.into_iter().collect::<Vec<_>>())
    };
    let (answer, lines) =
        resolve(json!({"A": "secret://pay/db", "B": "secret://*/json#/user", "C": "secret://web/both"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["values"], json!({"A": "canary-value-1", "B": "canary-value-4", "C": "canary-value-3"}));
    assert_eq!(lines, ["pay/db ok", "pay/json ok", "web/both ok"]);

    let refs = json!({"A": "secret://pay/db", "B": "secret://pay/off", "C": "secret://pay/bytes", "D": "hunter2:/"});
    let (answer, lines) = resolve(refs).await;
    assert_eq!(answer.status.as_u16() / 100, 4);
    assert_eq!(lines, ["-/- bad-reference", "pay/bytes withheld", "pay/db withheld", "pay/off secret-disabled"]);
    let (_, lines) = resolve(json!({"A": "secret://pay/db", "C": "secret://pay/bytes"})).await;
    assert_eq!(lines, ["pay/bytes not-acceptable", "pay/db withheld"]);
    let (_, lines) = resolve(json!({"A": 1})).await;
    assert_eq!(lines, ["-/- bad-query"]);
}

#[tokio::test]
async fn an_empty_resolve_is_recorded_as_well() {
    let (router, paper) = audited().await;
    assert_eq!(post(&router, "/v1/resolve", "{\"refs\":{}}").await.status, 200);
    assert_eq!(only(&paper), json!({"operation": "resolve", "outcome": "ok"}));
}

#[tokio::test]
async fn a_value_is_in_no_line() {
    let (router, paper) = audited().await;
    for (path, ..) in cases().into_iter().filter(|(path, ..)| !path.starts_with("/v1/watch")) {
        get(&router, path).await;
    }
    post(&router, "/v1/resolve", "{\"refs\":{\"A\":\"secret://pay/db\",\"canary-value-key\":\"canary-value:0\"}}")
        .await;
    let told = serde_json::to_string(&paper.taken()).unwrap();
    assert!(told.len() > 1_000 && !told.contains("canary-value"), "{told}");
}

#[tokio::test]
async fn where_it_is_required_nothing_is_answered_before_its_line_is_written() {
    for (path, ..) in cases() {
        let (sink, asked) = Asking::new(usize::MAX);
        let audit = Audit::from(Book::on(sink, Names::default(), true, &Metrics::default()).unwrap());
        let router = router(house().audited(audit).await);
        #[allow(clippy::disallowed_methods, reason = "it is awaited")]
        let mut answering = tokio::spawn(async move { head_of(&router, path).await });
        let (asked, told) = tokio::task::spawn_blocking(move || {
            let told = asked.next();
            (asked, told)
        })
        .await
        .unwrap();
        assert!(told.contains("\"operation\""), "{path}: {told}");
        assert!(futures::poll!(&mut answering).is_pending(), "{path} is answered before its line is written");
        asked.tell(Verdict::Cut(0));
        assert_eq!(answering.await.unwrap(), 503, "{path}: what cannot be recorded is not answered");
    }
}

#[allow(clippy::disallowed_methods, reason = "it ends with the test")]
async fn head_of(router: &Router, path: &str) -> u16 {
    let request = Request::get(path).body(Body::empty()).unwrap();
    tower::ServiceExt::oneshot(router.clone(), request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_with_a_code_of_its_own_and_no_value() {
    let (sink, asked) = Asking::new(usize::MAX);
    let audit = Audit::from(Book::on(sink, Names::default(), true, &Metrics::default()).unwrap());
    let router = router(house().audited(audit).await);
    asked.tell(Verdict::Cut(0));
    let answer = get(&router, "/v1/vaults/pay/secrets/db").await;
    answer.problem(503, "audit-failed");
    assert!(answer.header("etag").is_none() && answer.header("sidekey-vault").is_none(), "{:?}", answer.headers);
    asked.tell(Verdict::Cut(0));
    let answer =
        post(&router, "/v1/resolve", "{\"refs\":{\"A\":\"secret://pay/db\",\"B\":\"secret://pay/json\"}}").await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("canary"));
    answer.problem(503, "audit-failed");
}

/// One request over a connection; its status, its headers, and its body as text.
async fn over(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, head: &str) -> String {
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn through_a_listener_callers_are_named_and_refusals_recorded() {
    let paper = Paper::default();
    let api = Api::new(house().audited(paper.required()).await);
    let running = Running::start_with(api, ServeOptions::default()).await;
    let line = |paper: &Paper| {
        let mut lines = paper.taken();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    };
    let uid = rustix::process::geteuid().as_raw();

    let text =
        over(running.unix().await, "GET /v1/vaults/pay/secrets/db HTTP/1.1\r\nx-request-id: from-the-caller").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("canary-value-1"), "{text}");
    assert!(text.contains("sidekey-request-id: from-the-caller"), "{text}");
    let told = line(&paper);
    let who = [&told["caller"], &told["by"], &told["uid"], &told["request"]];
    assert_eq!(who, [&json!(format!("uid:{uid}")), &"peer".into(), &uid.into(), &"from-the-caller".into()]);
    assert_eq!((&told["vault"], &told["name"], &told["outcome"]), (&"pay".into(), &"db".into(), &"ok".into()));

    let (host, token) = (format!("host: 127.0.0.1:{}", running.port), &running.token);
    let text =
        over(running.tcp().await, &format!("GET /v1/secrets/db HTTP/1.1\r\n{host}\r\nauthorization: Bearer {token}"))
            .await;
    let told = line(&paper);
    assert_eq!((&told["caller"], &told["by"], &told["uid"]), (&"token".into(), &"token".into(), &Value::Null));
    assert!(text.contains(&format!("sidekey-request-id: {}", told["request"].as_str().unwrap())), "{text}");

    for (head, outcome, name) in [
        (format!("GET /v1/vaults/pay/secrets/db HTTP/1.1\r\n{host}"), "unauthenticated", json!("db")),
        (format!("GET /v1/vaults/pay/secrets/d_b HTTP/1.1\r\n{host}"), "unauthenticated", Value::Null),
        (format!("GET /v1/secrets/db HTTP/1.1\r\n{host}\r\nauthorization: Bearer x"), "unauthenticated", json!("db")),
        (format!("GET /v1/search?q=canary HTTP/1.1\r\n{host}"), "unauthenticated", Value::Null),
        ("GET /v1/secrets/db HTTP/1.1\r\nhost: evil".to_owned(), "bad-host", json!("db")),
        (format!("GET /v1/secrets/db HTTP/1.1\r\n{host}\r\nvia: 1.1 x"), "forwarded", json!("db")),
    ] {
        let text = over(running.tcp().await, &head).await;
        assert!(text.starts_with("HTTP/1.1 4"), "{text}");
        let told = line(&paper);
        assert_eq!(
            (&told["caller"], &told["outcome"], &told["name"]),
            (&Value::Null, &outcome.into(), &name),
            "{head}"
        );
        assert!(text.contains(&format!("sidekey-request-id: {}", told["request"].as_str().unwrap())), "{text}");
    }
    for path in ["/livez", "/metrics", "/v1/frob"] {
        over(running.tcp().await, &format!("GET {path} HTTP/1.1\r\n{host}")).await;
        assert!(paper.taken().is_empty(), "{path}");
    }
    running.stopped().await;
}

#[tokio::test]
async fn a_flood_of_strangers_leaves_few_lines_and_their_number_and_no_read_goes_without_its_own() {
    let paper = Paper::default();
    let audit = Audit::from(Book::on(paper.clone(), Names::default(), false, &Metrics::default()).unwrap());
    let api = Api::new(house().audited(audit.clone()).await);
    let running = Running::start_with(api, ServeOptions::default()).await;
    let ask = format!("GET /v1/vaults/pay/secrets/db HTTP/1.1\r\nhost: 127.0.0.1:{}", running.port);
    let told = async || {
        audit.flush().await;
        paper.taken()
    };
    let refused = |lines: &[Value]| {
        let is_refusal = |line: &&Value| line["outcome"] == "unauthenticated" && line["from"] == "127.0.0.1";
        lines.iter().filter(is_refusal).count()
    };
    for _ in 0..100 {
        assert!(over(running.tcp().await, &ask).await.starts_with("HTTP/1.1 401"));
        // What asks for no secret leaves no line, and is none of those that are counted.
        over(running.tcp().await, &format!("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:{}", running.port)).await;
    }
    let right = format!("{ask}\r\nauthorization: Bearer {}", running.token);
    for _ in 0..30 {
        assert!(over(running.tcp().await, &right).await.ends_with("canary-value-1"));
    }
    // All from the same address: what one of them does takes nothing from another's.
    let lines = told().await;
    let reads = lines.iter().filter(|line| line["outcome"] == "ok" && line["caller"] == "token").count();
    assert_eq!((refused(&lines), reads, lines.len()), (20, 30, 50), "{lines:?}");
    // Paused for that alone: what a thread does in the meantime is nothing that a paused clock waits for.
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    let lines = told().await;
    let left_out = &lines[0]["left_out"];
    assert_eq!((lines.len(), &left_out["lines"], &left_out["from"]), (1, &80.into(), &"127.0.0.1".into()));
    // A new minute; and what was not told by its end is told at the end of serving.
    for _ in 0..25 {
        over(running.tcp().await, &ask).await;
    }
    running.stopped().await;
    let lines = told().await;
    assert_eq!((refused(&lines), &lines.last().unwrap()["left_out"]["lines"]), (20, &5.into()), "{lines:?}");
}

#[tokio::test]
async fn without_an_audit_an_answer_has_an_id_only_if_it_failed_or_was_asked_with_one() {
    let running = Running::start_with(Api::new(house().audited(Audit::default()).await), ServeOptions::default()).await;
    for (head, expected) in [("", false), ("\r\nx-request-id: 7", true), ("\r\nx-request-id: a b", false)] {
        let text = over(running.unix().await, &format!("GET /v1/vaults/pay/secrets/db HTTP/1.1{head}")).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert_eq!(text.contains("sidekey-request-id: "), expected, "{text}");
    }
    let text = over(running.unix().await, "GET /v1/secrets/absent HTTP/1.1\r\nx-request-id: mine").await;
    assert_eq!(text.matches("sidekey-request-id: mine").count(), 1, "{text}");
    running.stopped().await;
}
