//! Asking a server over connections that stay, with as little work as can be: who asks must not be what is measured.
#![allow(dead_code, unreachable_pub, reason = "each benchmark has it as a module of its own and takes what it needs")]

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Where a server is.
#[derive(Clone)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub async fn connect(place: &Place) -> Box<dyn Stream> {
    match place {
        Place::Tcp(address) => {
            let stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            Box::new(stream)
        }
        Place::Unix(path) => Box::new(UnixStream::connect(path).await.expect("a connection")),
    }
}

/// Asks one after the other, from that request on, while it is told to; how often. An answer that is no 200 ends the benchmark.
pub async fn ask(stream: &mut dyn Stream, requests: &[Vec<u8>], first: usize, goes_on: impl Fn(u32) -> bool) -> u32 {
    let mut buffer = vec![0; 4_096];
    let mut count = 0;
    while goes_on(count) {
        let request = &requests[(first + count as usize) % requests.len()];
        stream.write_all(request).await.expect("a request goes out");
        let (head, length) = read(stream, &mut buffer).await;
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..head + length]));
        count += 1;
    }
    count
}

/// Every request once, so that all values are held.
pub async fn warm(place: &Place, requests: &[Vec<u8>]) {
    ask(&mut *connect(place).await, requests, 0, |asked| (asked as usize) < requests.len()).await;
}

/// Reads one answer; the lengths of its head and its body.
pub async fn read(stream: &mut dyn Stream, buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        let more = stream.read(&mut buffer[filled..]).await.expect("an answer");
        assert!(more > 0, "the server closed, or the answer is too long");
        filled += more;
        let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let head = end + 4;
        let at = memchr::memmem::find(&buffer[..head], b"content-length: ").expect("a length") + 16;
        let digits = buffer[at..head].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        if filled >= head + length {
            return (head, length);
        }
    }
}
