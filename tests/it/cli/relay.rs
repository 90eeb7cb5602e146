//! Callers that read without a pause, each way there is to connect, while one sidecar takes over from another.
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::process::{Azure, Staying};

/// What the callers met.
#[derive(Debug, Default)]
pub struct Figures {
    pub reads: u64,
    pub connections: u64,
    /// What went wrong, in words. No caller tries anything twice.
    pub failed: Vec<String>,
}

/// Callers under way.
pub struct Load {
    over: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Figures>>,
}

impl Load {
    /// Four callers that connect for every read, and four that keep their connection for as long as they may.
    pub fn on(socket: &str, vault: &str, secret: &str, value: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let callers = (0..8).map(|number| {
            let (over, socket, value) = (Arc::clone(&over), socket.to_owned(), value.to_owned());
            let path = format!("/v1/vaults/{vault}/secrets/{secret}");
            let keeps = number % 2 == 0;
            std::thread::spawn(move || {
                let mut figures = Figures::default();
                let mut connection = None;
                while !over.load(Ordering::Relaxed) {
                    if let Err(why) = read(&mut connection, &socket, &path, keeps, &value, &mut figures) {
                        figures.failed.push(format!("keeps={keeps}: {why}"));
                        connection = None;
                    }
                }
                figures
            })
        });
        Self { callers: callers.collect(), over }
    }

    pub fn end(self) -> Figures {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Figures::default();
        for caller in self.callers {
            let one = caller.join().unwrap();
            all.reads += one.reads;
            all.connections += one.connections;
            all.failed.extend(one.failed);
        }
        all
    }
}

/// The next sidecar takes over, and the one before it is ended.
pub fn round(azure: &Azure, mut before: Staying) -> Staying {
    let (next, lines) = azure.begin("serve --take-over");
    lines.until("taken over;");
    assert_eq!(before.stop(), Some(0));
    next
}

fn read(
    kept: &mut Option<UnixStream>,
    socket: &str,
    path: &str,
    keeps: bool,
    value: &str,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => {
            figures.connections += 1;
            UnixStream::connect(socket).map_err(|error| format!("connecting: {error}"))?
        }
    };
    let close = if keeps { "" } else { "Connection: close\r\n" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| format!("asking: {error}"))?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let length = stream.read(&mut buffer).map_err(|error| format!("reading: {error}"))?;
        if length == 0 {
            return Err(format!("closed after {} bytes of an answer", answer.len()));
        }
        answer.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if length == Some(body.len()) {
            break (head.to_owned(), answer[answer.len() - body.len()..].to_vec());
        }
    };
    if !head.starts_with("http/1.1 200 ") || body != value.as_bytes() {
        return Err(format!("answered {head:?}"));
    }
    figures.reads += 1;
    if keeps && !head.contains("connection: close") {
        *kept = Some(stream);
    }
    Ok(())
}
