use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use sidekey::access::{Access, AccessSettings, Client};
use sidekey::api::{Api, Guard, Listener, ServeOptions, State, UnixOptions, bind_tcp, bind_unix, serve};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::vaults::Source;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Route;
use super::credentials::Credential;

/// One way in, and what it asks for.
pub struct Door {
    name: &'static str,
    to: To,
    token: String,
    /// Right at another door, and nobody's here.
    another: String,
}

enum To {
    Socket(PathBuf),
    Tcp(u16),
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
        let api = Api::new(State::new(broker, Metrics::default()));
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
        house.serve("socket", To::Socket(path), socket, &socket_clients, &api);
        for (name, settings) in [("tcp", tcp_clients), ("one", one_token)] {
            let listeners = bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
            let port = listeners[0].port().unwrap();
            house.serve(name, To::Tcp(port), listeners, &settings, &api);
        }
        let tokens: Vec<_> = house.doors.iter().map(|door| door.token.clone()).collect();
        for (at, door) in house.doors.iter_mut().enumerate() {
            door.another = tokens[(at + 1) % tokens.len()].clone();
        }
        house
    }

    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    fn serve(&mut self, name: &'static str, to: To, listeners: Vec<Listener>, settings: &AccessSettings, api: &Api) {
        let guard = Guard::new(Access::load(settings).unwrap());
        let token = std::fs::read_to_string(self.folder.path().join(name)).unwrap().trim_end().to_owned();
        self.doors.push(Door { name, to, token, another: String::new() });
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

    pub fn token_of_another(&self) -> &str {
        &self.another
    }

    /// All that comes back until the connection is closed; empty if that was all.
    pub async fn ask(&self, (method, path, body): &Route, credential: &Credential) -> String {
        let host = match &self.to {
            To::Socket(_) => "sidekey".to_owned(),
            To::Tcp(port) => format!("127.0.0.1:{port}"),
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
            To::Tcp(port) => {
                exchange(tokio::net::TcpStream::connect(("127.0.0.1", *port)).await.unwrap(), &request).await
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
