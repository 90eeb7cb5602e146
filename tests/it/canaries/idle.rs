//! A caller's token is not kept for it: once it is answered, nothing of what it sent lies in the process, though its
//! connection stays open.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::forms::Scanner;
use super::house::{House, PLANTED, TOKEN, canary};
use super::traces::memory;
use super::{LOOKS, holds};

/// The value that is asked for: its own canary, and no more.
const SHORT: usize = 5;

/// A request for it with the token, `bytes` long, or as short as it can be.
fn request(house: &House, bytes: Option<usize>) -> String {
    let (port, token) = (house.port(), canary(TOKEN));
    let start = format!("GET /v1/vaults/{PLANTED}/secrets/s-{SHORT} HTTP/1.1\r\nHost: localhost:{port}\r\n");
    let end = format!("Authorization: Bearer {token}\r\n\r\n");
    let Some(bytes) = bytes else { return start + &end };
    let padding = "p".repeat(bytes - start.len() - end.len() - "X-P: \r\n".len());
    format!("{start}X-P: {padding}\r\n{end}")
}

#[test]
fn no_token_lies_in_memory_while_its_connection_idles() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: memory is not searched");
        return;
    }
    // A value that is held is answered past the router, but not where its audit is waited for.
    for required in [false, true] {
        let house = House::open(required);
        let ask = format!("GET /v1/vaults/{PLANTED}/secrets/s-{SHORT}");
        assert!(holds(&house.ask(&ask), &canary(SHORT)), "it is not held");
        let token = canary(TOKEN);
        let scanner = Scanner::of([token.as_str(), PLANTED].map(|canary| (canary, canary.as_bytes())));
        let [small, full, half] = [None, Some(8_192), Some(4_096)].map(|bytes| request(&house, bytes));
        let two = half.repeat(2);
        let sent: [(&str, Vec<&str>); 4] = [
            ("a small head", vec![&small]),
            ("small heads, one after the other", vec![&small, &small]),
            ("a head that fills the first buffer", vec![&full]),
            ("two heads that fill it together, and a small one behind them", vec![&two, &small]),
        ];
        let mut staying = Vec::new();
        for (what, writes) in sent {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{}", house.port())).unwrap();
            for bytes in writes {
                stream.write_all(bytes.as_bytes()).unwrap();
                let expected = bytes.matches("GET ").count();
                let mut answers = Vec::new();
                while memchr::memmem::find_iter(&answers, canary(SHORT).as_bytes()).count() < expected {
                    let mut more = [0; 1_024];
                    let read = stream.read(&mut more).unwrap();
                    assert!(read > 0, "{what}: {:?}", String::from_utf8_lossy(&answers));
                    answers.extend(&more[..read]);
                }
            }
            staying.push(stream);
            let mut left = Vec::new();
            for _ in 0..LOOKS {
                left = memory(house.serving.pid(), &scanner);
                assert!(left.iter().any(|hit| hit.starts_with(PLANTED)), "what was planted in memory was not found");
                left.retain(|hit| !hit.starts_with(PLANTED));
                if left.is_empty() {
                    break;
                }
                house.told.until_quiet();
            }
            assert!(left.is_empty(), "{what}, audit required: {required}: {left:?}");
        }
    }
}
