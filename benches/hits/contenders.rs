//! The servers that are compared: sidekey, and bare ones that answer what it answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use sidekey::access::audit::{Book, FileSink, Names};
use sidekey::api::{Api, Guard, ServeOptions, State, Token, UnixOptions, bind_tcp, bind_unix, serve};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};

use super::NAMES;
use super::asking::{Place, connect, read, warm};

/// A server that is asked.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// What is sent to it.
    pub(super) requests: Arc<Vec<Vec<u8>>>,
}

/// Starts all servers on one runtime; the bare ones answer what sidekey answered.
pub(super) fn start(server: &Runtime, client: &Runtime, directory: &std::path::Path) -> Vec<Contender> {
    let _inside = server.enter();
    let vault = MemoryVault::new(VaultInfo::new("bench".parse().expect("a name"), "pay".parse().expect("a name")));
    for n in 0..NAMES {
        let name = format!("secret-{n}").parse().expect("a name");
        vault.set(&name, vec![b'x'; 40], Attributes::default());
    }
    let source = MemorySource::new("bench".parse().expect("a name"), vec![Arc::new(vault) as Arc<dyn Vault>]);
    let catalog = Catalog::new(vec![Arc::new(source)], CatalogOptions::default());
    server.block_on(catalog.refresh(None));
    let metrics = Metrics::default();
    let broker = Broker::new(catalog, BrokerOptions::default(), metrics.clone());
    let token = Token::load_or_create(&directory.join("token")).expect("a token");
    let guard = Guard::new(Some(token.digest()));
    let mut listeners = bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let port = listeners[0].port().expect("a TCP listener");
    let socket = directory.join("sidekey.sock");
    listeners.push(bind_unix(&UnixOptions::new(&socket)).expect("a socket"));
    let api = Api::new(State::new(broker.clone(), metrics.clone()));
    let serving = serve(listeners, api, guard, metrics.clone(), ServeOptions::default(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(async {
        serving.await;
    });
    let audited = ["audited.sock", "required.sock"].map(|name| {
        let socket = directory.join(name);
        let listeners = vec![bind_unix(&UnixOptions::new(&socket)).expect("a socket")];
        let sink = FileSink::open(&directory.join(format!("{name}.log")), 64 << 20, 1).expect("a file");
        let book = Book::on(sink, Names::default(), name == "required.sock", &metrics).expect("a thread");
        let api = Api::new(State::audited(broker.clone(), metrics.clone(), book.into()));
        let (guard, options) = (Guard::new(None), ServeOptions::default());
        let serving = serve(listeners, api, guard, metrics.clone(), options, CancellationToken::new());
        tasks.spawn(async {
            serving.await;
        });
        Place::Unix(socket)
    });

    let tcp = Place::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    let unix = Place::Unix(socket);
    let authorization = token.header().to_str().expect("ASCII").to_owned();
    let requests = |port: u16| {
        let request = |n| {
            format!(
                "GET /v1/vaults/pay/secrets/secret-{n} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: bench\r\n\
                 accept: */*\r\nauthorization: {authorization}\r\n\r\n"
            )
        };
        Arc::new((0..NAMES).map(|n| request(n).into_bytes()).collect::<Vec<_>>())
    };

    let own = requests(port);
    client.block_on(warm(&tcp, &own));
    let [answer, audited_answer] = [&tcp, &audited[0]].map(|place| client.block_on(sample(place, &own[0])));
    for (what, (headers, body)) in [("one answer", &answer), ("one that is audited", &audited_answer)] {
        println!("{what}: {} headers, {} bytes of value", headers.len(), body.len());
    }
    let bare_tcp = server.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let bare_port = bare_tcp.local_addr().expect("an address").port();
    let same = answer.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = bare_tcp.accept().await {
            let _ = stream.set_nodelay(true);
            connections.spawn(bare(stream, same.clone()));
        }
    });
    let bare_unix = [("bare.sock", answer), ("bare-audited.sock", audited_answer)].map(|(name, answer)| {
        let socket = directory.join(name);
        let listener = UnixListener::bind(&socket).expect("a socket");
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(bare(stream, answer.clone()));
            }
        });
        Place::Unix(socket)
    });
    tasks.detach_all();
    let contender = |name, place, requests| Contender { name, place, requests };
    let ([plain, required], [bare_plain, bare_audited]) = (audited, bare_unix);
    let bare_place = Place::Tcp(SocketAddr::from(([127, 0, 0, 1], bare_port)));
    vec![
        contender("bare hyper, TCP", bare_place, requests(bare_port)),
        contender("sidekey, TCP with token", tcp, Arc::clone(&own)),
        contender("bare hyper, unix", bare_plain, Arc::clone(&own)),
        contender("sidekey, unix", unix, Arc::clone(&own)),
        contender("bare hyper, unix, as audited", bare_audited, Arc::clone(&own)),
        contender("sidekey, unix, audited", plain, Arc::clone(&own)),
        contender("sidekey, unix, required", required, own),
    ]
}

async fn bare<S: AsyncRead + AsyncWrite + Unpin>(stream: S, (headers, body): (HeaderMap, Bytes)) {
    let answer = service_fn(|_| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = headers.clone();
        async { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// One answer's headers, without those that hyper writes by itself, and its body.
async fn sample(place: &Place, request: &[u8]) -> (HeaderMap, Bytes) {
    let mut stream = connect(place).await;
    stream.write_all(request).await.expect("a request goes out");
    let mut buffer = vec![0; 4_096];
    let (head, length) = read(&mut *stream, &mut buffer).await;
    let text = std::str::from_utf8(&buffer[..head]).expect("ASCII");
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    let own = lines.filter(|(name, _)| !matches!(*name, "content-length" | "date"));
    let headers = own.map(|(name, value)| {
        (name.parse().expect("a header's name"), HeaderValue::from_str(value).expect("a header's value"))
    });
    (headers.collect(), Bytes::copy_from_slice(&buffer[head..head + length]))
}
