//! Reads secrets from sidekey: `secret VAULT/NAME|NAME…`, or without arguments one for each line of stdin.
//! The standard library has no HTTP, but one exchange is little: an app that has a client uses that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn connect(addr: &str, timeout: Duration) -> io::Result<Box<dyn Stream>> {
    if let Some(host) = addr.strip_prefix("http://") {
        let stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(timeout))?;
        return Ok(Box::new(stream));
    }
    let stream = UnixStream::connect(addr)?;
    stream.set_read_timeout(Some(timeout))?;
    Ok(Box::new(stream))
}

/// The status and the value as it is now, or a problem in JSON: after a 409 with `candidates` to choose from. Called at
/// each use, it picks up a rotated value, and one that is held costs no network.
fn secret(addr: &str, reference: &str) -> io::Result<(u16, Vec<u8>)> {
    if !reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/:".contains(&byte)) {
        return Ok((400, b"neither VAULT/NAME nor NAME".to_vec()));
    }
    let path = match reference.split_once('/') {
        Some((vault, name)) => format!("/v1/vaults/{vault}/secrets/{name}"),
        None => format!("/v1/secrets/{reference}"),
    };
    let host = addr.strip_prefix("http://").unwrap_or("sidekey");
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if let Ok(file) = env::var("SIDEKEY_TOKEN_FILE") {
        request += &format!("Authorization: Bearer {}\r\n", fs::read_to_string(file)?.trim());
    }
    let timeout = env::var("SIDEKEY_TIMEOUT").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut stream = connect(addr, Duration::from_secs(timeout))?;
    stream.write_all((request + "\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut_off = || io::Error::from(ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(cut_off)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = answer[end + 4..].to_vec();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    status.filter(|_| length == Some(body.len())).map(|status| (status, body)).ok_or_else(cut_off)
}

fn main() -> ExitCode {
    let addr = env::var("SIDEKEY_ADDR").unwrap_or_else(|_| "/run/sidekey/sidekey.sock".to_owned());
    let arguments: Vec<_> = env::args().skip(1).collect();
    let lines = io::stdin().lines().map_while(Result::ok).filter(|_| arguments.is_empty());
    for reference in arguments.iter().cloned().chain(lines) {
        match secret(&addr, &reference) {
            Ok((200, value)) => {
                let mut stdout = io::stdout().lock();
                if stdout.write_all(&value).and_then(|()| stdout.flush()).is_err() {
                    return ExitCode::from(74);
                }
            }
            Ok((status, problem)) => {
                eprintln!("sidekey: {status} {}", String::from_utf8_lossy(&problem));
                // The exit codes of sidekey's own commands; for other answers 69: unavailable.
                return ExitCode::from(match status {
                    404 | 409 => 1,
                    400 => 64,
                    401 | 403 | 410 | 502 => 77,
                    _ => 69,
                });
            }
            Err(error) => {
                eprintln!("sidekey: no answer from {addr}: {error}");
                return ExitCode::from(69);
            }
        }
    }
    ExitCode::SUCCESS
}
