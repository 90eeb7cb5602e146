//! `docker --env-file`: Docker's own client, which sends an engine what it read, and its parser alone.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use sidekey::hydrate::Format;

use super::{Found, Trip, has, print, program_with, told_as_left_out};

fn cannot(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_err() || value.contains(&b'\n') || value.ends_with(b"\r")
}

#[test]
fn docker_s_parser_gets_what_went_in() {
    let trip = Trip::of(Format::Docker);
    trip.refuses(cannot);
    if has("go-readers", &[]) {
        trip.read_by("go-readers", &["docker", "{}"]);
    }
}

/// The longest line that its scanner takes is carried, and one byte more refused.
#[test]
fn the_longest_line_of_docker_is_read() {
    let longest = vec![b'x'; 64 * 1024 - "A=\n".len()];
    let trip = Trip::of_these(Format::Docker, &[("A", &longest), ("B", b"y")]);
    if has("go-readers", &[]) {
        trip.read_by("go-readers", &["docker", "{}"]);
    }
    assert!(print(Format::Docker, &[("A", &[longest.as_slice(), b"x"].concat())]).is_err());
}

/// What the client would have an engine start, told to an engine that only listens.
#[test]
fn docker_s_client_sends_what_went_in() {
    if !program_with("docker", "", &["--version"]).output().is_ok_and(|run| run.status.success()) {
        return told_as_left_out("docker");
    }
    let trip = Trip::of(Format::Docker);
    let socket = trip.folder.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let engine = std::thread::spawn(move || listener.incoming().find_map(|stream| serve(stream.unwrap())).unwrap());
    let host = format!("unix://{}", socket.display());
    let path = trip.path();
    let args = ["--host", &host, "create", "--env-file", &path, "--pull", "never", "image"];
    let run = program_with("docker", "", &args).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let asked: serde_json::Value = serde_json::from_slice(&engine.join().unwrap()).unwrap();
    let pairs = asked["Env"].as_array().unwrap().iter().map(|pair| pair.as_str().unwrap().split_once('=').unwrap());
    let found: Found = pairs.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
    trip.same("docker", found);
}

/// Answers one connection's requests; the body of the one that creates a container.
fn serve(mut stream: UnixStream) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut stream, &mut buffer)?;
        };
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let length = length.map_or(0, |length| length.parse().unwrap());
        while buffer.len() < end + length {
            more(&mut stream, &mut buffer)?;
        }
        let body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        let creates = head.contains("/containers/create");
        let answer = if creates { "{\"Id\":\"0123456789ab\",\"Warnings\":[]}" } else { "OK" };
        let status = if creates { "201 Created" } else { "200 OK" };
        let content = if head.starts_with("HEAD") { "" } else { answer };
        let answer = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.47\r\nOsType: linux\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{content}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).ok()?;
        if creates {
            return Some(body);
        }
    }
}

fn more(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 65536];
    let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
    buffer.extend_from_slice(&chunk[..length]);
    Some(())
}
