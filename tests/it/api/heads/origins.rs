//! What browsers and proxies add, on every way in; and credentials, where the token is what counts.

use super::{EVERY, HOSTED, Row, Told, read_with, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin:",
        "Origin: http://{H}",
        "oRIGIN: x",
        "Referer: http://evil.example/",
        "Referer: http://{H}/",
        "Referer:",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Mode: no-cors",
        "Sec-Fetch-Mode: websocket",
        "Sec-Fetch-Mode: CORS",
        "Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site",
        "Sec-Fetch-Mode: cors\r\nSec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-User: ?1",
        "Sec-Fetch-Storage-Access: none",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization",
        "Access-Control-Request-Private-Network: true",
    ] {
        rows.push(row(
            format!("a browser's {line}"),
            EVERY,
            Told::Refused(400, "bad-host"),
            read_with(&format!("{line}\r\n")),
        ));
    }
    rows.push(row("Node's own fetch", EVERY, Told::Value, read_with("Sec-Fetch-Mode: cors\r\nUser-Agent: node\r\n")));
    for line in [
        "Forwarded: for=127.0.0.1",
        "Forwarded:",
        "X-Forwarded-For: 127.0.0.1",
        "x-forwarded-for: ::1",
        "X-Forwarded-Host: {H}",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: {P}",
        "X-Forwarded-Prefix: /v1",
        "X-Forwarded-Client-Cert: By=x",
        "X-Forwarded: x",
        "X-Real-IP: 127.0.0.1",
        "X-Client-IP: 127.0.0.1",
        "X-Cluster-Client-IP: 127.0.0.1",
        "Via: 1.1 proxy",
        "Via:",
        "X-Original-URL: /livez",
        "X-Original-Host: {H}",
        "X-Original-Forwarded-For: 127.0.0.1",
        "X-Rewrite-URL: /livez",
        "CF-Connecting-IP: 127.0.0.1",
        "CF-Ray: x",
        "CF-Visitor: x",
        "True-Client-IP: 127.0.0.1",
    ] {
        rows.push(row(
            format!("a proxy's {line}"),
            EVERY,
            Told::Refused(400, "forwarded"),
            read_with(&format!("{line}\r\n")),
        ));
    }
    // A header may say what it likes where it is none of these.
    for line in [
        "User-Agent: Mozilla/5.0",
        "Cookie: a=b",
        "X-Request-Id: x",
        "Accept-Language: *",
        "X-Forward: x",
        "Max-Forwards: 1",
    ] {
        rows.push(row(format!("no harm in {line}"), EVERY, Told::Value, read_with(&format!("{line}\r\n"))));
    }
    let unauthenticated = Told::Refused(401, "unauthenticated");
    for (name, lines) in [
        ("no credential", ""),
        ("an empty credential", "Authorization:\r\n"),
        ("a scheme alone", "Authorization: Bearer\r\n"),
        ("a token without its scheme", "Authorization: {T}\r\n"),
        ("another scheme", "Authorization: Basic {T}\r\n"),
        ("another scheme of as many letters", "Authorization: Digest {T}\r\n"),
        ("a scheme that is glued on", "Authorization: Bearer{T}\r\n"),
        ("a wrong token", "Authorization: Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"),
        ("a token and more", "Authorization: Bearer {T}x\r\n"),
        ("two tokens in one", "Authorization: Bearer {T}, Bearer {T}\r\n"),
        ("the token twice", "Authorization: Bearer {T}\r\nAuthorization: Bearer {T}\r\n"),
        ("the token for a proxy", "Proxy-Authorization: Bearer {T}\r\n"),
        ("the token as a cookie", "Cookie: token={T}\r\n"),
        ("the token by another name", "X-Sidekey-Token: {T}\r\n"),
    ] {
        let head = format!("GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {{H}}\r\nConnection: close\r\n{lines}\r\n");
        rows.push(row(name, HOSTED, unauthenticated, head));
    }
    let query =
        "GET /v1/secrets/name-canary?token={T}&access_token={T} HTTP/1.1\r\nHost: {H}\r\nConnection: close\r\n\r\n";
    rows.push(row("the token in the query", HOSTED, unauthenticated, query));
    rows
}
