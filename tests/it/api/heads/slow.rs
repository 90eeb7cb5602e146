//! Heads that do not come to their end. The clock is the test's: each waits as long as a real one would.

use super::{EVERY, Row, Told, row};

pub(super) fn rows() -> Vec<Row> {
    let nothing = |name: &str, head: &str| row(name, EVERY, Told::Nothing, head);
    vec![
        nothing("silence", ""),
        nothing("a byte", "G"),
        nothing("half a line", "GET /v1/secrets/name-canary HT"),
        nothing("a line alone", "GET /v1/secrets/name-canary HTTP/1.1\r\n"),
        nothing("a head without its end", "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {H}\r\n{A}"),
        nothing("blank lines alone", "\r\n\r\n\r\n"),
        row(
            "a body that does not come",
            EVERY,
            Told::Refused(408, "too-slow"),
            "POST /v1/resolve HTTP/1.1\r\nHost: {H}\r\n{A}Content-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{",
        ),
        row(
            "chunks that do not end",
            EVERY,
            Told::Refused(408, "too-slow"),
            "POST /v1/resolve HTTP/1.1\r\nHost: {H}\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\n{\r\n",
        ),
        row(
            "a second head that does not end",
            EVERY,
            Told::Many(&[200]),
            "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {H}\r\n{A}\r\nGET /v1/secrets/name-canary HTTP/1.1\r\nHost: {H}\r\n{A}",
        ),
    ]
}
