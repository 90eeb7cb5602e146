//! What the environment of the process decides: each case runs in a process of its own, as the environment is shared by
//! all threads of one.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use sidekey::vaults::VaultErrorKind;
use sidekey::vaults::azure::{Audience, Identity, WireLimits};

use super::stage::{Reply, Stage, VERSION};

/// Set in the child process; tells it where it is to sign in.
const CHILD: &str = "SIDEKEY_TEST_SIGN_IN_AT";

fn in_child() -> Option<String> {
    std::env::vars().find(|(name, _)| name == CHILD).map(|(_, at)| at)
}

/// Runs that test again, alone, in a process with these variables and none of a proxy's.
fn again(test: &str, sign_in_at: &str, variables: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        child.env_remove(name).env_remove(name.to_lowercase());
    }
    let name = format!("azure::environment::{test}");
    child.args(["--exact", &name]).env(CHILD, sign_in_at).envs(variables.iter().copied());
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// Listens, answers each connection as told, and hands on what was told of it.
fn listen<T: Send + 'static>(answer: impl Fn(TcpStream) -> T + Send + 'static) -> (SocketAddr, Receiver<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || listener.incoming().try_for_each(|stream| tell.send(answer(stream.unwrap()))));
    (address, told)
}

/// A request's head, answered by that.
fn head(mut stream: TcpStream, answer: &str) -> String {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let written = stream.write_all(answer.as_bytes());
    drop(written);
    head.join("\n").to_lowercase()
}

/// A proxy that lets nothing through.
fn proxy() -> (SocketAddr, Receiver<String>) {
    listen(|stream| head(stream, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"))
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

#[test]
fn where_app_service_says_that_an_identity_is_it_is_asked_with_its_header_and_past_every_proxy() {
    if in_child().is_some() {
        return block_on(async {
            let stage = Stage::new(|asked| {
                let ours = asked.authorization.as_deref() == Some("Bearer token-of-app-service");
                ours.then(|| Reply::secret(&asked.host, "a", VERSION, "good"))
            })
            .await;
            let identity = Identity::ManagedIdentity { client: Some("app-7".into()), endpoint: None };
            let vault = stage.vault_with(|settings| settings.identity = identity);
            assert_eq!(vault.get(&"a".parse().unwrap(), None).await.unwrap().value.expose(), b"good");
        });
    }
    let body =
        r#"{"access_token":"token-of-app-service","expires_on":"4102444800","resource":"r","token_type":"Bearer"}"#;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let (endpoint, asked) = listen(move |stream| head(stream, &answer));
    let (proxy, proxied) = proxy();
    let (endpoint, proxy) = (format!("http://{endpoint}/msi/token"), format!("http://{proxy}"));
    again(
        "where_app_service_says_that_an_identity_is_it_is_asked_with_its_header_and_past_every_proxy",
        &endpoint,
        &[
            ("IDENTITY_ENDPOINT", &endpoint),
            ("IDENTITY_HEADER", "header-of-the-platform"),
            ("HTTP_PROXY", &proxy),
            ("http_proxy", &proxy),
            ("ALL_PROXY", &proxy),
        ],
    );
    let asked: Vec<_> = asked.try_iter().collect();
    for part in [
        "get /msi/token?",
        "api-version=2019-08-01",
        "resource=https%3a%2f%2fvault.azure.net",
        "client_id=app-7",
        "x-identity-header: header-of-the-platform",
    ] {
        assert!(asked.iter().any(|head| head.contains(part)), "{part} is missing in {asked:?}");
    }
    assert_eq!(proxied.try_iter().count(), 0, "what the platform is told is for nobody else");
}

#[test]
fn a_proxy_is_used_but_for_what_it_is_told_to_leave_alone_and_for_hosts_that_are_placed() {
    if let Some(sign_in_at) = in_child() {
        return block_on(async {
            let limits = WireLimits { retries: 0, ..WireLimits::default() };
            let stage = Stage::new(|_| None).await;
            // Every host of the stage is placed by `resolve`: none of them is looked for at a proxy.
            let vault = stage.vault_with(|settings| settings.wire = limits.clone());
            let error = vault.get(&"a".parse().unwrap(), None).await.expect_err("the stage holds nothing");
            assert_eq!(error.kind(), &VaultErrorKind::NotFound);
            let source = stage.source_with(|settings| {
                settings.wire = limits;
                settings.cloud.authority_host = sign_in_at.parse().unwrap();
            });
            source.sign_in(Audience::Vaults).await.expect_err("nobody there speaks TLS");
        });
    }
    let test = "a_proxy_is_used_but_for_what_it_is_told_to_leave_alone_and_for_hosts_that_are_placed";
    let (entra, reached) = listen(|mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).map(|()| first[0]).ok()
    });
    let (proxy, proxied) = proxy();
    let (at, proxy) = (format!("https://{entra}"), format!("http://{proxy}"));

    again(test, &at, &[("HTTPS_PROXY", &proxy)]);
    let heads: Vec<_> = proxied.try_iter().collect();
    assert!(!heads.is_empty(), "the proxy was passed by");
    assert!(heads.iter().all(|head| head.starts_with(&format!("connect {entra} "))), "{heads:?}");
    assert_eq!(reached.try_iter().count(), 0);

    again(test, &at, &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "localhost,127.0.0.1")]);
    assert_eq!(proxied.try_iter().count(), 0, "NO_PROXY is not heeded");
    const TLS_HANDSHAKE: u8 = 22;
    assert_eq!(reached.recv().unwrap(), Some(TLS_HANDSHAKE));
}
