//! Methods, versions and protocols.

use super::{EVERY, HOSTED, Row, Told, UNIX, line, read_with, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let not_allowed = Told::Refused(405, "method-not-allowed");
    for method in ["OPTIONS", "TRACE", "DELETE", "PUT", "PATCH", "PROPFIND", "get", "SEARCH", "POST", "M-SEARCH"] {
        let head = line(&format!("{method} /v1/secrets/name-canary HTTP/1.1"));
        rows.push(row(format!("{method} of a secret"), EVERY, not_allowed, head));
    }
    for (name, request) in [
        ("OPTIONS of everything", "OPTIONS * HTTP/1.1"),
        ("CONNECT to us", "CONNECT {H} HTTP/1.1"),
        ("TRACE of nothing", "TRACE / HTTP/1.1"),
        ("OPTIONS of a probe", "OPTIONS /livez HTTP/1.1"),
        ("GET of what is posted", "GET /v1/resolve HTTP/1.1"),
    ] {
        rows.push(row(name, EVERY, not_allowed, line(request)));
    }
    rows.push(row("CONNECT to another", HOSTED, not_allowed, line("CONNECT evil.example:443 HTTP/1.1")));
    for lines in [
        "Upgrade: websocket\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Upgrade: TLS/1.2\r\n",
        "Upgrade:\r\n",
        "Upgrade: h2c\r\nUpgrade: websocket\r\n",
        "Upgrade: h2c, websocket\r\n",
    ] {
        rows.push(row(format!("an offer {lines:?}"), EVERY, not_allowed, read_with(lines)));
    }
    rows.push(row(
        "an offer of HTTP/2 is passed over",
        EVERY,
        Told::Value,
        read_with("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
    ));
    for (name, request) in [("X-HTTP-Method-Override", "DELETE"), ("X-Method-Override", "POST")] {
        rows.push(row(
            format!("{name} changes nothing"),
            EVERY,
            Told::Value,
            read_with(&format!("{name}: {request}\r\n")),
        ));
    }
    let bare = Told::Refused(400, "");
    rows.push(row(
        "HTTP/1.0 with our Host",
        EVERY,
        Told::Value,
        "GET /v1/secrets/name-canary HTTP/1.0\r\nHost: {H}\r\n{A}\r\n",
    ));
    rows.push(row(
        "HTTP/1.0 without Host",
        HOSTED,
        Told::Refused(400, "bad-host"),
        "GET /v1/secrets/name-canary HTTP/1.0\r\n{A}\r\n",
    ));
    rows.push(row(
        "HTTP/1.0 without Host, on the socket",
        UNIX,
        Told::Value,
        "GET /v1/secrets/name-canary HTTP/1.0\r\n\r\n",
    ));
    rows.push(row(
        "HTTP/1.0 with chunks",
        EVERY,
        bare,
        "POST /v1/resolve HTTP/1.0\r\nHost: {H}\r\n{A}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ));
    for (name, head) in [
        ("HTTP/0.9", "GET /v1/secrets/name-canary\r\n"),
        ("HTTP/0.9 with a blank line", "GET /v1/secrets/name-canary\r\n\r\n"),
        ("HTTP/2.0 by its line", "GET /v1/secrets/name-canary HTTP/2.0\r\nHost: {H}\r\n{A}\r\n"),
        ("HTTP/1.2", "GET /v1/secrets/name-canary HTTP/1.2\r\nHost: {H}\r\n{A}\r\n"),
        ("HTTP/1.10", "GET /v1/secrets/name-canary HTTP/1.10\r\nHost: {H}\r\n{A}\r\n"),
        ("http/1.1", "GET /v1/secrets/name-canary http/1.1\r\nHost: {H}\r\n{A}\r\n"),
        ("a TLS hello in the clear", "\u{16}\u{3}\u{1}\u{0}\u{5}\u{1}\u{0}\u{0}\u{1}\u{3}"),
        ("an SSH greeting", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("a RESP command", "*1\r\n$4\r\nPING\r\n"),
        ("an SMTP greeting", "EHLO localhost\r\n"),
        ("no request at all", "\u{0}\u{0}\u{0}\u{0}\r\n\r\n"),
        ("a method alone", "GET\r\n\r\n"),
        ("two words of a path", "GET /v1/secrets /name-canary HTTP/1.1\r\nHost: {H}\r\n{A}\r\n"),
    ] {
        rows.push(row(name, EVERY, bare, head));
    }
    rows.push(row("HTTP/2's preface", EVERY, Told::Nothing, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    rows
}
