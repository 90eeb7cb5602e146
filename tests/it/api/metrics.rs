//! The listener that a kubelet and a scraper reach: health and metrics, and nothing else.

use sidekey::api::{ServeOptions, bind_metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::House;
use super::listeners::Running;

async fn exchange(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn health_and_metrics_are_told_to_everybody_and_nothing_else_to_anybody() {
    let house = House::new(&["pay"]);
    house.set("pay", "name-canary", "value-canary");
    let listener = bind_metrics("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = listener.port().unwrap();
    let running = Running::with_more(house.open().await, ServeOptions::default(), vec![listener]).await;
    let head = "Host: 10.1.2.3:9733\r\nConnection: close\r\n";
    for (line, status, within) in [
        ("GET /livez", 200, "\r\n\r\nok\n"),
        ("GET /readyz", 200, "\r\n\r\nready\n"),
        ("GET /metrics", 200, "sidekey_vaults 1"),
        ("HEAD /livez", 200, "content-length: 3"),
        ("POST /livez", 405, "allow: GET, HEAD"),
        ("DELETE /metrics", 405, "allow: GET, HEAD"),
        ("OPTIONS /metrics", 405, ""),
        ("GET /readyz?verbose", 404, ""),
        ("GET /livez?", 404, ""),
        ("GET /livez/", 404, ""),
        ("GET //livez", 404, ""),
        ("GET /metrics/../v1/vaults", 404, ""),
        ("GET /openapi.json", 404, ""),
        ("GET /v1/vaults", 404, ""),
        ("GET /v1/search?q=name", 404, ""),
        ("GET /v1/secrets/name-canary", 404, ""),
        ("GET /v1/vaults/pay/secrets/name-canary", 404, ""),
        ("GET /v1/vaults/pay/secrets", 404, ""),
        ("GET /v1/watch", 404, ""),
        ("POST /v1/resolve", 404, ""),
        ("GET /", 404, ""),
    ] {
        // The token opens nothing more there.
        for token in [String::new(), format!("Authorization: Bearer {}\r\n", running.token)] {
            let answer = exchange(port, &format!("{line} HTTP/1.1\r\n{head}{token}\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(within), "{line}\n{answer}");
            assert!(!answer.contains("canary"), "{line}\n{answer}");
        }
    }
    for (line, status) in [
        ("Host: a\r\nHost: a\r\n", 400),
        ("", 400),
        ("Host:\r\n", 400),
        ("Host: a@b\r\n", 400),
        ("Host: a\r\nOrigin: http://evil.example\r\n", 400),
        ("Host: a\r\nX-Forwarded-For: 1.2.3.4\r\n", 400),
        ("Host: a\r\nUpgrade: websocket\r\n", 405),
    ] {
        let answer = exchange(port, &format!("GET /metrics HTTP/1.1\r\nConnection: close\r\n{line}\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}\n{answer}");
    }
}

#[tokio::test]
async fn a_flood_of_it_keeps_nobody_from_it_and_takes_no_place_of_the_api() {
    let listener = bind_metrics("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.port().unwrap();
    let running = Running::with_more(House::new(&["pay"]).open().await, ServeOptions::default(), vec![listener]).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let answer = exchange(port, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("ok\n"), "{answer}");
    let text = running.metrics.encode();
    let ended = |reason: &str| {
        let line = format!("sidekey_connections_ended_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|told| told.strip_prefix(&line)?.parse::<u32>().ok()).unwrap_or(0)
    };
    assert!(ended("displaced") + ended("cut") + ended("refused") >= 200 - 32, "{text}");
}
