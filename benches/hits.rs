//! How many cached reads a second the API answers, over TCP with a token and over the unix socket, against a bare hyper
//! server that returns the same bytes in the same run. Rounds are interleaved, medians are told: take the ratios, not
//! the figures. Over the socket also with an audit, into a file in the working directory. `cargo bench --bench hits` takes
//! about 40 seconds.
#![allow(missing_docs, clippy::print_stdout, reason = "it is a program that prints")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use sidekey::access::audit::{Book, FileSink, Names};
use sidekey::api::{Api, Guard, ServeOptions, State, Token, UnixOptions, bind_tcp, bind_unix, serve};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};
use zeroizing_alloc::ZeroAlloc;

/// As the program has it. The bare servers have it too: what it costs them is part of neither ratio.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const CONNECTIONS: usize = 64;
const NAMES: usize = 100;
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_millis(750);

/// Where a server is, and what is sent to it.
#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

struct Contender {
    name: &'static str,
    place: Place,
    requests: Arc<Vec<Vec<u8>>>,
    rates: Vec<f64>,
}

fn main() {
    let workers = std::thread::available_parallelism().map_or(2, |cores| (cores.get() / 2).max(1));
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let (server, client) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let mut contenders = start(&server, &client, directory.path());
    println!(
        "{CONNECTIONS} connections, {NAMES} names, {workers} server threads, {ROUNDS} rounds of {} ms each",
        ROUND.as_millis()
    );
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            let rate = client.block_on(load(&contender.place, &contender.requests));
            if round > 0 {
                contender.rates.push(rate);
            }
        }
    }
    let medians: Vec<f64> = contenders.iter_mut().map(|contender| median(&mut contender.rates)).collect();
    for (contender, rate) in contenders.iter().zip(&medians) {
        println!("{:<28} {rate:>9.0} requests/s", contender.name);
    }
    println!("sidekey of bare hyper, TCP   {:>9.2}", medians[1] / medians[0]);
    println!("sidekey of bare hyper, unix  {:>9.2}", medians[3] / medians[2]);
    println!("audited, of not audited      {:>9.2}", medians[4] / medians[3]);
    println!("required, of not audited     {:>9.2}", medians[5] / medians[3]);
}

/// Starts all servers on one runtime; the bare ones answer what sidekey answered.
fn start(server: &Runtime, client: &Runtime, directory: &std::path::Path) -> Vec<Contender> {
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
    client.block_on(load(&tcp, &own));
    let (headers, body) = client.block_on(sample(&tcp, &own[0]));
    println!("one answer: {} headers, {} bytes of value", headers.len(), body.len());
    let bare_tcp = server.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let bare_port = bare_tcp.local_addr().expect("an address").port();
    let bare_socket = directory.join("bare.sock");
    let bare_unix = UnixListener::bind(&bare_socket).expect("a socket");
    let same = (headers.clone(), body.clone());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = bare_tcp.accept().await {
            let _ = stream.set_nodelay(true);
            connections.spawn(bare(stream, same.clone()));
        }
    });
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = bare_unix.accept().await {
            connections.spawn(bare(stream, (headers.clone(), body.clone())));
        }
    });
    tasks.detach_all();
    let contender = |name, place, requests| Contender { name, place, requests, rates: Vec::new() };
    let [plain, required] = audited;
    let bare_place = Place::Tcp(SocketAddr::from(([127, 0, 0, 1], bare_port)));
    vec![
        contender("bare hyper, TCP", bare_place, requests(bare_port)),
        contender("sidekey, TCP with token", tcp, Arc::clone(&own)),
        contender("bare hyper, unix", Place::Unix(bare_socket), Arc::clone(&own)),
        contender("sidekey, unix", unix, Arc::clone(&own)),
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

/// Requests a second over all connections, for one round.
async fn load(place: &Place, requests: &Arc<Vec<Vec<u8>>>) -> f64 {
    let mut clients = JoinSet::new();
    let began = Instant::now();
    for first in 0..CONNECTIONS {
        let requests = Arc::clone(requests);
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await.expect("a connection");
                stream.set_nodelay(true).expect("an option");
                clients.spawn(client(stream, requests, first, began));
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.expect("a connection");
                clients.spawn(client(stream, requests, first, began));
            }
        }
    }
    let mut count = 0;
    while let Some(done) = clients.join_next().await {
        count += done.expect("a client that ends");
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Asks one after the other until the round is over; how often.
async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    requests: Arc<Vec<Vec<u8>>>,
    first: usize,
    began: Instant,
) -> u32 {
    let mut buffer = vec![0; 4_096];
    let mut count = 0;
    while began.elapsed() < ROUND {
        let request = &requests[(first + count as usize) % requests.len()];
        stream.write_all(request).await.expect("a request goes out");
        let (head, length) = read(&mut stream, &mut buffer).await;
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..head + length]));
        count += 1;
    }
    count
}

/// Reads one answer; the lengths of its head and its body.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        let more = stream.read(&mut buffer[filled..]).await.expect("an answer");
        assert!(more > 0, "the server closed");
        filled += more;
        let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let head = end + 4;
        let at = memchr::memmem::find(&buffer[..head], b"content-length: ").expect("a length") + 16;
        let digits = buffer[at..head].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        if filled >= head + length {
            return (head, length);
        }
    }
}

/// One answer's headers, without those that hyper writes by itself, and its body.
async fn sample(place: &Place, request: &[u8]) -> (HeaderMap, Bytes) {
    let Place::Tcp(address) = place else { panic!("asked over TCP") };
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("a request goes out");
    let mut buffer = vec![0; 4_096];
    let (head, length) = read(&mut stream, &mut buffer).await;
    let text = std::str::from_utf8(&buffer[..head]).expect("ASCII");
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    let own = lines.filter(|(name, _)| !matches!(*name, "content-length" | "date"));
    let headers = own.map(|(name, value)| {
        (name.parse().expect("a header's name"), HeaderValue::from_str(value).expect("a header's value"))
    });
    (headers.collect(), Bytes::copy_from_slice(&buffer[head..head + length]))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
