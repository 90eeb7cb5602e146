//! Heads as bytes, over real sockets: each is refused, or answered as its row says, and none that is refused is told one
//! byte of what there is. hyper lets most of them through; what refuses them is ours. With every row but those about it
//! goes the right token, so that a row is refused for what it is.

mod framing;
mod hosts;
mod methods;
mod origins;
mod paths;
mod slow;

use std::fmt::Write as _;

use sidekey::api::ServeOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::House;
use super::tls::Stage;

const VALUE: &str = "value-canary";
const ROWS_AT_LEAST: usize = 290;

/// How a row is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Tcp,
    Unix,
    Tls,
}

/// All three.
const EVERY: &[Way] = &[Way::Tcp, Way::Unix, Way::Tls];
/// Where a `Host` is asked for.
const HOSTED: &[Way] = &[Way::Tcp, Way::Tls];
const TCP: &[Way] = &[Way::Tcp];
const TLS: &[Way] = &[Way::Tls];
const UNIX: &[Way] = &[Way::Unix];

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The value.
    Value,
    /// That it lives: `ok`.
    Alive,
    /// One refusal, with its code; an empty one where it is the HTTP library's.
    Refused(u16, &'static str),
    /// Nothing at all.
    Nothing,
    /// Several, in this order: 200 is the value.
    Many(&'static [u16]),
}

/// One head.
#[derive(Debug)]
struct Row {
    name: String,
    /// `{H}`: our host, `{P}`: our port, `{Q}`: another, `{T}`: the token, `{A}`: the header with it.
    head: String,
    ways: &'static [Way],
    told: Told,
}

fn row(name: impl Into<String>, ways: &'static [Way], told: Told, head: impl Into<String>) -> Row {
    Row { name: name.into(), head: head.into(), ways, told }
}

/// A read of the value with these lines more.
fn read_with(lines: &str) -> String {
    format!("GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {{H}}\r\n{{A}}Connection: close\r\n{lines}\r\n")
}

/// A read of the value with that request line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: {{H}}\r\n{{A}}Connection: close\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn every_head_is_refused_or_answered_as_its_row_says() {
    let house = House::new(&["pay"]);
    house.set("pay", "name-canary", VALUE);
    let stage = Stage::with(house.open().await, false, ServeOptions::default()).await;
    let rows: Vec<_> = [hosts::rows(), origins::rows(), methods::rows(), paths::rows(), framing::rows(), slow::rows()]
        .into_iter()
        .flatten()
        .collect();
    assert!(rows.len() >= ROWS_AT_LEAST, "only {} rows", rows.len());
    let mut wrong = String::new();
    for row in &rows {
        for way in row.ways {
            let answer = send(&stage, *way, &row.head).await;
            if let Err(why) = judge(row.told, &answer) {
                let shown: String = String::from_utf8_lossy(&answer).chars().take(400).collect();
                writeln!(wrong, "{} ({way:?}): expected {:?}: {why}\n{shown}\n", row.name, row.told).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

async fn send(stage: &Stage, way: Way, head: &str) -> Vec<u8> {
    let (port, host) = match way {
        Way::Tcp => (stage.running.port, format!("localhost:{}", stage.running.port)),
        Way::Unix => (stage.running.port, "localhost".to_owned()),
        Way::Tls => (stage.port, format!("keys.example:{}", stage.port)),
    };
    let other = if port == 65_535 { 1 } else { port + 1 };
    let head = head
        .replace("{H}", &host)
        .replace("{P}", &port.to_string())
        .replace("{Q}", &other.to_string())
        .replace("{A}", "Authorization: Bearer {T}\r\n")
        .replace("{T}", &stage.running.token);
    // Latin-1, so that a row can hold any byte.
    let bytes: Vec<u8> = head.chars().map(|char| u8::try_from(u32::from(char)).expect("Latin-1")).collect();
    match way {
        Way::Tcp => exchange(stage.running.tcp().await, &bytes).await,
        Way::Unix => exchange(stage.running.unix().await, &bytes).await,
        Way::Tls => exchange(stage.connect(None).await.unwrap(), &bytes).await,
    }
}

/// Sends all of it and reads to the end.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answer = Vec::new();
    // What is refused may be refused before all of it is sent, and a peer that resets has answered all the same.
    let _ = tokio::join!(
        async {
            let _ = write.write_all(bytes).await;
            let _ = write.flush().await;
        },
        read.read_to_end(&mut answer)
    );
    answer
}

fn judge(expected: Told, answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let answers = split(&text)?;
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    let holds_value = |body: &str| body.ends_with(VALUE);
    let (wanted, values): (Vec<u16>, usize) = match expected {
        Told::Value => (vec![200], 1),
        Told::Alive => (vec![200], 0),
        Told::Refused(status, _) => (vec![status], 0),
        Told::Nothing => (vec![], 0),
        Told::Many(all) => (all.to_vec(), all.iter().filter(|status| **status == 200).count()),
    };
    if statuses != wanted {
        return Err(format!("{statuses:?}"));
    }
    if text.matches(VALUE).count() != values || text.matches("canary").count() > 3 * values {
        return Err("what there is, is told".to_owned());
    }
    match expected {
        Told::Value if !holds_value(answers[0].1) => Err("not the value alone".to_owned()),
        Told::Alive if !answers[0].1.ends_with("ok\n") => Err("not alive".to_owned()),
        Told::Refused(_, "") if !answers[0].1.ends_with("\r\n\r\n") => Err("more than a bare refusal".to_owned()),
        Told::Refused(_, code) if !code.is_empty() && !text.contains(&format!("\"code\":\"{code}\"")) => {
            Err("another code".to_owned())
        }
        _ => Ok(()),
    }
}

/// Each answer: its status, and all of it.
fn split(text: &str) -> Result<Vec<(u16, &str)>, String> {
    let (mut all, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = rest.find("\r\n\r\n").ok_or("half an answer")? + 4;
        let head = &rest[..end];
        let status = head.strip_prefix("HTTP/1.").and_then(|head| head.get(2..5)?.parse().ok()).ok_or("no answer")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let whole = rest.get(..end + length).ok_or("half a body")?;
        // A hundred is no answer yet.
        if status != 100 {
            all.push((status, whole));
        }
        rest = &rest[end + length..];
    }
    Ok(all)
}
