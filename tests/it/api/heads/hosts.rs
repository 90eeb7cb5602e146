//! `Host` and the authority of the request line. On the socket neither is asked for: nobody else's name leads there.

use super::{EVERY, HOSTED, Row, TCP, TLS, Told, UNIX, row};

fn host(value: &str) -> String {
    format!("GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {value}\r\n{{A}}Connection: close\r\n\r\n")
}

fn absolute(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{{A}}Connection: close\r\n\r\n")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for value in ["127.0.0.1:{P}", "localhost:{P}", "LOCALHOST:{P}", "LocalHost:{P}", "[::1]:{P}", " localhost:{P} "] {
        rows.push(row(format!("our Host {value}"), TCP, Told::Value, host(value)));
    }
    for value in ["keys.example:{P}", "Keys.Example:{P}", "a.wild.example:{P}", "127.0.0.1:{P}"] {
        rows.push(row(format!("a Host of the certificate {value}"), TLS, Told::Value, host(value)));
    }
    for value in ["x", "evil.example", ""] {
        rows.push(row(format!("any Host on the socket {value:?}"), UNIX, Told::Value, host(value)));
    }
    let misdirected = Told::Refused(421, "bad-host");
    for value in [
        "evil.example",
        "evil.example:{P}",
        "localhost.evil.example:{P}",
        "evil.example:80",
        "127.0.0.1.nip.io:{P}",
        "localhost.:{P}",
        "localhost",
        "localhost:",
        "localhost:{Q}",
        "127.0.0.1",
        "127.0.0.1:{Q}",
        "127.0.0.1:80",
        "127.0.0.2:{P}",
        "127.1:{P}",
        "127.000.000.001:{P}",
        "0177.0.0.1:{P}",
        "0x7f.1:{P}",
        "2130706433:{P}",
        "0:{P}",
        "0.0.0.0:{P}",
        "[::]:{P}",
        "[::1]",
        "[::1]:{Q}",
        "[::1%25lo]:{P}",
        "[0:0:0:0:0:0:0:1]:{P}",
        "[::ffff:127.0.0.1]:{P}",
        "::1:{P}",
        "127.0.0.1:+{P}",
        "127.0.0.1:0{P}",
        "127.0.0.1:{P}0",
        "127.0.0.1:{P}:{P}",
        "127.0.0.1:-1",
        "127.0.0.1:{P}/",
        "127.0.0.1:{P}#",
        "127.0.0.1:{P}?",
        "127.0.0.1:{P},evil.example",
        "127.0.0.1:{P};evil.example",
        "http://127.0.0.1:{P}",
        "localhost%00:{P}",
        "localhost\\evil:{P}",
        "\"localhost\":{P}",
    ] {
        rows.push(row(format!("another's Host {value}"), TCP, misdirected, host(value)));
    }
    for value in [
        "localhost:{P}",
        "[::1]:{P}",
        "wild.example:{P}",
        "a.b.wild.example:{P}",
        "*.wild.example:{P}",
        "keys.example",
        "keys.example:443",
        "keys.example:{Q}",
        "keys.example.evil.example:{P}",
        "evilkeys.example:{P}",
        "127.0.0.2:{P}",
        "[127.0.0.1]:{P}x",
    ] {
        rows.push(row(format!("a Host that is not the certificate's {value}"), TLS, misdirected, host(value)));
    }
    let bad = Told::Refused(400, "bad-host");
    for (name, value) in [
        ("no Host's value", ""),
        ("Host of blanks", "   "),
        ("userinfo in Host", "a@{H}"),
        ("our host as userinfo", "{H}@evil.example"),
        ("userinfo with a password", "a:b@{H}"),
        ("two in one Host", "{H} evil.example"),
        ("a tab in Host", "{H}\tevil.example"),
        ("Host that is no ASCII", "localh\u{f6}st:{P}"),
    ] {
        rows.push(row(name, HOSTED, bad, host(value)));
    }
    rows.push(row("no Host", HOSTED, bad, "GET /v1/secrets/name-canary HTTP/1.1\r\n{A}Connection: close\r\n\r\n"));
    rows.push(row(
        "no Host, on the socket",
        UNIX,
        Told::Value,
        "GET /v1/secrets/name-canary HTTP/1.1\r\nConnection: close\r\n\r\n",
    ));
    for (name, second) in
        [("Host twice", "{H}"), ("a second Host of another", "evil.example"), ("a second Host, empty", "")]
    {
        rows.push(row(name, HOSTED, bad, host(&format!("{{H}}\r\nHost: {second}"))));
    }
    rows.push(row("a Host of another and ours", HOSTED, bad, host("evil.example\r\nHost: {H}")));
    for (name, target, told) in [
        ("absolute-form of ours", "http://{H}/v1/secrets/name-canary", Told::Value),
        ("absolute-form of another", "http://evil.example/v1/secrets/name-canary", misdirected),
        ("absolute-form of another, with our port", "http://evil.example:{P}/v1/secrets/name-canary", misdirected),
        ("absolute-form with another of our names", "http://127.0.0.1:{P}/v1/secrets/name-canary", misdirected),
        ("absolute-form without our port", "http://localhost/v1/secrets/name-canary", misdirected),
        ("absolute-form with userinfo", "http://a@{H}/v1/secrets/name-canary", misdirected),
        ("absolute-form with ours as userinfo", "http://{H}@evil.example/v1/secrets/name-canary", misdirected),
        ("absolute-form of another scheme and host", "ftp://evil.example/v1/secrets/name-canary", misdirected),
    ] {
        rows.push(row(name, HOSTED, told, absolute(target, "{H}")));
    }
    let target = "http://{H}/v1/secrets/name-canary";
    rows.push(row("absolute-form of ours, Host of another", HOSTED, misdirected, absolute(target, "evil.example")));
    rows.push(row(
        "absolute-form without Host",
        HOSTED,
        bad,
        "GET http://{H}/v1/secrets/name-canary HTTP/1.1\r\n{A}Connection: close\r\n\r\n",
    ));
    rows.push(row(
        "absolute-form without a path",
        EVERY,
        Told::Refused(404, "not-found"),
        absolute("http://{H}", "{H}"),
    ));
    for name in ["X-Host", "X-HTTP-Host-Override", "Host-Override"] {
        let head = format!("GET /v1/secrets/name-canary HTTP/1.1\r\n{name}: {{H}}\r\n{{A}}Connection: close\r\n\r\n");
        rows.push(row(format!("{name} in Host's place"), HOSTED, bad, head));
    }
    rows
}
