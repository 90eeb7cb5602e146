//! Tokens in files: made, changed while in use, broken, gone.

use std::os::unix::fs::PermissionsExt as _;

use sidekey::access::{Access, AccessError, AccessSettings, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Estate, Site, client, next};

fn with_token(name: &str, file: &str) -> Client {
    Client { token_file: Some(file.into()), ..client(name, &["*/*"], &["*/*"]) }
}

async fn site() -> Site {
    let estate = Estate::of(&[("a:pay", &["db"])]).await;
    Site::start(&estate, [with_token("one", "one"), with_token("two", "two")]).await
}

async fn is_good(site: &Site, token: &str) -> bool {
    site.tcp("/v1/secrets/db", Some(token)).await.status == 200
}

const NEW: &str = "a-token-of-the-operators-own";

#[tokio::test]
async fn a_new_token_is_good_and_the_old_one_is_not_without_a_restart() {
    let site = site().await;
    let (old, other) = (site.token("one"), site.token("two"));
    assert!(is_good(&site, &old).await && !is_good(&site, NEW).await);
    site.write("one", NEW);
    let troubles = site.access.look(Default::default()).await;
    assert!(is_good(&site, NEW).await && !is_good(&site, &old).await && is_good(&site, &other).await);
    site.write("one", &old);
    site.access.look(troubles).await;
    assert!(is_good(&site, &old).await && !is_good(&site, NEW).await);
}

#[tokio::test]
async fn a_token_that_was_good_on_a_connection_is_refused_at_its_next_request() {
    let site = site().await;
    let mut stream = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    let request = |token: &str| {
        let port = site.port;
        format!(
            "GET /v1/vaults/pay/secrets/db HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    let old = request(&site.token("one"));
    // The second time it is held, and answered at once.
    for _ in 0..2 {
        assert_eq!(next(&mut stream, &old).await, 200);
    }
    assert_eq!(next(&mut stream, &request(NEW)).await, 401);
    site.write("one", NEW);
    site.access.look(Default::default()).await;
    assert_eq!((next(&mut stream, &old).await, next(&mut stream, &request(NEW)).await), (401, 200));
}

#[tokio::test(start_paused = true)]
async fn the_files_are_looked_at_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let settings = AccessSettings { clients: vec![with_token("t", file.to_str().unwrap())], token_file: None };
    let access = Access::load(&settings).unwrap();
    std::fs::write(&file, NEW).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let looking = access.keep_current(stop.clone());
    let until = async {
        while access.of_token(NEW.as_bytes()).is_none() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        stop.cancel();
    };
    tokio::join!(looking, until);
}

#[tokio::test]
async fn whatever_becomes_of_the_file_the_old_token_is_good_on_and_nobody_else_is_let_in() {
    let site = site().await;
    let (old, other) = (site.token("one"), site.token("two"));
    let file = site.folder.path().join("one");
    let mut troubles = Default::default();
    for broken in ["", "short", "two lines of what\nis no token", &"x".repeat(2_000), &other] {
        site.write("one", broken);
        troubles = site.access.look(troubles).await;
        assert!(is_good(&site, &old).await, "{broken}");
        assert!(broken == other || !is_good(&site, broken.split('\n').next().unwrap()).await, "{broken}");
    }
    // Of two clients with one token nobody could say who asks.
    assert_eq!(site.access.of_token(other.as_bytes()).unwrap().name(), "two");
    site.write("one", NEW);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    troubles = site.access.look(troubles).await;
    assert!(is_good(&site, &old).await && !is_good(&site, NEW).await, "open to others");
    std::fs::remove_file(&file).unwrap();
    troubles = site.access.look(troubles).await;
    assert!(is_good(&site, &old).await && !file.exists(), "gone, and not made anew");
    site.write("one", NEW);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    site.access.look(troubles).await;
    assert!(is_good(&site, NEW).await && !is_good(&site, &old).await);
}

#[test]
fn two_clients_with_one_token_are_a_fault_and_a_reload_keeps_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = |files: &[&str]| AccessSettings {
        clients: files.iter().map(|file| with_token(file, &path(file))).collect(),
        token_file: None,
    };
    let access = Access::load(&settings(&["one"])).unwrap();
    let token = std::fs::read_to_string(path("one")).unwrap();
    std::fs::copy(path("one"), path("two")).unwrap();
    let error = Access::load(&settings(&["one", "two"])).unwrap_err();
    assert!(matches!(error, AccessError::SameToken(..)), "{error}");
    assert!(!error.to_string().contains(token.trim()), "{error}");
    std::fs::write(path("one"), "").unwrap();
    assert!(Access::load(&settings(&["one"])).is_err());
    let again = access.reload(&settings(&["one", "three"])).unwrap();
    assert_eq!(again.of_token(token.trim().as_bytes()).unwrap().name(), "one");
    std::fs::write(path("three"), "").unwrap();
    assert!(access.reload(&settings(&["three"])).is_err(), "it was never read before");
}

#[tokio::test]
async fn a_stream_ends_when_the_token_that_opened_it_is_no_longer_good() {
    let site = site().await;
    let mut streams = Vec::new();
    for name in ["one", "two"] {
        let mut stream = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
        let (port, token) = (site.port, site.token(name));
        let head = format!("GET /v1/watch HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        streams.push(stream);
    }
    site.write("one", NEW);
    site.access.look(Default::default()).await;
    let mut rest = String::new();
    // The last piece of a body that ended in order.
    while !rest.ends_with("\r\n0\r\n\r\n") {
        let mut byte = [0];
        streams[0].read_exact(&mut byte).await.unwrap();
        rest.push(byte[0] as char);
    }
    // The other client's goes on.
    let mut more = [0; 4096];
    let read = streams[1].read(&mut more).await.unwrap();
    assert!(read > 0 && !more[..read].ends_with(b"0\r\n\r\n"));
}
