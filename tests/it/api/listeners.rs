//! Sockets as the file system and the kernel see them, and how serving begins and ends.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sidekey::api::{
    Api, Capacity, Connection, Drained, Guard, ListenError, Listener, ServeOptions, State, Token, UnixOptions,
    bind_tcp, bind_unix, bind_unix_beside, serve,
};
use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::House;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A server on a socket and on TCP.
pub(super) struct Running {
    pub(super) port: u16,
    pub(super) token: String,
    pub(super) metrics: Metrics,
    socket: PathBuf,
    shutdown: CancellationToken,
    serving: JoinSet<Drained>,
    _directory: TempDir,
}

impl Running {
    pub(super) async fn start(router: Router) -> Self {
        Self::start_with(router, ServeOptions::default()).await
    }

    pub(super) async fn start_with(router: impl Into<Api>, options: ServeOptions) -> Self {
        Self::with_more(router, options, Vec::new()).await
    }

    /// The same on these listeners too.
    pub(super) async fn with_more(router: impl Into<Api>, options: ServeOptions, more: Vec<Listener>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/sidekey.sock");
        let file = directory.path().join("token");
        let token = Token::load_or_create(&file).unwrap();
        let mut listeners = more;
        listeners.extend(bind_tcp(ANY_PORT).unwrap());
        let port = listeners.last().unwrap().port().unwrap();
        listeners.push(bind_unix(&UnixOptions::new(&socket)).unwrap());
        let shutdown = CancellationToken::new();
        let metrics = Metrics::default();
        let guard = Guard::new(Some(token.digest()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listeners, router.into(), guard, metrics.clone(), options, shutdown.clone()));
        let token = std::fs::read_to_string(file).unwrap().trim().to_owned();
        Self { port, token, metrics, socket, shutdown, serving, _directory: directory }
    }

    pub(super) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    pub(super) async fn unix(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    pub(super) async fn stopped(mut self) -> Drained {
        self.shutdown.cancel();
        self.serving.join_next().await.unwrap().unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_socket_has_the_mode_asked_for_whatever_the_umask_and_its_directory_is_made() {
    let directory = tempfile::tempdir().unwrap();
    for (name, wanted) in [("a", 0o660), ("b", 0o600), ("c", 0o666)] {
        let path = directory.path().join("made").join(name);
        let listener = bind_unix(&UnixOptions { mode: wanted, ..UnixOptions::new(&path) }).unwrap();
        assert_eq!(mode(&path), wanted);
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        assert_eq!(listener.address(), path.display().to_string());
        drop(listener);
        assert!(!path.exists(), "its own socket is removed");
    }
}

#[tokio::test]
async fn a_socket_may_belong_to_a_group() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let own = std::fs::metadata(directory.path()).unwrap().gid();
    let group = Some(own.to_string().parse().unwrap());
    let listener = bind_unix(&UnixOptions { group, ..UnixOptions::new(&path) }).unwrap();
    assert_eq!((std::fs::symlink_metadata(&path).unwrap().gid(), mode(&path)), (own, 0o660));
    drop(listener);
    // Only root gives a socket to a group that is not its own.
    if rustix::process::geteuid().is_root() {
        let group = Some("64242".parse().unwrap());
        let _listener = bind_unix(&UnixOptions { group, ..UnixOptions::new(&path) }).unwrap();
        assert_eq!((std::fs::symlink_metadata(&path).unwrap().gid(), mode(&path)), (64_242, 0o660));
    }
    let group = Some("no-such-group".parse().unwrap());
    let error = bind_unix(&UnixOptions { group, ..UnixOptions::new(&path) }).unwrap_err();
    assert!(matches!(error, ListenError::NoGroup(_)), "{error}");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let ours = bind_unix(&UnixOptions::new(&path)).unwrap();
    let error = bind_unix(&UnixOptions::new(&path)).unwrap_err();
    assert!(matches!(error, ListenError::Taken { .. }), "{error}");
    assert!(error.to_string().contains("is taken"), "{error}");
    drop(ours);

    // One that another program serves, without our lock.
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(bind_unix(&UnixOptions::new(&path)).unwrap_err(), ListenError::Taken { .. }));
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(other);
}

#[tokio::test]
async fn whoever_is_about_to_change_the_place_is_waited_for_and_a_link_in_the_locks_place_is_not_followed() {
    use rustix::fs::{FlockOperation, flock};
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let file = std::fs::File::create(directory.path().join("s.lock")).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    let theirs = std::thread::spawn({
        let (path, runtime) = (path.clone(), tokio::runtime::Handle::current());
        move || {
            let _entered = runtime.enter();
            bind_unix(&UnixOptions::new(&path)).map(drop)
        }
    });
    // Until the kernel tells that somebody waits for that file.
    let inode = format!(":{} ", file.metadata().unwrap().ino());
    let waits = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&inode))
    };
    while !waits() && !theirs.is_finished() {
        std::thread::yield_now();
    }
    assert!(!theirs.is_finished(), "it has not waited");
    let _ours = std::os::unix::net::UnixListener::bind(&path).unwrap();
    flock(&file, FlockOperation::Unlock).unwrap();
    assert!(matches!(theirs.join().unwrap().unwrap_err(), ListenError::Taken { .. }));

    let elsewhere = directory.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, directory.path().join("t.lock")).unwrap();
    let error = bind_unix(&UnixOptions::new(directory.path().join("t"))).unwrap_err();
    assert!(error.to_string().contains("lock file") && !elsewhere.exists(), "{error}");
}

#[tokio::test]
async fn another_users_live_socket_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    if std::os::unix::fs::chown(&path, Some(64_242), None).is_err() {
        return;
    }
    let error = bind_unix_beside(&UnixOptions::new(&path)).unwrap_err();
    assert!(matches!(error, ListenError::AnotherUsers { .. }), "{error}");
    assert!(path.exists() && !directory.path().join("s.next").exists());
}

#[test]
fn a_socket_that_could_not_be_finished_is_not_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    // There is no runtime to listen with.
    let failed = std::panic::catch_unwind(|| bind_unix(&UnixOptions::new(&path)));
    assert!(failed.is_err() && !path.exists());
}

#[tokio::test]
async fn a_socket_that_somebody_else_put_in_our_place_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let ours = bind_unix(&UnixOptions::new(&path)).unwrap();
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
}

#[tokio::test]
async fn what_cannot_be_a_socket_is_told_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(bind_unix(&UnixOptions::new(&file)).unwrap_err(), ListenError::NotASocket { .. }));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    std::os::unix::fs::symlink(&file, directory.path().join("link")).unwrap();
    let error = bind_unix(&UnixOptions::new(directory.path().join("link"))).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");

    let base = directory.path().as_os_str().len();
    let longest = directory.path().join("x".repeat(107 - base - 1));
    assert!(bind_unix(&UnixOptions::new(&longest)).is_ok());
    let error = bind_unix(&UnixOptions::new(format!("{}x", longest.display()))).unwrap_err();
    assert!(matches!(error, ListenError::TooLong { length: 108, .. }), "{error}");

    let open = directory.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = bind_unix(&UnixOptions::new(open.join("s"))).unwrap_err();
    assert!(matches!(error, ListenError::OpenDirectory { .. }), "{error}");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(bind_unix(&UnixOptions::new(open.join("s"))).is_ok());
}

#[tokio::test]
async fn tcp_is_bound_on_both_loopback_addresses_and_on_nothing_else() {
    let listeners = bind_tcp(ANY_PORT).unwrap();
    let port = listeners[0].port().unwrap();
    assert_eq!(listeners[0].address(), format!("127.0.0.1:{port}"));
    if let Some(six) = listeners.get(1) {
        assert_eq!(six.address(), format!("[::1]:{port}"));
    }
    let taken = SocketAddr::from(([127, 0, 0, 1], port));
    let error = bind_tcp(taken).unwrap_err();
    assert!(matches!(error, ListenError::PortInUse(_)), "{error}");
    assert!(error.to_string().contains(&format!("port {port} is in use")), "{error}");
    for address in ["0.0.0.0:0", "[::]:0", "127.0.0.2:0", "192.0.2.1:80", "[::ffff:127.0.0.1]:0"] {
        let error = bind_tcp(address.parse().unwrap()).unwrap_err();
        assert!(matches!(error, ListenError::NotLoopback(_)), "{address}: {error}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_in_one_family_alone_is_taken() {
    let Ok(six) = std::net::TcpListener::bind("[::1]:0") else { return };
    let port = six.local_addr().unwrap().port();
    assert!(matches!(bind_tcp(SocketAddr::from(([127, 0, 0, 1], port))).unwrap_err(), ListenError::PortInUse(_)));
}

#[tokio::test]
async fn a_route_learns_how_its_caller_came_in() {
    let told = |connection: axum::Extension<Connection>| async move { format!("{:?}", connection.0) };
    let running = Running::start(Router::new().route("/who", get(told))).await;
    let mut stream = running.unix().await;
    stream.write_all(b"GET /who HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let peer = stream
        .peer_cred()
        .map(|own| format!("Unix(Some(Peer {{ uid: {}, gid: {}, groups: [] }}))", own.uid(), own.gid()));
    assert!(answer.ends_with(&peer.unwrap()), "{answer}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let house = House::new(&["pay"]);
    house.set("pay", "name-canary", "1");
    let running = Running::start(house.open().await).await;
    for path in ["/v1/secrets/name-canary", "/v1/vaults/pay/secrets/name-canary", "/v1/secrets/none", "/x/y"] {
        let mut stream = running.unix().await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let text = running.metrics.encode();
    for line in [
        "route=\"/v1/secrets/{name}\",status=\"200\"} 1",
        "route=\"/v1/secrets/{name}\",status=\"404\"} 1",
        "route=\"/v1/vaults/{vault}/secrets/{name}\",status=\"200\"} 1",
        "route=\"none\",status=\"404\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("canary") && !text.contains("/x/y"));
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_outlives_the_shutdown_and_nothing_else_does() {
    let mut house = House::new(&["pay"]);
    house.set("pay", "slow", "worth-waiting");
    let (reached, released) = house.gate("slow");
    let running = Running::start(house.open().await).await;
    let (mut silent, mut idle, mut busy) = (running.unix().await, running.unix().await, running.unix().await);
    idle.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
    let mut first = [0; 4096];
    let told = idle.read(&mut first).await.unwrap();
    assert!(first[..told].ends_with(b"ok\n"));
    busy.write_all(b"GET /v1/secrets/slow HTTP/1.1\r\n\r\n").await.unwrap();
    reached.notified().await;

    let socket = running.socket.clone();
    let (shutdown, mut serving) = (running.shutdown.clone(), running.serving);
    shutdown.cancel();
    // What stays silent or idle is closed after a second, and the socket is gone, while the read still waits.
    let began = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut first).await.unwrap(), 0);
    assert_eq!(idle.read(&mut first).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 1);
    assert!(!socket.exists());
    assert!(UnixStream::connect(&socket).await.is_err());
    released.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("worth-waiting") && answer.contains("connection: close"), "{answer}");
    assert_eq!(serving.join_next().await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_request_on_its_way_when_the_shutdown_begins_is_answered_as_the_last_of_its_connection() {
    let running = Running::start(House::new(&["pay"]).open().await).await;
    let (mut new, mut idle, mut half) = (running.unix().await, running.unix().await, running.unix().await);
    let mut buffer = [0; 4096];
    let host = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    idle.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
    let told = idle.read(&mut buffer).await.unwrap();
    assert!(!String::from_utf8_lossy(&buffer[..told]).contains("connection: close"));
    half.write_all(format!("{host}\r\n").as_bytes()).await.unwrap();
    assert!(half.read(&mut buffer).await.unwrap() > 0);
    half.write_all(host.as_bytes()).await.unwrap();
    let (shutdown, mut serving, socket) = (running.shutdown.clone(), running.serving, running.socket.clone());
    shutdown.cancel();
    while socket.exists() {
        tokio::task::yield_now().await;
    }
    new.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
    for stream in [&mut new, &mut idle] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("connection: close") && answer.ends_with("ok\n"), "{answer}");
    }
    // Half a head is waited for longer: it is under way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    half.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close") && answer.ends_with("ok\n"), "{answer}");
    assert_eq!(serving.join_next().await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_in_order_when_what_it_tells_of_is_replaced_and_when_the_process_stops() {
    let events = || async {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("event\n")]);
        axum::body::Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    let routes = || Api::from(Router::new().route("/events", get(events)));
    let catalog = Catalog::new(Vec::new(), CatalogOptions::default());
    let metrics = Metrics::default();
    let state = State::new(Broker::new(catalog, BrokerOptions::default(), metrics.clone()), metrics);
    for replaced in [true, false] {
        let api = routes();
        let running = Running::start_with(api.clone(), ServeOptions::default()).await;
        let mut reader = running.unix().await;
        reader.write_all(b"GET /events HTTP/1.1\r\n\r\n").await.unwrap();
        let (mut told, mut buffer) = (String::new(), [0; 4096]);
        while !told.contains("event\n") {
            let length = reader.read(&mut buffer).await.unwrap();
            told.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        if replaced {
            api.replace(state.clone());
            let length = reader.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"0\r\n\r\n");
            // The same connection asks the new one.
            reader.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
            assert!(reader.read(&mut buffer).await.unwrap() > 0);
        }
        let began = tokio::time::Instant::now();
        assert_eq!(running.stopped().await, Drained { cut: 0 });
        assert!(began.elapsed() <= Duration::from_millis(1_010), "{:?}", began.elapsed());
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, if replaced { "" } else { "0\r\n\r\n" });
    }
}

#[tokio::test]
async fn who_is_in_the_queue_when_the_shutdown_begins_is_let_in() {
    let running = Running::start(House::new(&["pay"]).open().await).await;
    // All on one thread: nobody accepts while these connect.
    let mut queued: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&running.socket).unwrap();
            std::io::Write::write_all(&mut stream, b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
            let tcp = std::net::TcpStream::connect(("127.0.0.1", running.port)).unwrap();
            let ask = format!("GET /livez HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", running.port);
            std::io::Write::write_all(&mut &tcp, ask.as_bytes()).unwrap();
            (stream, tcp)
        })
        .collect();
    assert_eq!(running.stopped().await, Drained { cut: 0 });
    for (unix, tcp) in &mut queued {
        for stream in [unix as &mut dyn std::io::Read, tcp] {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("ok\n"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_live_socket_is_taken_over_in_one_step_and_what_was_before_is_served_by_the_old_one() {
    let house = House::new(&["pay"]);
    house.set("pay", "who", "old");
    let old = Running::start(house.open().await).await;
    let mut queued = std::os::unix::net::UnixStream::connect(&old.socket).unwrap();
    let options = UnixOptions { mode: 0o600, ..UnixOptions::new(&old.socket) };
    let (listener, take_over) = bind_unix_beside(&options).unwrap();
    let take_over = take_over.expect("the old one answers");
    assert_eq!(take_over.path(), old.socket);
    // Nobody else may do that meanwhile, and nothing has changed for callers.
    assert!(matches!(bind_unix_beside(&options).unwrap_err(), ListenError::Taken { .. }));
    assert!(matches!(bind_unix(&options).unwrap_err(), ListenError::Taken { .. }));
    assert_eq!(mode(&old.socket), 0o660);
    take_over.finish().unwrap();
    assert_eq!((mode(&old.socket), listener.address()), (0o600, old.socket.display().to_string()));

    let new_house = House::new(&["pay"]);
    new_house.set("pay", "who", "new");
    let shutdown = CancellationToken::new();
    let mut new = JoinSet::new();
    let (router, metrics) = (new_house.open().await, Metrics::default());
    new.spawn(serve(vec![listener], router, Guard::new(None), metrics, ServeOptions::default(), shutdown.clone()));
    let ask = b"GET /v1/secrets/who HTTP/1.1\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut queued, ask).unwrap();
    let mut after = old.unix().await;
    after.write_all(ask).await.unwrap();
    let socket = old.socket.clone();
    let (directory, mut serving) = (old._directory, old.serving);
    old.shutdown.cancel();
    assert_eq!(serving.join_next().await.unwrap().unwrap(), Drained { cut: 0 });
    let (mut first, mut second) = (String::new(), String::new());
    std::io::Read::read_to_string(&mut queued, &mut first).unwrap();
    after.read_to_string(&mut second).await.unwrap();
    assert!(first.ends_with("old") && second.ends_with("new"), "{first}\n{second}");
    // The old one has left the new one's name alone; nothing else is left behind.
    assert!(socket.exists());
    shutdown.cancel();
    new.join_next().await.unwrap().unwrap();
    let mut left: Vec<_> =
        std::fs::read_dir(directory.path().join("run")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["sidekey.sock.lock"]);
}

#[tokio::test]
async fn where_nobody_answers_there_is_nothing_to_take_over_and_what_stood_aside_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for _ in 0..2 {
        let (listener, take_over) = bind_unix_beside(&UnixOptions::new(&path)).unwrap();
        assert!(take_over.is_none() && path.exists());
        drop(listener);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    }
    let _live = bind_unix(&UnixOptions::new(&path)).unwrap();
    let aside = directory.path().join("s.next");
    // One that died while it stood aside is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&aside).unwrap());
    let (listener, take_over) = bind_unix_beside(&UnixOptions::new(&path)).unwrap();
    assert!(take_over.is_some() && aside.exists());
    drop(listener);
    assert!(!aside.exists() && path.exists());
    // What is no socket is not replaced, even if it came in between.
    let (_listener, take_over) = bind_unix_beside(&UnixOptions::new(&path)).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(take_over.unwrap().finish().unwrap_err(), ListenError::NotASocket { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_within_the_grace_is_cut_and_told() {
    let mut house = House::new(&["pay"]);
    house.set("pay", "slow", "1");
    let (reached, _released) = house.gate("slow");
    let options = ServeOptions { grace: Duration::from_secs(3), ..ServeOptions::default() };
    let running = Running::start_with(house.open().await, options).await;
    let mut busy = running.unix().await;
    busy.write_all(b"GET /v1/secrets/slow HTTP/1.1\r\n\r\n").await.unwrap();
    reached.notified().await;
    let began = tokio::time::Instant::now();
    assert_eq!(running.stopped().await, Drained { cut: 1 });
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(busy.read(&mut [0; 16]).await.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_or_drips_is_shown_out_after_five_seconds_and_who_idles_much_later() {
    let running = Running::start(House::new(&["pay"]).open().await).await;
    let began = tokio::time::Instant::now();
    let (mut silent, mut drips, mut idles, mut drips_later) =
        (running.unix().await, running.tcp().await, running.unix().await, running.unix().await);
    drips.write_all(b"GET /livez HTTP/1.1\r\nA: ").await.unwrap();
    let mut buffer = [0; 4096];
    for stream in [&mut idles, &mut drips_later] {
        stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
    }
    drips_later.write_all(b"GET /li").await.unwrap();
    assert_eq!(silent.read(&mut buffer).await.unwrap_or(0), 0);
    assert_eq!(began.elapsed().as_secs(), 5);
    let mut rest = Vec::new();
    let _ = drips.read_to_end(&mut rest).await;
    let _ = drips_later.read_to_end(&mut rest).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(idles.read(&mut buffer).await.unwrap_or(0), 0);
    assert!((75..=150).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Sends a request and reads its answer, of which the connection lives on.
async fn asked(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn places(connections: usize) -> ServeOptions {
    ServeOptions { capacity: Capacity::new(connections, 1_024), ..ServeOptions::default() }
}

#[tokio::test]
async fn where_there_is_no_place_left_who_idles_the_longest_goes_and_nobody_waits() {
    let running = Running::start_with(House::new(&["pay"]).open().await, places(2)).await;
    let (mut first, mut second) = (running.unix().await, running.unix().await);
    assert!(asked(&mut first, "/livez").await.ends_with("ok\n"));
    assert!(asked(&mut second, "/livez").await.ends_with("ok\n"));
    let mut third = running.unix().await;
    assert!(asked(&mut third, "/livez").await.ends_with("ok\n"));
    assert_eq!(first.read(&mut [0; 16]).await.unwrap(), 0, "closed, to make room");
    assert!(asked(&mut second, "/livez").await.ends_with("ok\n"));
    assert!(running.metrics.encode().contains("sidekey_connections_ended_total{reason=\"displaced\"} 1"));
}

#[tokio::test]
async fn who_has_only_probed_goes_before_who_was_let_in() {
    let running = Running::start_with(House::new(&["pay"]).open().await, places(2)).await;
    let (mut first, mut probes) = (running.unix().await, running.unix().await);
    assert!(asked(&mut first, "/v1/vaults").await.starts_with("HTTP/1.1 200"));
    assert!(asked(&mut probes, "/livez").await.ends_with("ok\n"));
    let mut third = running.unix().await;
    assert!(asked(&mut third, "/livez").await.ends_with("ok\n"));
    assert_eq!(probes.read(&mut [0; 16]).await.unwrap(), 0, "closed, to make room");
    assert!(asked(&mut first, "/v1/vaults").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn of_a_crowd_that_comes_at_once_tcp_takes_all_in_turn_and_the_socket_counts_whom_it_refuses() {
    const CROWD: usize = 100;
    let refused = |running: &Running| {
        let start = "sidekey_connections_ended_total{reason=\"refused\"} ";
        let text = running.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(start)?.parse::<usize>().ok()).unwrap_or(0)
    };
    // All on one thread: nobody accepts while these connect.
    let running = Running::start_with(House::new(&["pay"]).open().await, places(2)).await;
    let ask = format!("GET /livez HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", running.port);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", running.port)).unwrap();
            std::io::Write::write_all(&mut stream, ask.as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            TcpStream::from_std(stream).unwrap()
        })
        .collect();
    for mut stream in crowd {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert_eq!(refused(&running), 0);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&running.socket).unwrap();
            std::io::Write::write_all(&mut stream, ask.as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            UnixStream::from_std(stream).unwrap()
        })
        .collect();
    let mut unanswered = 0;
    for mut stream in crowd {
        let mut answer = [0; 12];
        unanswered += usize::from(stream.read_exact(&mut answer).await.is_err());
    }
    assert_eq!(refused(&running), unanswered);
    assert!((1..CROWD).contains(&unanswered), "{unanswered} of {CROWD}");
}

#[tokio::test]
async fn who_asks_in_the_moment_in_which_it_is_to_make_room_is_answered() {
    let running = Running::start_with(House::new(&["pay"]).open().await, places(2)).await;
    for _ in 0..200 {
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut stream = running.unix().await;
            assert!(asked(&mut stream, "/livez").await.ends_with("ok\n"));
            idle.push(stream);
        }
        // All before the server has its turn.
        let _comes = std::os::unix::net::UnixStream::connect(&running.socket).unwrap();
        for stream in &idle {
            stream.try_write(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
        }
        for stream in &mut idle {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_now_and_then_is_never_one_that_idles() {
    let running = Running::start(House::new(&["pay"]).open().await).await;
    let mut stream = running.unix().await;
    for _ in 0..20 {
        assert!(asked(&mut stream, "/livez").await.ends_with("ok\n"));
        tokio::time::sleep(Duration::from_secs(70)).await;
    }
}

#[tokio::test]
async fn whoever_fills_tcp_keeps_nobody_out_of_the_socket() {
    let running = Running::start_with(House::new(&["pay"]).open().await, places(4)).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = running.tcp().await;
        assert!(asked(&mut stream, "/livez").await.starts_with("HTTP/1.1 421"));
        held.push(stream);
    }
    for _ in 0..2 {
        let mut other = running.unix().await;
        assert!(asked(&mut other, "/livez").await.ends_with("ok\n"));
        held.push(running.tcp().await);
    }
}

#[tokio::test]
async fn while_every_place_is_busy_probes_are_answered_and_others_told_to_come_back() {
    let mut house = House::new(&["pay"]);
    house.set("pay", "slow", "worth-waiting");
    let (reached, released) = house.gate("slow");
    let running = Running::start_with(house.open().await, places(2)).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = running.unix().await;
        stream.write_all(b"GET /v1/secrets/slow HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
        busy.push(stream);
    }
    reached.notified().await;
    for _ in 0..3 {
        for (path, status) in [("/livez", 200), ("/readyz", 200), ("/readyz?verbose", 503), ("/v1/secrets/slow", 503)] {
            let mut stream = running.unix().await;
            stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains("connection: close"),
                "{answer}"
            );
            let refused = answer.contains("\"code\":\"overloaded\"") && answer.contains("retry-after: 1\r");
            assert_eq!(refused, status == 503, "{answer}");
        }
    }
    // Another party has its share, though all places are busy: one of the two is cut.
    let mut tcp = running.tcp().await;
    assert!(asked(&mut tcp, "/livez").await.starts_with("HTTP/1.1 421"));
    released.notify_one();
    let mut answers = Vec::new();
    for mut stream in busy {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answers.push(answer.ends_with("worth-waiting"));
    }
    answers.sort_unstable();
    assert_eq!(answers, [false, true]);
}

#[tokio::test]
async fn requests_that_wait_are_bounded_and_a_value_that_is_held_never_waits_with_them() {
    let mut house = House::new(&["pay"]);
    house.set("pay", "slow", "worth-waiting");
    house.set("pay", "held", "at-hand");
    let (reached, released) = house.gate("slow");
    let options = ServeOptions { capacity: Capacity::new(16, 2), ..ServeOptions::default() };
    let running = Running::start_with(house.open().await, options).await;
    let mut good = running.unix().await;
    assert!(asked(&mut good, "/v1/secrets/held").await.ends_with("at-hand"));
    let mut waits = running.unix().await;
    waits.write_all(b"GET /v1/secrets/slow HTTP/1.1\r\n\r\n").await.unwrap();
    reached.notified().await;
    let mut more = running.unix().await;
    for _ in 0..3 {
        let answer = asked(&mut more, "/v1/secrets/slow").await;
        assert!(answer.contains("\"code\":\"overloaded\"") && answer.contains("retry-after: 1\r"), "{answer}");
        assert!(asked(&mut good, "/v1/secrets/held").await.ends_with("at-hand"));
    }
    released.notify_one();
    let mut buffer = [0; 4096];
    let length = waits.read(&mut buffer).await.unwrap();
    assert!(buffer[..length].ends_with(b"worth-waiting"));
    assert!(asked(&mut more, "/v1/secrets/slow").await.ends_with("worth-waiting"), "it has its place back");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_waited_for_ten_seconds() {
    let running = Running::start(House::new(&["pay"]).open().await).await;
    let began = tokio::time::Instant::now();
    let mut drips = running.unix().await;
    let head = "POST /v1/resolve HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length";
    drips.write_all(format!("{head}: 20\r\n\r\n{{\"refs\"").as_bytes()).await.unwrap();
    let mut answer = String::new();
    drips.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"code\":\"too-slow\""), "{answer}");
    assert_eq!(began.elapsed().as_secs(), 10);

    // One that says itself that it is too large is not waited for at all.
    let mut large = running.unix().await;
    large.write_all(format!("{head}: 99999999999\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    large.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_asks_and_does_not_take_the_answers_is_let_go() {
    let house = House::new(&["pay"]);
    house.set("pay", "large", vec![b'x'; 24 * 1024]);
    let running = Running::start(house.open().await).await;
    let began = tokio::time::Instant::now();
    let mut takes_nothing = running.unix().await;
    let asked = b"GET /v1/secrets/large HTTP/1.1\r\n\r\n".repeat(10_000);
    // Ends when the connection is cut: it never takes all of these.
    assert!(takes_nothing.write_all(&asked).await.is_err());
    assert_eq!(began.elapsed().as_secs(), 10);
}
