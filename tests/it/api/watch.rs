//! `GET /v1/watch`: a stream of events, over real sockets.

use std::time::Duration;

use axum::Router;
use sidekey::api::Drained;
use sidekey::catalog::Catalog;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::listeners::Running;
use super::{House, ask, get};

/// One stream's reader.
struct Reader<S>(BufReader<S>);

impl Reader<UnixStream> {
    /// Asks for a stream, and reads its head and its opening; gives the id of where it stands.
    async fn open(running: &Running, query: &str, headers: &str) -> (Self, String) {
        let mut stream = running.unix().await;
        stream.write_all(format!("GET /v1/watch{query} HTTP/1.1\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut reader = Self(BufReader::new(stream));
        let mut head = Vec::new();
        while let Some(line) = reader.line().await.filter(|line| line != "\r") {
            head.push(line);
        }
        assert_eq!(head[0], "HTTP/1.1 200 OK\r");
        for told in ["content-type: text/event-stream\r", "cache-control: no-store\r", "transfer-encoding: chunked\r"] {
            assert!(head.iter().any(|line| line == told), "{told} is missing in {head:?}");
        }
        let opening = reader.block().await;
        let [retry, id] = &opening[..] else { panic!("{opening:?}") };
        assert_eq!(retry, "retry: 2000");
        let id = id.strip_prefix("id: ").unwrap().to_owned();
        (reader, id)
    }
}

impl<S: AsyncRead + Unpin> Reader<S> {
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.unwrap_or(0);
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// The lines of the next block, without those around chunks; empty at the end of the stream.
    async fn block(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().await.as_deref() {
                None | Some("0\r") => return Vec::new(),
                Some(chunk) if chunk.ends_with('\r') => {}
                Some("") => return lines,
                Some(line) => lines.push(line.to_owned()),
            }
        }
    }

    /// The next event as its kind, its id and its data.
    async fn event(&mut self) -> (String, String, serde_json::Value) {
        loop {
            let block = self.block().await;
            assert!(!block.is_empty(), "the stream has ended");
            let field = |name: &str| block.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(kind) = field("event: ") {
                let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                return (kind, field("id: ").unwrap(), data);
            }
        }
    }
}

/// The routes, and the catalog that they stand on, listed.
async fn open(house: &House) -> (Router, Catalog) {
    let catalog = house.catalog();
    catalog.refresh(None).await;
    (house.over(catalog.clone()), catalog)
}

fn streams(house: &House, router: &Router) -> impl Future<Output = String> {
    let (router, _) = (router.clone(), house);
    async move {
        let text = get(&router, "/metrics").await.body;
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("sidekey_watch_streams ")).unwrap().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_with_its_version_once_reads_give_it_and_never_with_its_value() {
    let house = House::new(&["pay"]);
    house.set("pay", "db", "canary-1");
    let (router, catalog) = open(&house).await;
    let running = Running::start(router.clone()).await;
    get(&router, "/v1/vaults/pay/secrets/db").await;
    let (mut reader, _) = Reader::open(&running, "?ref=pay/db", "").await;
    sleep(Duration::from_secs(5)).await;
    let written = time::OffsetDateTime::now_utc() + time::Duration::days(1);
    let attributes = sidekey::vaults::memory::Attributes { written: Some(written), ..Default::default() };
    let version = house.vault("pay").shelf.set(&"db".parse().unwrap(), "canary-2", attributes).version.unwrap();
    house.set("pay", "other", "canary-3");
    catalog.refresh(None).await;
    let (kind, id, data) = reader.event().await;
    assert_eq!(kind, "changed");
    let held = ask(&router, "GET", "/v1/vaults/pay/secrets/db", &[("cache-control", "only-if-cached")]).await;
    assert_eq!((&held.body[..], held.header("etag")), (&b"canary-2"[..], Some(&*format!("\"{version}\""))));
    assert!(data["at"].is_string());
    assert_eq!(data["version"], version.as_str());
    assert_eq!((&data["vault"], &data["name"]), (&"pay".into(), &"db".into()));
    assert_eq!(data["reference"], "secret://pay/db");

    // Everything that was ever told, from the start, to one who wants all of it.
    let start = format!("{}-0", id.split_once('-').unwrap().0);
    let (mut all, _) = Reader::open(&running, "", &format!("Last-Event-ID: {start}\r\n")).await;
    let mut told = String::new();
    for _ in 0..2 {
        told += &all.block().await.join("\n");
    }
    assert!(
        told.contains("secret://pay/other") && told.contains("secret://pay/db") && !told.contains("canary"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_where_it_was_or_is_told_to_read_anew() {
    let house = House::new(&["pay"]);
    let (router, catalog) = open(&house).await;
    let running = Running::start(router).await;
    let (reader, id) = Reader::open(&running, "", "").await;
    drop(reader);
    house.set("pay", "db", "1");
    catalog.refresh(None).await;
    let (mut again, stands) = Reader::open(&running, "", &format!("Last-Event-ID: {id}\r\n")).await;
    assert_eq!(stands, id);
    let (kind, id, _) = again.event().await;
    assert_eq!(kind, "added");
    let twice = format!("Last-Event-ID: {id}\r\nLast-Event-ID: {id}\r\n");
    let huge = format!("Last-Event-ID: {}\r\n", "9".repeat(20_000));
    let beyond = format!("Last-Event-ID: {}\r\n", id.replace("-1", "-18446744073709551615"));
    for lost in [
        "Last-Event-ID: 0000000000000000-1\r\n",
        "Last-Event-ID:\r\n",
        "Last-Event-ID: \u{e9}\r\n",
        &twice,
        &huge,
        &beyond,
    ] {
        let (mut reader, _) = Reader::open(&running, "", lost).await;
        let (kind, from, data) = reader.event().await;
        assert_eq!((kind.as_str(), from.as_str(), data), ("resync", id.as_str(), serde_json::json!({})), "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_lives_for_hours_and_says_where_it_stands() {
    let house = House::new(&["pay"]);
    let (router, catalog) = open(&house).await;
    let running = Running::start(router).await;
    let (mut reader, start) = Reader::open(&running, "?ref=pay/db", "").await;
    let began = Instant::now();
    house.set("pay", "other", "1");
    catalog.refresh(None).await;
    for beat in 1..=500 {
        let block = reader.block().await;
        let [comment, id] = &block[..] else { panic!("{block:?}") };
        // What passed by unseen need not be told again.
        assert_eq!((comment.as_str(), id.clone()), (": ", format!("id: {}", start.replace("-0", "-1"))));
        assert_eq!(began.elapsed().as_secs(), 15 * beat);
    }
    house.set("pay", "db", "1");
    catalog.refresh(None).await;
    assert_eq!(reader.event().await.0, "added");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_and_one_that_goes_leaves_its_place() {
    let house = House::new(&["pay"]);
    let (router, catalog) = open(&house).await;
    let running = Running::start(router.clone()).await;
    let (slow, _) = Reader::open(&running, "", "").await;
    let (gone, _) = Reader::open(&running, "", "").await;
    assert_eq!(streams(&house, &router).await, "2");
    drop(gone);
    while streams(&house, &router).await != "1" {
        tokio::task::yield_now().await;
    }
    for n in 0..4_000 {
        house.set("pay", &format!("secret-of-a-rather-long-name-that-fills-the-socket-soon-{n}"), "1");
    }
    let began = Instant::now();
    catalog.refresh(None).await;
    while streams(&house, &router).await != "0" {
        sleep(Duration::from_millis(100)).await;
    }
    assert!((9..=11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_streams_at_once_and_holds_up_nothing() {
    let house = House::new(&["pay"]);
    let (router, _) = open(&house).await;
    let running = Running::start(router).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(Reader::open(&running, "", "").await.0);
    }
    let began = Instant::now();
    assert_eq!(running.stopped().await, Drained { cut: 0 });
    // As long as any idle connection is waited for.
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
    for mut reader in readers {
        // An end in good order, not a broken connection.
        let mut rest = String::new();
        reader.0.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    }
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let house = House::new(&["pay"]);
    let (router, _) = open(&house).await;
    let running = Running::start(router.clone()).await;
    let mut readers = Vec::new();
    for _ in 0..256 {
        readers.push(Reader::open(&running, "", "").await.0);
    }
    let refused = get(&router, "/v1/watch").await.problem(503, "overloaded");
    assert_eq!(refused["detail"], "too many streams of events are open");
    assert_eq!(streams(&house, &router).await, "256");
}

#[tokio::test]
async fn what_cannot_be_watched_is_told_and_a_head_has_no_body() {
    let house = House::new(&["pay"]);
    house.set("pay", "db", "1");
    let (router, _) = open(&house).await;
    let many = format!("/v1/watch?{}", "ref=a&".repeat(101));
    for (path, detail) in [
        ("/v1/watch?ref=", "ref"),
        ("/v1/watch?ref=pay/[", "ref"),
        ("/v1/watch?ref=a/b/c", "ref"),
        ("/v1/watch?ref=pay/db@0b31729e2750416caba40429a1f3bea4", "a version never changes"),
        ("/v1/watch?ref=pay/db&since=1", "since"),
        ("/v1/watch?ref=%ff", "UTF-8"),
        (&many, "more than 100 times"),
    ] {
        let problem = get(&router, path).await.problem(400, "bad-query");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    get(&router, "/v1/watch?ref=nowhere/db").await.problem(404, "vault-not-found");
    ask(&router, "POST", "/v1/watch", &[]).await.problem(405, "method-not-allowed");
    for path in ["/v1/watch", "/v1/watch?ref=db&ref=p*/*&ref=secret://pay/db%23/user", "/v1/watch?ref=nowhere-*/db"] {
        let head = ask(&router, "HEAD", path, &[]).await;
        assert_eq!((head.status.as_u16(), head.header("content-type")), (200, Some("text/event-stream")), "{path}");
        assert!(head.body.is_empty());
    }
    assert_eq!(streams(&house, &router).await, "0");
    // Before discovery has ended a vault may be one that is yet to be found.
    let closed = house.closed();
    assert_eq!(ask(&closed, "HEAD", "/v1/watch?ref=nowhere/db", &[]).await.status.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn over_tcp_a_stream_needs_the_token() {
    let house = House::new(&["pay"]);
    let (router, _) = open(&house).await;
    let running = Running::start(router).await;
    for (token, status) in [("wrong", "401"), (running.token.as_str(), "200")] {
        let mut stream = running.tcp().await;
        let host = format!("Host: 127.0.0.1:{}", running.port);
        let request = format!("GET /v1/watch HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = Reader(BufReader::new(stream)).line().await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
}
