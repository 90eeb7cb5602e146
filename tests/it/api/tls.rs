//! TLS as a listener speaks it: who is let in by what, which names are ours, and files that change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sidekey::api::{Connection, ListenError, Passed, PassedSocket, ServeOptions, Tls, TlsFiles, bind_tcp, bind_tls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::House;
use super::listeners::Running;

const CANARY: &str = "value-canary";

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, and its key, as PEM.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        self.sign(CertificateParams::default(), names)
    }

    /// One whose time is over.
    pub fn issue_expired(&self, names: &[&str]) -> (String, String) {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 12, 31));
        self.sign(params, names)
    }

    fn sign(&self, mut params: CertificateParams, names: &[&str]) -> (String, String) {
        params.subject_alt_names = names
            .iter()
            .map(|name| match (name.parse(), name.contains("://")) {
                (Ok(address), _) => SanType::IpAddress(address),
                (_, true) => SanType::URI((*name).try_into().unwrap()),
                (_, false) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// How one who trusts it connects, with that certificate.
    pub fn connector(&self, own: Option<&(String, String)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// Files, and a listener that speaks by them.
pub(super) struct Stage {
    servers: Authority,
    clients: Authority,
    tls: Tls,
    folder: TempDir,
    pub(super) port: u16,
    pub(super) running: Running,
}

impl Stage {
    async fn start(router: Router, certificate_required: bool) -> Self {
        Self::with(router, certificate_required, ServeOptions::default()).await
    }

    pub(super) async fn with(router: Router, certificate_required: bool, options: ServeOptions) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = servers.issue(&["keys.example", "*.wild.example", "127.0.0.1"]);
        let at = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = TlsFiles {
            cert: at("cert.pem", &cert),
            key: at("key.pem", &key),
            client_ca: Some(at("clients.pem", &clients.pem())),
            certificate_required,
        };
        let tls = Tls::load(files).unwrap();
        let listeners = bind_tls(SocketAddr::from(([127, 0, 0, 1], 0)), &tls).unwrap();
        let port = listeners[0].port().unwrap();
        let running = Running::with_more(router, options, listeners).await;
        Self { servers, clients, tls, folder, port, running }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// What comes back; the error of a handshake that fails, or of an answer that breaks off.
    async fn exchange(&self, request: &str, own: Option<&(String, String)>) -> std::io::Result<String> {
        let mut stream = self.connect(own).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// A connection, by one who has that certificate.
    pub(super) async fn connect(&self, own: Option<&(String, String)>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("keys.example").unwrap();
        self.servers.connector(own).connect(name, stream).await
    }

    fn request(&self, host: &str, more: &str) -> String {
        format!("GET /v1/secrets/name-canary HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
    }

    fn handshakes_failed(&self) -> bool {
        self.running.metrics.encode().contains("sidekey_connections_ended_total{reason=\"handshake\"}")
    }
}

async fn routes() -> Router {
    let house = House::new(&["pay"]);
    house.set("pay", "name-canary", CANARY);
    house.open().await
}

#[tokio::test]
async fn over_tls_the_token_or_a_certificate_of_the_clients_authority_opens_and_nothing_else() {
    let stage = Stage::start(routes().await, false).await;
    let host = format!("keys.example:{}", stage.port);
    let token = format!("Authorization: Bearer {}\r\n", stage.running.token);
    let own = stage.clients.issue(&["orders.example"]);
    let anothers = Authority::new().issue(&["orders.example"]);
    assert!(stage.exchange(&stage.request(&host, &token), None).await.unwrap().ends_with(CANARY));
    assert!(stage.exchange(&stage.request(&host, ""), Some(&own)).await.unwrap().ends_with(CANARY));
    for more in ["", "Authorization: Bearer wrong\r\n", "X-SSL-Client-Verify: SUCCESS\r\n"] {
        let answer = stage.exchange(&stage.request(&host, more), None).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("canary"), "{answer}");
    }
    assert!(!stage.handshakes_failed());
    for more in ["", &token] {
        let refused = stage.exchange(&stage.request(&host, more), Some(&anothers)).await;
        assert!(refused.as_ref().is_err() || refused.as_ref().is_ok_and(String::is_empty), "{refused:?}");
    }
    assert!(stage.handshakes_failed());
    let probe = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    assert!(stage.exchange(&probe, None).await.unwrap().ends_with("ok\n"));
}

#[tokio::test]
async fn where_a_certificate_is_required_the_token_does_not_stand_in_for_it() {
    let stage = Stage::start(routes().await, true).await;
    let host = format!("keys.example:{}", stage.port);
    let token = format!("Authorization: Bearer {}\r\n", stage.running.token);
    let refused = stage.exchange(&stage.request(&host, &token), None).await;
    assert!(refused.as_ref().is_err() || refused.as_ref().is_ok_and(String::is_empty), "{refused:?}");
    let own = stage.clients.issue(&["orders.example"]);
    assert!(stage.exchange(&stage.request(&host, ""), Some(&own)).await.unwrap().ends_with(CANARY));
}

#[tokio::test]
async fn over_tls_the_host_is_a_name_in_our_certificate_with_our_port() {
    let stage = Stage::start(routes().await, false).await;
    let (port, own) = (stage.port, stage.clients.issue(&["orders.example"]));
    let other = if port == 65_535 { 1 } else { port + 1 };
    for (host, status) in [
        (format!("keys.example:{port}"), 200),
        (format!("KEYS.example:{port}"), 200),
        (format!("a.wild.example:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        (format!("keys.example:{port}"), 200),
        (format!("localhost:{port}"), 421),
        (format!("[::1]:{port}"), 421),
        (format!("wild.example:{port}"), 421),
        (format!("a.b.wild.example:{port}"), 421),
        (format!("evil.example:{port}"), 421),
        (format!("keys.example.evil.example:{port}"), 421),
        (format!("keys.example:{other}"), 421),
        ("keys.example".into(), 421),
        (format!("x@keys.example:{port}"), 400),
        (format!("keys.example:{port}\r\nHost: keys.example:{port}"), 400),
        (String::new(), 400),
    ] {
        let answer = stage.exchange(&stage.request(&host, ""), Some(&own)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}\n{answer}");
        assert_eq!(answer.contains(CANARY), status == 200);
    }
    for line in ["Origin: https://keys.example", "X-Forwarded-Client-Cert: By=x", "Via: 1.1 x"] {
        let request = stage.request(&format!("keys.example:{port}"), &format!("{line}\r\n"));
        let answer = stage.exchange(&request, Some(&own)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line}\n{answer}");
    }
}

#[tokio::test]
async fn the_names_in_a_clients_certificate_are_handed_on() {
    let told = |connection: axum::Extension<Connection>| async move {
        match connection.0 {
            Connection::Tls { certificate, .. } => format!("{certificate:?}"),
            other => format!("{other:?}"),
        }
    };
    let stage = Stage::start(Router::new().route("/livez", get(told)), false).await;
    let request = format!("GET /livez HTTP/1.1\r\nHost: keys.example:{}\r\nConnection: close\r\n\r\n", stage.port);
    let names = ["orders.example", "spiffe://corp/ns/pay/sa/orders", "10.0.0.9", "b.example"];
    let answer = stage.exchange(&request, Some(&stage.clients.issue(&names))).await.unwrap();
    let expected = "Some(CertificateNames { dns: [\"orders.example\", \"b.example\"], uris: [\"spiffe://corp/ns/pay/sa/orders\"] })";
    assert!(answer.ends_with(expected), "{answer}");
    assert!(stage.exchange(&request, None).await.unwrap().ends_with("None"));
}

#[tokio::test]
async fn files_that_change_are_taken_in_and_what_is_wrong_with_them_is_not() {
    let stage = Stage::start(routes().await, false).await;
    let request = stage.request(&format!("keys.example:{}", stage.port), "");
    let own = stage.clients.issue(&["orders.example"]);
    let works = async || stage.exchange(&request, Some(&own)).await.is_ok_and(|answer| answer.ends_with(CANARY));
    assert!(works().await);
    let (cert, key) = stage.servers.issue(&["keys.example"]);
    for (name, text) in [
        ("cert.pem", ""),
        ("cert.pem", "-----BEGIN CERTIFICATE-----\ngarbage"),
        ("cert.pem", &cert),
        ("key.pem", ""),
        ("clients.pem", "nothing"),
    ] {
        let path = stage.folder.path().join(name);
        let before = std::fs::read_to_string(&path).unwrap();
        // A certificate whose key is not there yet is as wrong as half of one.
        stage.write(name, text);
        stage.tls.look();
        assert!(works().await, "{name}: {text}");
        stage.write(name, &before);
    }
    std::fs::remove_file(stage.folder.path().join("key.pem")).unwrap();
    stage.tls.look();
    assert!(works().await);
    // Another authority for clients, and another certificate of ours: both hold from the next connection on.
    let others = Authority::new();
    for (name, text) in [("cert.pem", &cert), ("key.pem", &key), ("clients.pem", &others.pem())] {
        stage.write(name, text);
    }
    stage.tls.look();
    assert!(!works().await);
    let theirs = others.issue(&["orders.example"]);
    assert!(stage.exchange(&request, Some(&theirs)).await.unwrap().ends_with(CANARY));
    let address = stage.request(&format!("127.0.0.1:{}", stage.port), "");
    let answer = stage.exchange(&address, Some(&theirs)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "no name of the new certificate: {answer}");
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_by_themselves() {
    let stage = Stage::start(routes().await, false).await;
    let others = Authority::new();
    let theirs = others.issue(&["orders.example"]);
    let request = stage.request(&format!("keys.example:{}", stage.port), "");
    let refused = stage.exchange(&request, Some(&theirs)).await;
    assert!(!refused.is_ok_and(|answer| answer.contains(CANARY)));
    stage.write("clients.pem", &others.pem());
    for _ in 0..10 {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        // The look is a thread's, which the paused clock does not wait for.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        if stage.exchange(&request, Some(&theirs)).await.is_ok_and(|answer| answer.ends_with(CANARY)) {
            return;
        }
    }
    panic!("the new authority is never taken in");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_waited_for_five_seconds_and_plain_http_not_at_all() {
    let stage = Stage::start(routes().await, false).await;
    let began = tokio::time::Instant::now();
    let mut plain = TcpStream::connect(("127.0.0.1", stage.port)).await.unwrap();
    let request = stage.request(&format!("127.0.0.1:{}", stage.port), "");
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP") && !String::from_utf8_lossy(&answer).contains("canary"));
    assert_eq!(began.elapsed().as_secs(), 0);
    let mut silent = TcpStream::connect(("127.0.0.1", stage.port)).await.unwrap();
    let mut drips = TcpStream::connect(("127.0.0.1", stage.port)).await.unwrap();
    drips.write_all(b"\x16\x03\x01\x02").await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(drips.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(stage.handshakes_failed());
    // Nor is a head within it.
    let mut silent = stage.connect(None).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn anything_but_loopback_is_listened_on_with_tls_alone_whoever_opened_it() {
    let stage = Stage::start(routes().await, true).await;
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(bind_tcp(everywhere).unwrap_err(), ListenError::NotLoopback(_)));
    assert_eq!(bind_tls(everywhere, &stage.tls).unwrap().len(), 1);
    let opened = |address: &str| PassedSocket::Tcp(std::net::TcpListener::bind(address).unwrap());
    assert!(matches!(opened("0.0.0.0:0").listen(None).unwrap_err(), ListenError::NotLoopback(_)));
    assert!(opened("0.0.0.0:0").listen(Some(&stage.tls)).unwrap().address().starts_with("https://"));
    assert!(opened("127.0.0.1:0").listen(None).unwrap().address().starts_with("127.0.0.1:"));
    let abstract_socket = std::os::unix::net::SocketAddr::from_pathname("").unwrap();
    assert!(abstract_socket.is_unnamed());
    let path = stage.folder.path().join("s");
    let unix = PassedSocket::Unix(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(unix.listen(None).unwrap());
    assert!(path.exists(), "what another process bound is its own to take away");
    assert!(Passed::default().sockets.is_empty());
}
