//! `watch`: a secret is changed in Azure, and whoever watches is told, through restarts too.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use sidekey::emulator::Change;

use super::process::{Azure, Staying, command, finish, sidekey, words};

/// An Azure that is listed all the time.
fn lively() -> Azure {
    let azure = Azure::demo();
    azure.configure("[cache]\nlisting_interval = \"200ms\"");
    azure
}

fn set(azure: &Azure, secret: &str, value: &str) {
    let (vault, secret, value) = ("pay-prod".to_owned(), secret.to_owned(), value.to_owned());
    let change = Change::Set { vault, secret, value, expires_in_s: None, content_type: None, tags: Default::default() };
    azure.emulator.control().change(change).unwrap();
}

/// A watcher of the sidecar's; `stderr` is left to the test.
fn watch(azure: &Azure, args: &str) -> Staying {
    let mut command = command(words(&format!("watch {args} --addr {}", azure.socket())));
    command.stderr(Stdio::piped());
    Staying::start(command)
}

/// Waits until the sidecar has so many streams.
fn until_streams(azure: &Azure, wanted: usize) {
    loop {
        let mut stream = UnixStream::connect(azure.path("s.sock")).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        if text.contains(&format!("\nsidekey_watch_streams {wanted}\n")) {
            return;
        }
        std::thread::yield_now();
    }
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line.trim()).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

#[test]
fn what_changes_in_azure_is_told_and_a_read_upon_it_gives_the_new_version() {
    let azure = lively();
    let (mut serving, _) = azure.serve("");
    assert_eq!(azure.ask("get pay-prod db-password").code, 0);
    let (mut all, mut one) = (watch(&azure, "--json"), watch(&azure, "pay-*/db-* --json"));
    until_streams(&azure, 2);
    set(&azure, "db-password", "Winter-2026-canary");
    let told = json(&one.read_until("{\"event\":\"changed\""));
    let read = azure.ask("get pay-prod db-password --json").json();
    assert_eq!(read["value"], "Winter-2026-canary");
    assert_eq!((&told["version"], &told["reference"]), (&read["version"], &read["reference"]));
    set(&azure, "quite-new", "other-canary");
    let text = all.read_until("{\"event\":\"added\"");
    assert!(text.contains("secret://pay-prod/quite-new") && !text.contains("canary"), "{text}");
    drop((all, one));
    until_streams(&azure, 0);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn a_watcher_outlives_its_sidecar_and_says_that_something_may_have_been_missed() {
    let azure = lively();
    let (mut serving, _) = azure.serve("");
    let mut watching = watch(&azure, "pay-prod/quite-* --json");
    let mut lines = BufReader::new(watching.stderr());
    until_streams(&azure, 1);
    assert_eq!(serving.stop(), Some(0), "the stream holds up nothing");
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "sidekey: the stream has ended; waiting for the sidecar to come back\n");
    let (mut serving, _) = azure.serve("");
    watching.read_until("{\"event\":\"resync\"");
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "sidekey: the sidecar is back\n");
    set(&azure, "quite-new", "1");
    watching.read_until("{\"event\":\"added\"");
    // Interrupted, it ends as any command does.
    watching.signal(rustix::process::Signal::INT);
    assert_eq!(watching.stop(), None);
    until_streams(&azure, 0);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn without_a_sidecar_it_watches_by_itself() {
    let azure = lively();
    let config = azure.config();
    let mut watching =
        Staying::start(command(words("watch pay-prod/quite-* --direct --config").into_iter().chain([config.as_str()])));
    // Until it is known that it watches, there is no telling what it has seen first: so there is always something new.
    let changing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if !changing.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                set(&azure, &format!("quite-new-{}", n % 1_000), "1");
                std::thread::yield_now();
            }
        });
        let line = watching.read_until("2");
        changing.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(line.contains(" secret://pay-prod/quite-new-"), "{line}");
    });
}

#[test]
fn what_cannot_be_watched_ends_at_once_with_its_reason() {
    let azure = Azure::demo();
    let (mut serving, _) = azure.serve("");
    for (line, code, told) in [
        ("watch nowhere/db", 1, "no vault nowhere is known"),
        ("watch pay-prod/[", 64, "is no glob"),
        ("watch pay-prod/db@0b31729e2750416caba40429a1f3bea4", 64, "a version never changes"),
    ] {
        let run = azure.ask(line);
        assert_eq!((run.code, run.text()), (code, ""), "{line}: {}", run.err);
        assert!(run.err.contains(told), "{line}: {}", run.err);
    }
    assert_eq!(serving.stop(), Some(0));
    assert_eq!(sidekey(["watch", "--addr", "/nonexistent/s.sock"]).code, 69);
    assert_eq!(finish(&mut command(["watch", "--addr", "http://192.0.2.1:80"])).code, 64);
}
