//! Clients that are known by their certificates, from the handshake to the grant: whose name it is, who has signed it, how
//! long it is good, and what changes on disk.

use std::net::{Ipv4Addr, SocketAddr};

use rustls::pki_types::ServerName;
use sidekey::access::{Access, AccessSettings, Client};
use sidekey::api::{Api, Guard, ServeOptions, State, Tls, TlsFiles, bind_tls, serve};
use sidekey::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{Answer, Estate, client, exchange};
use crate::api::tls::Authority;

type Shown = (String, String);

/// A sidecar that speaks TLS, and whoever signs its callers.
struct Site {
    servers: Authority,
    clients: Authority,
    tls: Tls,
    port: u16,
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    _serving: JoinSet<()>,
}

impl Site {
    /// With what its authority has revoked, if that is asked.
    async fn start(clients: impl IntoIterator<Item = Client>, revoked: Option<&[u64]>) -> Self {
        let estate = Estate::of(&[("a:pay", &["orders-db", "other"]), ("a:ops", &["root"])]).await;
        let (servers, own) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (cert, key) = servers.issue(&["127.0.0.1"]);
        let files = TlsFiles {
            cert: at("cert", &cert),
            key: at("key", &key),
            client_ca: Some(at("authorities", &own.pem())),
            client_crl: revoked.map(|numbers| at("revoked", &own.revokes(numbers, 4000))),
            certificate_required: false,
        };
        let tls = Tls::load(files).unwrap();
        let listeners = bind_tls(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &tls).unwrap();
        let port = listeners[0].port().unwrap();
        let settings = AccessSettings { clients: clients.into_iter().collect(), token_file: None };
        let guard = Guard::new(Access::load(&settings).unwrap());
        let api = Api::new(State::new(estate.broker, Metrics::default()));
        let (shutdown, mut serving) = (CancellationToken::new(), JoinSet::new());
        let end = shutdown.clone();
        serving.spawn(async move {
            serve(listeners, api, guard, Metrics::default(), ServeOptions::default(), end).await;
        });
        Self { servers, clients: own, tls, port, folder, shutdown, _serving: serving }
    }

    async fn connect(&self, shown: Option<&Shown>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        self.servers.connector(shown).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
    }

    /// `None`: not even an answer.
    async fn ask(&self, shown: Option<&Shown>, path: &str) -> Option<Answer> {
        exchange(self.connect(shown).await.ok()?, path, None, self.port).await
    }

    async fn status(&self, shown: Option<&Shown>, path: &str) -> Option<u16> {
        self.ask(shown, path).await.map(|answer| answer.status)
    }

    /// Puts that into a file, and has it looked at.
    fn change(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self.tls.look();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

const ORDERS: &str = "orders.example";
const OPS: &str = "spiffe://corp/ns/Ops/sa/root";
const DB: &str = "/v1/vaults/pay/secrets/orders-db";
const ROOT: &str = "/v1/vaults/ops/secrets/root";

fn clients() -> [Client; 2] {
    let known = |name: &str, certificate: &str, read: &str| Client {
        certificate: Some(certificate.to_owned()),
        ..client(name, &[read], &[read])
    };
    [known("orders", ORDERS, "pay/orders-*"), known("ops", OPS, "ops/*")]
}

#[tokio::test]
async fn a_name_in_a_certificate_makes_a_client_and_no_more_of_it_than_is_granted() {
    let site = Site::start(clients(), None).await;
    let issue = |names: &[&str]| site.clients.issue(names);
    for (names, db, root) in [
        (&[ORDERS][..], 200, 403),
        (&["ORDERS.Example"], 200, 403),
        (&["first.example", ORDERS], 200, 403),
        (&[OPS], 403, 200),
        // Both of them at once.
        (&[ORDERS, OPS], 200, 200),
        // Of a URI, parts know their case.
        (&["spiffe://corp/ns/ops/sa/root"], 401, 401),
        (&["strangers.example"], 401, 401),
        (&["*.example"], 401, 401),
        (&["x.orders.example"], 401, 401),
        (&["orders.example.evil.example"], 401, 401),
        (&["10.0.0.9"], 401, 401),
        (&[], 401, 401),
    ] {
        let shown = issue(names);
        let told = (site.status(Some(&shown), DB).await, site.status(Some(&shown), ROOT).await);
        assert_eq!(told, (Some(db), Some(root)), "{names:?}");
    }
    let answer = site.ask(Some(&issue(&[ORDERS])), DB).await.unwrap();
    assert_eq!(answer.text(), "a:pay/orders-db");
    assert_eq!(site.status(Some(&issue(&[ORDERS])), "/v1/vaults/pay/secrets/other").await, Some(403));
    assert_eq!(site.status(None, DB).await, Some(401), "who shows none is nobody");
}

#[tokio::test]
async fn whom_the_authority_does_not_vouch_for_now_and_as_a_client_is_not_answered() {
    let site = Site::start(clients(), None).await;
    let names = [ORDERS, OPS];
    for (what, shown) in [
        ("another authority's", Authority::new().issue(&names)),
        ("an expired one", site.clients.issue_expired(&names)),
        ("one whose time has not come", site.clients.issue_early(&names)),
        ("a server's", site.clients.issue_for_servers(&names)),
        ("one that our own server's authority has signed", site.servers.issue(&names)),
    ] {
        assert_eq!(site.status(Some(&shown), DB).await, None, "{what}");
        assert_eq!(site.status(Some(&shown), "/livez").await, None, "{what}");
    }
    assert_eq!(site.status(Some(&site.clients.issue(&names)), DB).await, Some(200));
}

#[tokio::test]
async fn a_certificate_that_is_revoked_is_refused_as_soon_as_the_list_says_so() {
    let site = Site::start(clients(), Some(&[7])).await;
    let [revoked, good] = [7, 8].map(|number| site.clients.issue_numbered(number, &[ORDERS]));
    assert_eq!((site.status(Some(&revoked), DB).await, site.status(Some(&good), DB).await), (None, Some(200)));
    site.change("revoked", &site.clients.revokes(&[7, 8], 4000));
    assert_eq!((site.status(Some(&revoked), DB).await, site.status(Some(&good), DB).await), (None, None));
    // What is no list changes nothing; nor is one certificate good again because of it.
    for broken in ["", "nothing", "-----BEGIN X509 CRL-----\ngarbage"] {
        site.change("revoked", broken);
        assert_eq!((site.status(Some(&revoked), DB).await, site.status(Some(&good), DB).await), (None, None));
    }
    site.change("revoked", &site.clients.revokes(&[], 4000));
    assert_eq!((site.status(Some(&revoked), DB).await, site.status(Some(&good), DB).await), (Some(200), Some(200)));
    // A list that is over, or another authority's, tells of nobody: then nobody is let in.
    for list in [site.clients.revokes(&[], 2010), Authority::new().revokes(&[], 4000)] {
        site.change("revoked", &list);
        assert_eq!(site.status(Some(&good), DB).await, None);
    }
    assert_eq!(site.status(None, "/livez").await, Some(200), "who shows none is asked for none");
}

/// The head of a stream's answer, and what there is to read.
async fn watching(site: &Site, shown: &Shown) -> TlsStream<TcpStream> {
    let mut stream = site.connect(Some(shown)).await.unwrap();
    let head = format!("GET /v1/watch HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", site.port);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn whom_another_authority_or_list_would_not_let_in_any_more_loses_its_connections_too() {
    let site = Site::start(clients(), Some(&[])).await;
    let shown = site.clients.issue_numbered(7, &[ORDERS]);
    // Another certificate of ours is no reason: the stream of events and the idle connection go on.
    let mut idle = site.connect(Some(&shown)).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", site.port);
    let mut buffer = [0; 4096];
    let mut stream = watching(&site, &shown).await;
    let (cert, key) = site.servers.issue(&["127.0.0.1"]);
    std::fs::write(site.folder.path().join("key"), key).unwrap();
    site.change("cert", &cert);
    idle.write_all(head.as_bytes()).await.unwrap();
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    site.change("revoked", &site.clients.revokes(&[7], 4000));
    let mut rest = Vec::new();
    // Both end in order.
    assert_eq!(idle.read(&mut buffer).await.unwrap(), 0);
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));

    site.change("revoked", &site.clients.revokes(&[], 4000));
    let mut stream = watching(&site, &shown).await;
    let others = Authority::new();
    std::fs::write(site.folder.path().join("revoked"), others.revokes(&[], 4000)).unwrap();
    site.change("authorities", &others.pem());
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(site.status(Some(&shown), DB).await, None);
    assert_eq!(site.status(Some(&others.issue(&[ORDERS])), DB).await, Some(200));
}

#[tokio::test]
async fn a_client_whose_certificate_is_renewed_is_the_same_and_one_that_is_renamed_is_another() {
    let site = Site::start(clients(), None).await;
    let mut old = site.connect(Some(&site.clients.issue(&[ORDERS]))).await.unwrap();
    assert_eq!(site.status(Some(&site.clients.issue(&[ORDERS])), DB).await, Some(200));
    let renamed = site.clients.issue(&[OPS]);
    assert_eq!(
        (site.status(Some(&renamed), DB).await, site.status(Some(&renamed), ROOT).await),
        (Some(403), Some(200))
    );
    // The first connection is still who it was.
    let head = format!("GET {DB} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", site.port);
    old.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("a:pay/orders-db"), "{answer}");
}
