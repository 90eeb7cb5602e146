//! Reads secrets from sidekey. The standard library has no HTTP, but one exchange is little: an app that has a client uses that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use std::{env, fs};

/// The status and the value as it is now, or a problem in JSON: after a 409 with `candidates` to choose from. Called at
/// each use, it picks up a rotated value, and one that is held costs no network.
pub fn secret(addr: &str, reference: &str) -> io::Result<(u16, Vec<u8>)> {
    if !reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/:".contains(&byte)) {
        return Ok((400, b"neither VAULT/NAME nor NAME".to_vec()));
    }
    let path = match reference.split_once('/') {
        Some((vault, name)) => format!("vaults/{vault}/secrets/{name}"),
        None => format!("secrets/{reference}"),
    };
    let host = addr.strip_prefix("http://");
    let mut request =
        format!("GET /v1/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", host.unwrap_or("sidekey"));
    if let Ok(file) = env::var("SIDEKEY_TOKEN_FILE") {
        request += &format!("Authorization: Bearer {}\r\n", fs::read_to_string(file)?.trim());
    }
    let timeout = env::var("SIDEKEY_TIMEOUT").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    if let Some(host) = host {
        let stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(timeout)))?;
        return exchange(stream, request);
    }
    let stream = UnixStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(timeout)))?;
    exchange(stream, request)
}

fn exchange(mut stream: impl Read + Write, request: String) -> io::Result<(u16, Vec<u8>)> {
    stream.write_all((request + "\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = answer.split_off(answer.len().min(end + 4));
    let whole = head.lines().any(|line| line == format!("content-length: {}", body.len()));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).filter(|_| whole);
    status.map(|status| (status, body)).ok_or(ErrorKind::UnexpectedEof.into()) // else it was cut off
}
