//! A value that is held is answered past the router, before its connection looks for more: what comes is what the router
//! would have answered, and so is what is counted and recorded.

use std::collections::BTreeMap;

use serde_json::Value;
use sidekey::access::audit::{Audit, Book, Names};
use sidekey::api::{Api, ServeOptions, router};
use sidekey::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::House;
use super::listeners::Running;
use crate::audit::Paper;

/// All that comes back on one connection for these bytes.
async fn sent(running: &Running, bytes: &str) -> Vec<u8> {
    let mut stream = running.unix().await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The head's lines in order, and the body; without what a second that passes changes.
fn parts(answer: &[u8]) -> (Vec<String>, &[u8]) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let moves = |line: &&str| ["date: ", "age: ", "cache-status: "].iter().any(|name| line.starts_with(name));
    let mut lines: Vec<_> = head.lines().filter(|line| !moves(line)).map(str::to_owned).collect();
    lines.sort();
    (lines, &answer[end + 4..])
}

/// Reads by what became of them, and requests by route and status, so far.
fn counted(house: &House, running: &Running) -> BTreeMap<String, u64> {
    let told = house.metrics.encode() + &running.metrics.encode();
    let of_interest = |line: &&str| {
        ["sidekey_reads_total{", "sidekey_http_requests_total{"].iter().any(|name| line.starts_with(name))
    };
    let counters = told.lines().filter(of_interest).map(|line| line.rsplit_once(' ').unwrap());
    counters.map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect()
}

/// What one request leaves behind it.
#[derive(Debug, PartialEq)]
struct Left {
    counted: BTreeMap<String, u64>,
    recorded: Vec<Value>,
}

/// The answer to one request, and what it leaves.
async fn asked(house: &House, running: &Running, audit: &Audit, paper: &Paper, request: &str) -> (Vec<u8>, Left) {
    let before = counted(house, running);
    let answer = sent(running, request).await;
    audit.flush().await;
    let mut counted = counted(house, running);
    counted.iter_mut().for_each(|(name, number)| *number -= before.get(name).unwrap_or(&0));
    counted.retain(|_, number| *number > 0);
    let mut recorded = paper.taken();
    for line in &mut recorded {
        // What is another for every request, and what a second that passes changes.
        line.as_object_mut().unwrap().retain(|part, _| !["time", "request", "age"].contains(&part.as_str()));
    }
    (answer, Left { counted, recorded })
}

fn house() -> House {
    let house = House::new(&["pay"]);
    house.set("pay", "text", "value-canary");
    house.set("pay", "json", "{\"user\":\"value-canary\"}");
    house.set("pay", "empty", "");
    house.set("pay", "bytes", vec![0xff, 0, 0xfe]);
    house.set("pay", "large", "x".repeat(300_000));
    house
}

#[tokio::test]
async fn what_is_answered_past_the_router_is_what_the_router_answers() {
    let house = house();
    let version = house.set("pay", "versioned", "value-canary").version.unwrap();
    let paper = Paper::default();
    let audit = Audit::from(Book::on(paper.clone(), Names::default(), false, &Metrics::default()).unwrap());
    let state = house.audited(audit.clone()).await;
    let past = Running::start_with(Api::new(state.clone()), ServeOptions::default()).await;
    let through = Running::start(router(state)).await;
    let (pinned, tag) = (format!("versioned/versions/{version}"), format!("If-None-Match: W/\"{version}\"\r\n"));
    let plain =
        ["text", "TEXT", "te%78t", "empty", "bytes", "large", "versioned", &pinned, "missing", "no_name", "%ff"];
    let with = [
        ("versioned", &*tag),
        ("text", "If-None-Match: *\r\n"),
        ("text", "If-None-Match: \"other\"\r\n"),
        ("text", "X-Request-Id: of-mine\r\n"),
        ("text", "Accept: application/json\r\n"),
        ("bytes", "Accept: application/json\r\n"),
        ("text", "Accept: image/png\r\n"),
        ("text", "Accept: text/plain, */*;q=0.1\r\n"),
        ("text", "Cache-Control: max-age=60\r\n"),
        ("text", "Cache-Control: only-if-cached\r\n"),
        ("missing", "Cache-Control: only-if-cached\r\n"),
        ("json?field=/user", ""),
        ("json?field=/none", ""),
        ("text?format=nonsense", ""),
        ("text", "Origin: http://evil.example\r\n"),
        ("text", "Content-Length: 1\r\n"),
    ];
    let mut hits = 0;
    for (name, header) in plain.into_iter().map(|name| (name, "")).chain(with) {
        let request =
            format!("GET /v1/vaults/pay/secrets/{name} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
        // So that it is held, if it ever is.
        asked(&house, &through, &audit, &paper, &request).await;
        let (one, mut left_by_one) = asked(&house, &past, &audit, &paper, &request).await;
        let (other, left_by_other) = asked(&house, &through, &audit, &paper, &request).await;
        if left_by_one.counted.keys().any(|counted| counted.contains("route=\"refused\"")) {
            // Who is not let in is recorded by who serves: bare routes have no audit for that.
            assert!(left_by_one.recorded.len() == 1 && left_by_other.recorded.is_empty(), "{left_by_other:?}");
            left_by_one.recorded.clear();
        }
        assert_eq!(left_by_one, left_by_other, "{name} {header}");
        let without_id = |(lines, body): (Vec<String>, &[u8])| {
            let lines: Vec<_> =
                lines.into_iter().filter(|line| header.contains("Id") || !line.contains("request-id")).collect();
            // A problem tells its request's id.
            let body = if lines.iter().any(|line| line.contains("problem+json")) { &[] } else { body };
            (lines, body.to_vec())
        };
        assert_eq!(without_id(parts(&one)), without_id(parts(&other)), "{name} {header}");
        let hit = |answer: &[u8]| String::from_utf8_lossy(answer).contains("\ncache-status: sidekey; hit; ");
        assert_eq!(hit(&one), hit(&other), "{name} {header}");
        hits += usize::from(hit(&one));
    }
    assert!(hits >= 15, "{hits}");
}

#[tokio::test]
async fn requests_that_come_together_or_in_a_large_head_get_each_its_own() {
    let house = house();
    let state = house.audited(Audit::default()).await;
    let running = Running::start_with(Api::new(state), ServeOptions::default()).await;
    let request =
        |name: &str, more: &str| format!("GET /v1/vaults/pay/secrets/{name} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let padded = format!("X-Padding: {}\r\n", "p".repeat(12_000));
    let asked = [
        ("text", ""),
        ("json", ""),
        ("text", &*padded),
        ("empty", ""),
        ("json", &padded),
        ("text", "Connection: close\r\n"),
    ];
    let all: String = asked.map(|(name, more)| request(name, more)).concat();
    // The second time all are held.
    for _ in 0..2 {
        let answers = String::from_utf8(sent(&running, &all).await).unwrap();
        let bodies: Vec<_> =
            answers.split("HTTP/1.1 200 OK\r\n").skip(1).map(|one| one.split_once("\r\n\r\n").unwrap().1).collect();
        let json = "{\"user\":\"value-canary\"}";
        assert_eq!(bodies, ["value-canary", json, "value-canary", "", json, "value-canary"]);
    }
}
