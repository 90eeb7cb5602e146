//! A sidecar that may open few files, and has more callers than that; and commands for which there is no place.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use super::process::{Azure, SIDEKEY, Staying, Told, sidekey};

#[test]
fn with_few_files_who_is_silent_goes_and_who_asks_is_answered() {
    let azure = Azure::demo();
    let mut serve = Command::new("sh");
    serve.args(["-c", "ulimit -n 64; exec \"$0\" serve --config \"$1\"", SIDEKEY, &azure.config()]);
    serve.env_clear().env("XDG_RUNTIME_DIR", "/nonexistent-sidekey-test").stdin(Stdio::null()).stderr(Stdio::piped());
    let mut serving = Staying::start(serve);
    let told = Told::of(serving.stderr());
    told.until("first round done");
    let ask = |stream: &mut UnixStream| {
        stream.write_all(b"GET /v1/vaults/pay-prod/secrets/db-password HTTP/1.1\r\n\r\n").unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"Autumn-2026-staple") {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..length]);
        }
    };
    let mut good = UnixStream::connect(azure.socket()).unwrap();
    ask(&mut good);
    let mut silent = Vec::new();
    for n in 0..300 {
        silent.push(UnixStream::connect(azure.socket()).unwrap());
        if n % 50 == 0 {
            // Who asks on a connection that is open, and who comes now, are answered among them.
            ask(&mut good);
            assert_eq!(azure.ask("healthcheck").code, 0);
            assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
        }
    }
    ask(&mut good);
    assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
    drop(silent);
    assert_eq!(serving.stop(), Some(0));
}

/// A socket that closes upon so many who come, and answers whoever comes then; tells how many came.
fn closing_upon(socket: &Path, first: usize) -> JoinHandle<usize> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for came in 1.. {
            let (mut stream, _) = listener.accept().unwrap();
            // Whoever has said what it wants can be sure to see the end, not a reset.
            let mut buffer = [0; 4096];
            let asked = stream.read(&mut buffer).unwrap();
            if asked == 0 {
                return came - 1;
            }
            if came > first {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                return came;
            }
        }
        unreachable!("one is answered, or asks no more")
    })
}

#[test]
fn a_command_that_is_closed_upon_without_an_answer_asks_again_a_few_times() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("crowded.sock");
    let sidecar = closing_upon(&socket, 3);
    let run = sidekey(["healthcheck", "--addr", socket.to_str().unwrap()]);
    assert_eq!((run.code, sidecar.join().unwrap()), (0, 4), "{}", run.err);

    let socket = directory.path().join("full.sock");
    let sidecar = closing_upon(&socket, usize::MAX);
    let run = sidekey(["healthcheck", "--addr", socket.to_str().unwrap()]);
    assert_eq!(run.code, 69);
    assert!(run.err.contains("broke the connection off"), "{}", run.err);
    drop(UnixStream::connect(&socket).unwrap());
    assert_eq!(sidecar.join().unwrap(), 5, "it gave up");
}
