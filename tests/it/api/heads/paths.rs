//! Paths that another would read differently. A path is decoded once, by whoever names a secret by it, and never tidied.

use super::{EVERY, HOSTED, Row, Told, line, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let nowhere = Told::Refused(404, "not-found");
    let bad = Told::Refused(400, "bad-reference");
    for (path, told) in [
        ("/livez/../v1/secrets/name-canary", nowhere),
        ("/v1/../v1/secrets/name-canary", nowhere),
        ("/v1/secrets/./name-canary", bad),
        ("/v1/secrets/../secrets/name-canary", bad),
        ("/v1/secrets/..", bad),
        ("/v1/secrets/%2e%2e", bad),
        ("/v1/secrets/%2e%2e%2fsecrets%2fname-canary", bad),
        ("/v1/secrets/name%00canary", bad),
        ("/v1/secrets/name-canary%00", bad),
        ("/v1/secrets/name-canary%0d%0a", bad),
        ("/v1/secrets/name-canary%20", bad),
        ("/v1/secrets/name%2fcanary", bad),
        ("/v1/secrets/name-canary%2f", bad),
        ("/v1/secrets/name-canary%5c", bad),
        ("/v1/secrets/name-canary\\", bad),
        ("/v1/secrets/name-canary;a=b", bad),
        ("/v1/secrets/name-canary%3fx", bad),
        ("/v1/secrets/name-canary%23", bad),
        ("/v1/secrets/%6eame%2dcanary", Told::Value),
        ("/v1/secrets/%256eame-canary", bad),
        ("/v1/secrets/name-canary%", bad),
        ("/v1/secrets/name-canary%zz", bad),
        ("/v1/secrets/name-canary%c0%af", bad),
        ("/v1/secrets/name-canary%ff", bad),
        ("/v1/secrets/name-canary/", bad),
        ("/v1/secrets//name-canary", bad),
        ("//v1/secrets/name-canary", nowhere),
        ("/v1//secrets/name-canary", nowhere),
        ("/v1/vaults//secrets/name-canary", nowhere),
        ("/v1/vaults//secrets/name-canary/versions/1", nowhere),
        ("/v1/vaults/vault-canary/secrets/name-canary/versions/", nowhere),
        ("/V1/secrets/name-canary", nowhere),
        ("/v1/Secrets/name-canary", nowhere),
        ("/v1/%73ecrets/name-canary", nowhere),
        ("/%76%31/secrets/name-canary", nowhere),
        ("/v1/vaults/*/secrets/name-canary", bad),
        ("/v1/vaults/pay%2fsecrets%2fname-canary", nowhere),
        ("/v1/secrets/NAME-CANARY", Told::Value),
        ("/", nowhere),
        ("/.well-known/x", nowhere),
        ("/livez/", nowhere),
        ("/livez%2f", nowhere),
        ("/%6civez", nowhere),
    ] {
        rows.push(row(format!("GET {path}"), EVERY, told, line(&format!("GET {path} HTTP/1.1"))));
    }
    for (name, request) in [
        ("a path without a slash", "GET v1/secrets/name-canary HTTP/1.1"),
        ("a path with a NUL", "GET /v1/secrets/name-canary\u{0} HTTP/1.1"),
        ("a path with a control byte", "GET /v1/secrets/name-canary\u{7f} HTTP/1.1"),
        ("a path with a tab", "GET /v1/secrets/name-canary\tx HTTP/1.1"),
        ("an empty path", "GET  HTTP/1.1"),
    ] {
        rows.push(row(name, EVERY, Told::Refused(400, ""), line(request)));
    }
    // A probe's path, and nothing that only begins or ends like it, does without the token.
    let probe = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {{H}}\r\nConnection: close\r\n\r\n");
    rows.push(row("a probe without the token", EVERY, Told::Alive, probe("/livez")));
    for path in [
        "/livez?verbose",
        "/readyz?verbose",
        "/livez/../metrics",
        "/metrics",
        "/LIVEZ",
        "/livez;x",
        "/livez%3f",
        "//livez",
        "/openapi.json",
    ] {
        let told = Told::Refused(401, "unauthenticated");
        rows.push(row(format!("{path} without the token"), HOSTED, told, probe(path)));
    }
    rows.push(row("a probe with a fragment", EVERY, Told::Alive, probe("/livez#x")));
    rows
}
