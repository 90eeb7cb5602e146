//! Who may knock, as raw bytes over real sockets: hyper lets through most of what is refused here.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::House;
use super::listeners::Running;

const CANARY: &str = "value-canary";

async fn running() -> Running {
    let house = House::new(&["pay"]);
    house.set("pay", "name-canary", CANARY);
    Running::start(house.open().await).await
}

/// Sends these bytes and reads until the peer closes.
pub(super) async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that resets after its answer has still answered.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

pub(super) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn code(answer: &str) -> &str {
    answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("")
}

const ROUTES: [&str; 13] = [
    "GET /v1/secrets/name-canary",
    "GET /v1/vaults/pay/secrets/name-canary",
    "GET /v1/vaults/pay/secrets/name-canary/versions",
    "GET /v1/vaults/pay/secrets/name-canary/versions/0b31729e2750416caba40429a1f3bea4",
    "GET /v1/vaults",
    "GET /v1/vaults/pay/secrets",
    "GET /v1/search?q=name",
    "POST /v1/resolve",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz?verbose",
    "GET /livez?verbose",
    "GET /nowhere",
];

#[tokio::test]
async fn over_tcp_every_route_that_tells_anything_needs_the_token() {
    let running = running().await;
    let (port, token) = (running.port, running.token.as_str());
    let mut off_by_one = token.to_owned();
    let last = off_by_one.pop().unwrap();
    off_by_one.push(char::from(last as u8 ^ 1));
    let credentials = [
        String::new(),
        "Authorization:\r\n".into(),
        "Authorization: Bearer\r\n".into(),
        "Authorization: Bearer \r\n".into(),
        "Authorization: Bearer wrong\r\n".into(),
        format!("Authorization: Bearer {off_by_one}\r\n"),
        format!("Authorization: Bearer {}\r\n", &token[..token.len() - 1]),
        format!("Authorization: Bearer {token}x\r\n"),
        format!("Authorization: Bearer {token} {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer{token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer wrong\r\nAuthorization: Bearer {token}\r\n"),
        format!("Proxy-Authorization: Bearer {token}\r\n"),
        format!("X-Api-Key: {token}\r\n"),
        format!("Cookie: token={token}; Authorization=Bearer {token}\r\n"),
    ];
    for route in ROUTES {
        for credential in &credentials {
            let request =
                format!("{route} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{credential}\r\n");
            let answer = exchange(running.tcp().await, &request).await;
            assert_eq!((status(&answer), code(&answer)), (401, "unauthenticated"), "{request}\n{answer}");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
            assert!(!answer.contains("canary") && !answer.contains(token), "{answer}");
        }
        let sep = if route.contains('?') { '&' } else { '?' };
        let request =
            format!("{route}{sep}token={token} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&exchange(running.tcp().await, &request).await), 401);
    }
    for (path, body) in [("/livez", "ok\n"), ("/readyz", "ready\n")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        let answer = exchange(running.tcp().await, &request).await;
        assert!(status(&answer) == 200 && answer.ends_with(body), "{answer}");
    }
    for scheme in ["Bearer ", "bearer ", "BEARER   "] {
        let request = format!(
            "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nauthorization: {scheme}{token}\r\n\r\n"
        );
        assert!(exchange(running.tcp().await, &request).await.ends_with(CANARY));
    }
}

#[tokio::test]
async fn only_our_own_host_is_answered() {
    let running = running().await;
    let port = running.port;
    let other = if port == 65_535 { 1 } else { port + 1 };
    let host = |value: &str| format!("GET /livez HTTP/1.1\r\nHost: {value}\r\nConnection: close\r\n\r\n");
    let absolute = |url: &str, host: &str| format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let own = format!("127.0.0.1:{port}");
    let mut cases = vec![
        ("GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET /livez HTTP/1.0\r\n\r\n".to_owned(), 400),
        (format!("GET /livez HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\nConnection: close\r\n\r\n"), 400),
        (format!("GET /livez HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), 400),
        (host(""), 400),
        (host(&format!("a@localhost:{port}")), 400),
        (host(&format!("{own} {own}")), 400),
        (absolute(&format!("http://evil.example:{port}/livez"), &own), 421),
        (absolute(&format!("http://localhost:{port}/livez"), &own), 421),
        (absolute(&format!("http://{own}/livez"), "evil.example"), 421),
        (absolute(&format!("http://{own}/livez"), &own), 200),
        (format!("GET /livez HTTP/1.0\r\nHost: {own}\r\n\r\n"), 200),
    ];
    for wrong in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1:{other}"),
        "127.0.0.1".into(),
        "localhost".into(),
        "localhost:".into(),
        format!("localhost.:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        format!("127.0.0.2:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0.0.0.0:{port}"),
        format!("0:{port}"),
        format!("[::]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("::1:{port}"),
        format!("127.0.0.1:+{port}"),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.1:{port}:{port}"),
        format!("127.0.0.1:{port}/"),
    ] {
        cases.push((host(&wrong), 421));
    }
    for right in [own.clone(), format!("localhost:{port}"), format!("LocalHost:{port}"), format!("[::1]:{port}")] {
        cases.push((host(&right), 200));
    }
    for (request, expected) in cases {
        let answer = exchange(running.tcp().await, &request).await;
        assert_eq!(status(&answer), expected, "{request}\n{answer}");
        if expected != 200 {
            assert_eq!(code(&answer), "bad-host", "{request}\n{answer}");
        }
    }
}

#[tokio::test]
async fn what_proxies_and_browsers_add_is_refused_on_every_way_in() {
    let running = running().await;
    let (port, token) = (running.port, &running.token);
    let forwarded = [
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: x",
        "x-forwarded-proto: http",
        "X-Forwarded-Client-Cert: x",
        "X-Real-IP: 127.0.0.1",
        "Via: 1.1 proxy",
        "X-Original-URL: /v1/secrets/a",
        "X-Original-Host: x",
        "X-Rewrite-URL: /v1/secrets/a",
        "CF-Connecting-IP: 1.2.3.4",
        "CF-Ray: x",
        "True-Client-IP: 1.2.3.4",
        "X-Client-IP: 1.2.3.4",
        "X-Cluster-Client-IP: 1.2.3.4",
        "Via:",
    ];
    let browser = [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin:",
        "Referer: http://127.0.0.1/",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Mode: no-cors",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-User: ?1",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Private-Network: true",
    ];
    let cases = forwarded.iter().map(|line| (line, "forwarded")).chain(browser.iter().map(|line| (line, "bad-host")));
    for (line, expected) in cases {
        let request = format!(
            "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{line}\r\n\r\n"
        );
        for answer in [exchange(running.tcp().await, &request).await, exchange(running.unix().await, &request).await] {
            assert_eq!((status(&answer), code(&answer)), (400, expected), "{line}\n{answer}");
            assert!(!answer.contains(CANARY));
        }
    }
    // Node's own fetch sends this, and nothing else that a browser sends.
    let node = format!(
        "GET /v1/secrets/name-canary HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\naccept: */*\r\naccept-language: *\r\n\
         sec-fetch-mode: cors\r\nuser-agent: node\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    assert!(exchange(running.tcp().await, &node).await.ends_with(CANARY));
}

#[tokio::test]
async fn no_method_and_no_upgrade_leads_elsewhere() {
    let running = running().await;
    let (port, token) = (running.port, &running.token);
    let head = format!("Host: localhost:{port}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
    for request in [
        format!("OPTIONS /v1/vaults HTTP/1.1\r\n{head}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{head}\r\n"),
        format!("TRACE /v1/vaults HTTP/1.1\r\n{head}\r\n"),
        format!("CONNECT localhost:{port} HTTP/1.1\r\n{head}\r\n"),
        format!("GET /v1/vaults HTTP/1.1\r\n{head}Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"),
        format!("DELETE /v1/vaults HTTP/1.1\r\n{head}\r\n"),
    ] {
        let answer = exchange(running.tcp().await, &request).await;
        assert_eq!((status(&answer), code(&answer)), (405, "method-not-allowed"), "{request}\n{answer}");
        let allowed =
            if request.contains("OPTIONS *") || request.contains("CONNECT") { "GET, HEAD, POST" } else { "GET, HEAD" };
        let allow = answer.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap().replace(", ", ",");
        assert_eq!(allow, allowed.replace(", ", ","), "{request}");
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{answer}");
    }
    let resolve = exchange(running.tcp().await, &format!("OPTIONS /v1/resolve HTTP/1.1\r\n{head}\r\n")).await;
    assert!(resolve.contains("\nallow: POST\r"), "{resolve}");
    // Java's own client offers HTTP/2 with its first request; the offer may be passed over.
    let java =
        format!("GET /v1/secrets/name-canary HTTP/1.1\r\n{head}Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n\r\n");
    assert!(exchange(running.tcp().await, &java).await.ends_with(CANARY));
}

#[tokio::test]
async fn on_the_socket_neither_token_nor_host_is_asked_for() {
    let running = running().await;
    for host in ["", "Host: anything\r\n", "Host: localhost\r\n"] {
        let request = format!("GET /v1/secrets/name-canary HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        let answer = exchange(running.unix().await, &request).await;
        assert!(status(&answer) == 200 && answer.ends_with(CANARY), "{answer}");
    }
}

#[tokio::test]
async fn every_answer_forbids_keeping_guessing_and_embedding() {
    let running = running().await;
    for path in ["/v1/secrets/name-canary", "/v1/secrets/none", "/v1/vaults", "/nowhere", "/livez", "/v1/secrets/%2f"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        for answer in [exchange(running.unix().await, &request).await, exchange(running.tcp().await, &request).await] {
            for header in [
                "cache-control: no-store\r\n",
                "x-content-type-options: nosniff\r\n",
                "cross-origin-resource-policy: same-origin\r\n",
            ] {
                assert_eq!(answer.matches(header).count(), 1, "{path} {header}\n{answer}");
            }
        }
    }
}

#[tokio::test]
async fn malformed_requests_end_without_harm() {
    let running = running().await;
    for request in [
        "\r\n\r\nnonsense\r\n\r\n".to_owned(),
        "GET /livez HTTP/9.9\r\n\r\n".into(),
        "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n".into(),
        "GET /livez HTTP/1.1\r\nA: b\r\n folded\r\n\r\n".into(),
        "GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(),
        format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        format!("GET /livez HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)),
    ] {
        let shown = &request[..request.len().min(60)];
        let answer = exchange(running.unix().await, &request).await;
        assert!(matches!(status(&answer), 400 | 431), "{shown:?}: {answer}");
    }
    assert_eq!(status(&exchange(running.unix().await, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").await), 200);
}

#[tokio::test]
async fn a_panic_is_one_500_that_tells_nothing() {
    let boom = || async { if true { panic!("{CANARY}") } else { "ok" } };
    let running = Running::start(axum::Router::new().route("/boom", axum::routing::get(boom))).await;
    for _ in 0..2 {
        let answer = exchange(running.unix().await, "GET /boom HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        assert_eq!((status(&answer), code(&answer)), (500, "internal"), "{answer}");
        assert!(!answer.contains(CANARY) && answer.contains("cache-control: no-store"), "{answer}");
    }
}
