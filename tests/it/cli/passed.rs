//! Sockets that whoever started the sidecar has opened for it; and a sidecar that is asked over TLS, by our own commands.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::process::{Azure, Staying, Told, command, finish, inode};

/// Lets it outlive an exec, at a number of which no other test makes use, and gives the number.
fn inherited(socket: impl AsFd, least: i32) -> i32 {
    let copy = rustix::io::fcntl_dupfd_cloexec(socket, least).unwrap();
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
    let number = copy.as_raw_fd();
    // Open until this process ends.
    std::mem::forget(copy);
    number
}

fn serving(azure: &Azure, first: i32, count: usize, names: &str) -> (Staying, Told) {
    let mut serve = command(["serve", "--config", &azure.config()]);
    serve
        .env("LISTEN_FDS", count.to_string())
        .env("LISTEN_FDS_FIRST_FD", first.to_string())
        .env("LISTEN_FDNAMES", names)
        .stderr(Stdio::piped());
    let mut serving = Staying::start(serve);
    let told = Told::of(serving.stderr());
    (serving, told)
}

#[test]
fn sockets_that_were_passed_are_served_in_the_place_of_ours_and_left_where_they_are() {
    let azure = Azure::demo();
    let path = azure.path("passed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = metrics.local_addr().unwrap().port();
    let first = inherited(&unix, 700);
    // The next number, which is free as nobody else takes any up there.
    assert_eq!(inherited(&metrics, first + 1), first + 1);
    // It connects before there is anybody to answer: that is what such a socket is for.
    let mut early = UnixStream::connect(&path).unwrap();
    early.write_all(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let before = inode(&path);
    let (mut serving, told) = serving(&azure, first, 2, "sidekey:metrics");
    let text = told.until("first round done");
    assert!(text.contains(&path.display().to_string()) && text.contains("(health and metrics)"), "{text}");
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert_eq!(azure.asked("get pay-prod db-password", "passed.sock").text(), "Autumn-2026-staple");
    assert!(!azure.path("s.sock").exists(), "ours was not bound beside it");
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("/readyz").ends_with("ready\n"));
    assert!(ask("/v1/vaults").starts_with("HTTP/1.1 404"));
    assert_eq!(serving.stop(), Some(0));
    assert_eq!(inode(&path), before, "it is systemd's to take away");
}

#[test]
fn a_port_beyond_loopback_that_was_passed_is_refused_without_tls() {
    let azure = Azure::demo();
    let wide = TcpListener::bind("0.0.0.0:0").unwrap();
    let first = inherited(&wide, 720);
    let mut serve = command(["serve", "--config", &azure.config()]);
    serve.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", first.to_string());
    let run = finish(&mut serve);
    assert_eq!(run.code, 69, "{run:?}");
    assert!(run.err.contains("is not loopback"), "{run:?}");
}

#[test]
fn a_port_that_was_passed_is_refused_where_nobody_would_be_known_on_it_and_has_the_token_where_tcp_is_configured() {
    let azure = Azure::demo();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    let first = inherited(&port, 740);
    drop(port);
    let mut serve = command(["serve", "--config", &azure.config()]);
    serve.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", first.to_string());
    let run = finish(&mut serve);
    assert_eq!(run.code, 78, "{run:?}");
    assert!(run.err.contains("nobody would be known on it") && !azure.path("token").exists(), "{run:?}");
    let mut serve = command(["serve", "--tcp", &address, "--config", &azure.config()]);
    serve.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", first.to_string()).stderr(Stdio::piped());
    let mut serving = Staying::start(serve);
    Told::of(serving.stderr()).until("first round done");
    let token = azure.path("token").display().to_string();
    let http = format!("http://{address}");
    let get = |more: &[&str]| {
        let line = ["get", "pay-prod", "db-password", "--addr", &http];
        finish(&mut command(line.iter().chain(more)))
    };
    let run = get(&["--token-file", &token]);
    assert_eq!(run.text(), "Autumn-2026-staple", "{run:?}");
    assert_eq!(get(&[]).code, 77);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn our_own_commands_ask_over_tls_with_a_certificate_or_the_token() {
    let azure = Azure::demo();
    // Apart from the configuration and all else that the sidecar reads.
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str, file: &str| {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join(format!("{file}.pem")), params.signed_by(&key, &authority).unwrap().pem())
            .unwrap();
        std::fs::write(folder.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
    };
    issue("127.0.0.1", "server");
    issue("orders.example", "orders");
    std::fs::write(folder.path().join("authority.pem"), authority.pem()).unwrap();
    // Of every address, the port is free: it was ours a moment ago.
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let path = |name: &str| match name {
        "token" => azure.path(name).display().to_string(),
        name => folder.path().join(name).display().to_string(),
    };
    let mut serve = command(["serve", "--tcp", &format!("0.0.0.0:{port}"), "--config", &azure.config()]);
    serve
        .env("SIDEKEY_LISTEN_TLS_CERT", path("server.pem"))
        .env("SIDEKEY_LISTEN_TLS_KEY", path("server.key"))
        .env("SIDEKEY_LISTEN_TLS_CLIENT_CA", path("authority.pem"))
        .stderr(Stdio::piped());
    let mut serving = Staying::start(serve);
    let told = Told::of(serving.stderr());
    told.until("first round done");
    let get = |more: &[(&str, &str)]| {
        let addr = format!("https://127.0.0.1:{port}");
        let mut get = command(["get", "pay-prod", "db-password", "--addr", &addr]);
        for (name, file) in more {
            get.env(name, path(file));
        }
        finish(&mut get)
    };
    let (ca, token) = (("SIDEKEY_CA_FILE", "authority.pem"), ("SIDEKEY_TOKEN_FILE", "token"));
    let (cert, key) = (("SIDEKEY_CLIENT_CERT", "orders.pem"), ("SIDEKEY_CLIENT_KEY", "orders.key"));
    assert_eq!(get(&[ca, cert, key]).text(), "Autumn-2026-staple");
    assert_eq!(get(&[ca, token]).text(), "Autumn-2026-staple");
    let nobody = get(&[ca]);
    assert_eq!((nobody.code, nobody.text()), (77, ""), "{nobody:?}");
    let untrusted = get(&[token]);
    assert_eq!((untrusted.code, untrusted.text()), (69, ""), "{untrusted:?}");
    assert!(untrusted.err.contains("over TLS: invalid peer certificate: UnknownIssuer"), "{untrusted:?}");
    assert_eq!(get(&[ca, cert]).code, 64);
    // What is put there later is read as well, shut in as it is.
    issue("127.0.0.1", "server");
    told.until("the TLS files have changed and are in use");
    assert_eq!(get(&[ca, cert, key]).text(), "Autumn-2026-staple");
    assert_eq!(serving.stop(), Some(0));
}
