//! The sidecar as a process: what it says, what it never says, and how it ends.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use sidekey::emulator::{Effect, Endpoint, Fault};

use super::process::{Azure, CLIENT_SECRET, Staying, command, mode};

#[test]
fn it_says_where_it_answers_what_it_found_and_what_it_could_not_ask() {
    let azure = Azure::demo();
    let (mut serving, told) = azure.serve("");
    for told_of in [azure.socket().as_str(), "contoso", "vaults=9", "legacy-shared", "firewall", "reports-dev"] {
        assert!(told.contains(told_of), "{told_of}: {told}");
    }
    assert_eq!(azure.ask("healthcheck").code, 0);
    assert_eq!(serving.stop(), Some(0));
    assert!(!azure.path("s.sock").exists());
    assert_eq!(azure.ask("healthcheck").code, 69);
}

#[test]
fn neither_value_nor_token_nor_credential_is_told_however_much_is_told() {
    let azure = Azure::demo();
    let config = azure.config();
    let mut serving = command(["serve", "-vv", "--tcp", "127.0.0.1:0", "--config", &config]);
    serving.env("SIDEKEY_LOG_JSON", "true").stderr(Stdio::piped());
    let mut serving = Staying::start(serving);
    let mut stderr = serving.stderr();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    // A connection waits in the socket's queue: until that exists, there is nobody to be asked.
    let value = loop {
        let run = azure.ask("get pay-prod db-password --no-cache");
        if run.code == 0 {
            break run.out;
        }
    };
    assert_eq!(value, b"Autumn-2026-staple");
    let direct = azure.direct("get pay-prod db-password -vvv");
    assert_eq!(direct.text(), "Autumn-2026-staple");
    let token = std::fs::read_to_string(azure.path("token")).unwrap();
    serving.stop();
    let told = reader.join().unwrap() + &direct.err;
    assert!(told.contains("looked for vaults"), "{told}");
    for canary in ["Autumn-2026-staple", "QXV0dW1uLTIwMjYtc3RhcGxl", CLIENT_SECRET, token.trim(), "eyJ"] {
        assert!(!told.contains(canary), "{canary} is told");
    }
}

#[test]
fn a_start_while_azure_is_away_serves_what_the_snapshot_holds_and_says_so() {
    let azure = Azure::demo();
    azure.configure("[cache]\nsnapshot = { file = \"kept/snapshot\", key_file = \"keys/key\" }\n");
    let (mut serving, told) = azure.serve("");
    assert!(told.contains("there is no snapshot yet"), "{told}");
    assert_eq!(azure.ask("get pay-prod db-password").text(), "Autumn-2026-staple");
    assert_eq!(serving.stop(), Some(0));
    assert_eq!((mode(&azure.path("kept/snapshot")), mode(&azure.path("keys/key"))), (0o600, 0o600));
    let sealed = std::fs::read(azure.path("kept/snapshot")).unwrap();
    assert!(!sealed.windows(18).any(|window| window == b"Autumn-2026-staple"));

    azure.emulator.control().fault(Fault::new(Effect::Reset));
    let (mut serving, told) = azure.serve("");
    assert!(told.contains("restored from the snapshot vaults=8 values=1"), "{told}");
    assert_eq!(azure.ask("healthcheck").code, 0, "ready: the snapshot stands in");
    let run = azure.ask("get pay-prod db-password");
    assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple"), "{}", run.err);
    assert!(azure.ask("search redis-password").text().contains("redis-password"));
    assert_eq!(azure.ask("get pay-prod db-user").code, 69, "it was never held");
    assert_eq!(serving.stop(), Some(0));
    assert!(std::fs::read(azure.path("kept/snapshot")).unwrap() == sealed, "nothing was learned");

    // Another key opens nothing, and that stops nobody.
    std::fs::remove_file(azure.path("keys/key")).unwrap();
    let (_serving, told) = azure.serve("");
    assert!(told.contains("kept/snapshot"), "{told}");
    assert_eq!(azure.ask("get pay-prod db-password").code, 69);
}

#[test]
fn a_request_under_way_is_waited_for_until_a_second_signal_ends_it() {
    let azure = Azure::demo();
    let control = azure.emulator.control();
    control.fault(Fault::new(Effect::Hang).on(Endpoint::Get).secret("db-password"));
    let (mut serving, _) = azure.serve("");
    let mut reader = command(["get", "pay-prod", "db-password", "--addr", &azure.socket()]);
    let mut reader = reader.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let asked = || control.calls().endpoint(Endpoint::Get) > 0;
    while !asked() {
        std::thread::yield_now();
    }
    serving.signal(rustix::process::Signal::TERM);
    // The first signal has been taken once nobody new is let in.
    while azure.path("s.sock").exists() {
        std::thread::yield_now();
    }
    assert_eq!(serving.stop(), Some(143), "it was still waiting for the reader");
    reader.wait().unwrap();
}

#[test]
fn systemd_is_told_that_it_listens_lives_reloads_and_stops() {
    let azure = Azure::demo();
    azure.only("pay-prod", "");
    let systemd = std::os::unix::net::UnixDatagram::bind(azure.path("notify")).unwrap();
    // Rather a failure than a test that never ends.
    systemd.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let config = azure.config();
    let mut serving = command(["serve", "--config", &config]);
    serving.env("NOTIFY_SOCKET", azure.path("notify")).env("WATCHDOG_USEC", "20000").stderr(Stdio::null());
    let mut serving = Staying::start(serving);
    let mut buffer = [0; 1024];
    let mut until = |mark: &str| loop {
        let length = match systemd.recv(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            told => told.unwrap(),
        };
        let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if told.contains(mark) {
            return told;
        }
        // In between it tells that it lives, and nothing else.
        assert_eq!(told, "WATCHDOG=1\n", "before {mark}");
    };
    until("READY=1\n");
    for _ in 0..3 {
        until("WATCHDOG=1\n");
    }
    serving.signal(rustix::process::Signal::HUP);
    assert!(until("RELOADING=1\n").contains("MONOTONIC_USEC="));
    until("READY=1\n");
    // Its queue fills while nobody takes what it tells; that keeps the sidecar from nothing.
    for _ in 0..5 {
        assert_eq!(azure.ask("get pay-prod db-password").code, 0);
    }
    for _ in 0..20 {
        until("WATCHDOG=1\n");
    }
    let stopped = std::thread::spawn(move || serving.stop());
    until("STOPPING=1\n");
    assert_eq!(stopped.join().unwrap(), Some(0));
}

#[test]
fn who_fills_tcp_keeps_no_caller_of_the_socket_out_however_few_files_may_be_open() {
    let azure = Azure::demo();
    let config = azure.config();
    let limited =
        format!("ulimit -n 96; exec {} serve --tcp 127.0.0.1:0 --config {config}", env!("CARGO_BIN_EXE_sidekey"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &limited]).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    let mut serving = Staying::start(shell);
    let mut lines = BufReader::new(serving.stderr());
    let mut told = String::new();
    while !told.contains("first round done") {
        assert_ne!(lines.read_line(&mut told).unwrap(), 0, "{told}");
    }
    let port = told.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let address = format!("127.0.0.1:{port}");
    let probe = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(probe.as_bytes()).unwrap();
        held.push(stream);
    }
    // Those that have a place are answered, and keep it.
    assert!(held[0].read(&mut [0; 1024]).unwrap() > 0);
    let run = azure.ask("get pay-prod db-password");
    assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple"), "{}", run.err);
    drop(held);
    assert_eq!(serving.stop(), Some(0));
}
