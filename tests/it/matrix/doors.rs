use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use sidekey::access::{Access, AccessSettings, Client};
use sidekey::api::{
    Api, AwsProfile, Guard, Listener, ServeOptions, State, Tls, TlsFiles, UnixOptions, bind_tcp, bind_tls, bind_unix,
    serve,
};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::secret::Reference;
use sidekey::vaults::Source;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::credentials::Credential;
use super::{NAME, Route, VAULT};
use crate::api::tls::Authority;

/// One way in, and what it asks for.
pub struct Door {
    name: &'static str,
    to: To,
    asks: Asks,
    token: String,
    /// Right at another door, and nobody's here.
    another: String,
}

enum To {
    Socket(PathBuf),
    Tcp(u16),
    /// With a connector for each kind of certificate that may be shown.
    Tls(u16, [TlsConnector; 5]),
}

/// What certificate a request comes with, where one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The client's; nothing where none is asked for.
    Right,
    None,
    /// With the client's name.
    AnotherAuthoritys,
    /// Of the right authority, with a name that no client has.
    Strangers,
    Expired,
}

#[derive(Debug, Clone, Copy)]
struct Asks {
    token: bool,
    certificate: bool,
}

/// A sidecar for each door, over the same secrets.
pub struct House {
    doors: Vec<Door>,
    folder: tempfile::TempDir,
    serving: JoinSet<()>,
    end: CancellationToken,
}

impl House {
    pub async fn open(source: Arc<dyn Source>) -> Self {
        let catalog = Catalog::counted(vec![source], CatalogOptions::default(), Metrics::default());
        catalog.refresh(None).await;
        let broker = Broker::new(catalog, BrokerOptions::default(), Metrics::default());
        let reference: Reference = format!("secret://{VAULT}/{NAME}").parse().unwrap();
        let profile = AwsProfile {
            name: NAME.to_owned(),
            access_key_id: reference.clone(),
            secret_access_key: reference,
            session_token: None,
            lifetime: AwsProfile::LIFETIME,
        };
        let api = Api::new(State::new(broker, Metrics::default()).with_aws([profile]));
        let folder = tempfile::tempdir().unwrap();
        let mut house = Self { doors: Vec::new(), folder, serving: JoinSet::new(), end: CancellationToken::new() };
        // On the socket a token is a second factor: the user, who is this test's, is right in every case.
        let own = rustix::process::geteuid().as_raw();
        let client = |name: &str, uid| Client {
            name: name.to_owned(),
            uid,
            token_file: Some(house.folder.path().join(name)),
            read: vec!["*/*".parse().unwrap()],
            list: vec!["*/*".parse().unwrap()],
            ..Client::default()
        };
        let socket_clients = AccessSettings { clients: vec![client("socket", Some(own))], token_file: None };
        let tcp_clients = AccessSettings { clients: vec![client("tcp", None)], token_file: None };
        let one_token = AccessSettings { clients: Vec::new(), token_file: Some(house.folder.path().join("one")) };

        let path = house.folder.path().join("s.sock");
        let socket = vec![bind_unix(&UnixOptions::new(path.clone())).unwrap()];
        let a_token = Asks { token: true, certificate: false };
        house.serve("socket", To::Socket(path), a_token, socket, &socket_clients, &api);
        for (name, settings) in [("tcp", tcp_clients), ("one", one_token)] {
            let listeners = bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
            let port = listeners[0].port().unwrap();
            house.serve(name, To::Tcp(port), a_token, listeners, &settings, &api);
        }
        house.serve_tls("tls", a_token, &api);
        house.serve_tls("certificate", Asks { token: false, certificate: true }, &api);
        house.serve_tls("both", Asks { token: true, certificate: true }, &api);
        let tokens: Vec<_> = house.doors.iter().map(|door| door.token.clone()).collect();
        for (at, door) in house.doors.iter_mut().enumerate() {
            door.another = tokens[(at + 1) % tokens.len()].clone();
        }
        house
    }

    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// Certificates are never required by the handshake: it is the guard that tells who has shown none.
    fn serve_tls(&mut self, name: &'static str, asks: Asks, api: &Api) {
        let (servers, clients) = (Authority::new(), Authority::new());
        let at = |what: &str, text: &str| {
            let path = self.folder.path().join(format!("{name}-{what}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let (cert, key) = servers.issue(&["127.0.0.1"]);
        let files = TlsFiles {
            cert: at("cert", &cert),
            key: at("key", &key),
            client_ca: asks.certificate.then(|| at("clients", &clients.pem())),
            client_crl: None,
            certificate_required: false,
        };
        let listeners = bind_tls(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &Tls::load(files).unwrap()).unwrap();
        let own = ["orders.example"];
        let right = asks.certificate.then(|| clients.issue(&own));
        let wrong = [
            None,
            Some(Authority::new().issue(&own)),
            Some(clients.issue(&["strangers.example"])),
            Some(clients.issue_expired(&own)),
        ];
        let [none, another, strangers, expired] = wrong.map(|shown| servers.connector(shown.as_ref()));
        let connectors = [servers.connector(right.as_ref()), none, another, strangers, expired];
        let client = Client {
            name: name.to_owned(),
            token_file: asks.token.then(|| self.folder.path().join(name)),
            certificate: asks.certificate.then(|| own[0].to_owned()),
            read: vec!["*/*".parse().unwrap()],
            list: vec!["*/*".parse().unwrap()],
            ..Client::default()
        };
        let settings = AccessSettings { clients: vec![client], token_file: None };
        let to = To::Tls(listeners[0].port().unwrap(), connectors);
        self.serve(name, to, asks, listeners, &settings, api);
    }

    fn serve(
        &mut self,
        name: &'static str,
        to: To,
        asks: Asks,
        listeners: Vec<Listener>,
        settings: &AccessSettings,
        api: &Api,
    ) {
        let guard = Guard::new(Access::load(settings).unwrap());
        let token = match asks.token {
            true => std::fs::read_to_string(self.folder.path().join(name)).unwrap().trim_end().to_owned(),
            false => "a-token-that-is-not-asked-for".to_owned(),
        };
        self.doors.push(Door { name, to, asks, token, another: String::new() });
        let (api, end) = (api.clone(), self.end.clone());
        self.serving.spawn(async move {
            serve(listeners, api, guard, Metrics::default(), ServeOptions::default(), end).await;
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Door {
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn shakes_hands(&self) -> bool {
        matches!(self.to, To::Tls(..))
    }

    pub fn asks_for_a_token(&self) -> bool {
        self.asks.token
    }

    pub fn asks_for_a_certificate(&self) -> bool {
        self.asks.certificate
    }

    pub fn token_of_another(&self) -> &str {
        &self.another
    }

    /// All that comes back until the connection is closed; empty if that was all.
    pub async fn ask(&self, (method, path, body): &Route, credential: &Credential) -> String {
        let host = match &self.to {
            To::Socket(_) => "sidekey".to_owned(),
            To::Tcp(port) | To::Tls(port, _) => format!("127.0.0.1:{port}"),
        };
        let path = match (credential.query.is_empty(), path.contains('?')) {
            (true, _) => path.clone(),
            (false, true) => format!("{path}&{}", credential.query),
            (false, false) => format!("{path}?{}", credential.query),
        };
        let described = match body.len() {
            0 => String::new(),
            length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        let headers = &credential.headers;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{described}{headers}\r\n{body}");
        match &self.to {
            To::Socket(path) => exchange(tokio::net::UnixStream::connect(path).await.unwrap(), &request).await,
            To::Tcp(port) => exchange(TcpStream::connect(("127.0.0.1", *port)).await.unwrap(), &request).await,
            To::Tls(port, connectors) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).await.unwrap();
                let name = ServerName::try_from("127.0.0.1").unwrap();
                match connectors[credential.shown as usize].connect(name, stream).await {
                    Ok(stream) => exchange(stream, &request).await,
                    Err(_) => String::new(),
                }
            }
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    // Who closes before all is sent has answered, or has nothing to say.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
