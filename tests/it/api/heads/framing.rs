//! Where a head and a body end: what smuggling lives on. A request that is framed in two ways is refused, or its
//! connection ends with it, so that nothing behind it is read as another.

use super::{EVERY, Row, Told, read_with, row};

/// What is smuggled: were it read as a request, it would be answered with the value.
const SMUGGLED: &str = "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {H}\r\n{A}Connection: close\r\n\r\n";

fn post(lines: &str, body: &str) -> String {
    format!("POST /v1/resolve HTTP/1.1\r\nHost: {{H}}\r\n{{A}}Content-Type: application/json\r\n{lines}\r\n{body}")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let (bare, refused) = (Told::Refused(400, ""), Told::Refused(400, "bad-query"));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let empty = r#"{"refs":{}}"#;
    let length = format!("Content-Length: {}\r\n", empty.len());
    // Bodies as they should be, so that the rest is refused for what it is.
    rows.push(row(
        "a body by its length",
        EVERY,
        Told::Refused(415, "unsupported-media-type"),
        format!("POST /v1/resolve HTTP/1.1\r\nHost: {{H}}\r\n{{A}}Connection: close\r\n{length}\r\n{empty}"),
    ));
    // The coding counts, as RFC 9112, 6.3 has it, and the connection ends: there is one answer, though what is asked for
    // is malformed in no other way than that it is nothing.
    let chunks = "0\r\n\r\n";
    for (name, lines) in [
        ("a length and chunks", format!("{length}{chunked}")),
        ("chunks and a length", format!("{chunked}{length}")),
        ("chunks and a length in no digits", format!("{chunked}Content-Length: x\r\n")),
        ("chunks and two lengths", format!("{chunked}Content-Length: 1\r\nContent-Length: 2\r\n")),
    ] {
        rows.push(row(name, EVERY, refused, post(&lines, &format!("{chunks}{SMUGGLED}"))));
    }
    for (name, lines) in [
        ("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned()),
        ("a length with a sign", "Content-Length: +5\r\n".to_owned()),
        ("a negative length", "Content-Length: -1\r\n".to_owned()),
        ("a length in hex", "Content-Length: 0x5\r\n".to_owned()),
        ("a length of two", "Content-Length: 5, 6\r\n".to_owned()),
        ("a length that is none", "Content-Length: \r\n".to_owned()),
        ("a length that overflows", "Content-Length: 99999999999999999999999\r\n".to_owned()),
        ("a blank before the colon", "Content-Length : 5\r\n".to_owned()),
        ("a coding with a blank before the colon", "Transfer-Encoding : chunked\r\n".to_owned()),
        ("a folded line", "X: a\r\n b\r\n".to_owned()),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n".to_owned()),
        ("a NUL in a value", "X: a\u{0}b\r\n".to_owned()),
        ("a bare CR in a value", "X: a\rb\r\n".to_owned()),
        ("a control byte in a value", "X: a\u{1}b\r\n".to_owned()),
        ("a DEL in a value", "X: a\u{7f}b\r\n".to_owned()),
        ("a name with a blank", "X Y: a\r\n".to_owned()),
        ("a name with a NUL", "X\u{0}: a\r\n".to_owned()),
        ("a name that is no ASCII", "X\u{e4}: a\r\n".to_owned()),
        ("no name", ": a\r\n".to_owned()),
        ("a line without a colon", "nonsense\r\n".to_owned()),
        ("a line that begins with a blank", " X: a\r\n".to_owned()),
    ] {
        rows.push(row(name, EVERY, bare, post(&lines, SMUGGLED)));
    }
    for (name, value) in [
        ("another coding", "gzip"),
        ("no coding", "identity"),
        ("an empty coding", ""),
        ("a coding after chunks", "chunked, identity"),
        ("a coding that looks like chunks", "xchunked"),
        ("a quoted coding", "\"chunked\""),
        ("chunks with a parameter", "chunked;a=b"),
        ("chunks and no coding", "chunked\r\nTransfer-Encoding: identity"),
    ] {
        let head = post(&format!("Transfer-Encoding: {value}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        rows.push(row(name, EVERY, bare, head));
    }
    for (name, value) in [
        ("a coding before chunks", "gzip, chunked"),
        ("chunks twice", "chunked\r\nTransfer-Encoding: chunked"),
        ("chunks twice in one", "chunked, chunked"),
        ("no coding and chunks", "identity\r\nTransfer-Encoding: chunked"),
    ] {
        let head = post(&format!("Transfer-Encoding: {value}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        rows.push(row(name, EVERY, refused, head));
    }
    for (name, body) in [
        ("a chunk's size with a sign", "+1\r\nx\r\n0\r\n\r\n"),
        ("a chunk's size in words", "one\r\nx\r\n0\r\n\r\n"),
        ("a chunk's size with 0x", "0x1\r\nx\r\n0\r\n\r\n"),
        ("a chunk's size that overflows", "fffffffffffffffff\r\nx\r\n0\r\n\r\n"),
        ("a chunk without its end", "1\r\nxx\r\n0\r\n\r\n"),
        ("a chunk's size ended by LF", "1\nx\n0\n\n"),
    ] {
        rows.push(row(name, EVERY, refused, post(chunked, &format!("{body}{SMUGGLED}"))));
    }
    // A body where none is read.
    for (name, lines) in [
        ("a GET with a body", "Content-Length: 5\r\n"),
        ("a GET with chunks", "Transfer-Encoding: chunked\r\n"),
        ("a GET with a body that is awaited", "Content-Length: 5\r\nExpect: 100-continue\r\n"),
    ] {
        rows.push(row(name, EVERY, refused, read_with(lines) + SMUGGLED));
    }
    rows.push(row("a GET with an empty body", EVERY, Told::Value, read_with("Content-Length: 0\r\n")));
    // One after the other, on one connection.
    let first = "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {H}\r\n{A}\r\n";
    rows.push(row("two in a row", EVERY, Told::Many(&[200, 200]), format!("{first}{SMUGGLED}")));
    rows.push(row("nothing behind the last", EVERY, Told::Value, format!("{SMUGGLED}{first}")));
    let evil = "GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {H}\r\n{A}Origin: x\r\n\r\n";
    rows.push(row("a refused one is the last", EVERY, Told::Many(&[200, 400]), format!("{first}{evil}{SMUGGLED}")));
    rows.push(row("blank lines before a request", EVERY, Told::Value, format!("\r\n\r\n{SMUGGLED}")));
    // Lines that end in LF alone are lines, as RFC 9112, 2.2 lets a server read them; there is nobody before us who could
    // read them otherwise.
    rows.push(row(
        "bare LF",
        EVERY,
        Told::Value,
        SMUGGLED.replace("\r\n", "\n").replace("{A}", "Authorization: Bearer {T}\n"),
    ));
    // Sizes.
    let large = Told::Refused(431, "");
    rows.push(row("101 lines", EVERY, large, read_with(&"A: b\r\n".repeat(101))));
    rows.push(row("90 lines", EVERY, Told::Value, read_with(&"A: b\r\n".repeat(90))));
    rows.push(row("a line of 33,000 bytes", EVERY, large, read_with(&format!("A: {}\r\n", "b".repeat(33_000)))));
    rows.push(row("a line of 100,000 bytes", EVERY, large, read_with(&format!("A: {}\r\n", "b".repeat(100_000)))));
    rows.push(row(
        "a line that never ends",
        EVERY,
        large,
        format!("GET /livez HTTP/1.1\r\nA: {}", "b".repeat(1_000_000)),
    ));
    rows.push(row(
        "a path of 33,000 bytes",
        EVERY,
        large,
        format!("GET /{} HTTP/1.1\r\nHost: {{H}}\r\n\r\n", "b".repeat(33_000)),
    ));
    rows.push(row("a path that never ends", EVERY, large, format!("GET /{}", "b".repeat(1_000_000))));
    rows.push(row(
        "a path of 20,000 bytes",
        EVERY,
        Told::Refused(404, "not-found"),
        format!("GET /{} HTTP/1.1\r\nHost: {{H}}\r\n{{A}}Connection: close\r\n\r\n", "b".repeat(20_000)),
    ));
    rows
}
