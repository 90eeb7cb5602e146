use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

use crate::access::{Access, AccessSettings, Client, Peer};
use crate::api::server::serve_one;
use crate::api::{Api, Connection, Guard, State};
use crate::broker::{Broker, BrokerOptions};
use crate::metrics::Metrics;
use crate::vaults::memory::Attributes;

const VAULT: &str = "vlt7c0de";
const NAME: &str = "nm9c0de-password";
const VALUE: &str = "Qm4rk-current-value";
/// What nobody is given who does not name a version, asks for a disabled secret, or for one that is deleted.
const NEVER: &[&str] = &["Qm4rk-older", "Qm4rk-disabled", "Qm4rk-deleted"];
const PORT: u16 = 7733;

thread_local! {
    static HOUSE: House = {
        let runtime = super::runtime();
        let api = runtime.block_on(house());
        House { runtime, api, everything: Guard::new(None), nothing: Guard::new(nothing()) }
    };
}

struct House {
    runtime: Runtime,
    api: Api,
    /// Whoever comes through the socket may do everything, and over TCP nobody is known.
    everything: Guard,
    /// Who comes through the socket is known, and may read what there is none of.
    nothing: Guard,
}

fn nothing() -> Access {
    let read = vec!["another/*".parse().expect("a pattern")];
    let client = Client { name: "fuzz".to_owned(), uid: Some(1000), read, ..Client::default() };
    Access::load(&AccessSettings { clients: vec![client], token_file: None }).expect("a client without a token")
}

/// What a caller does when all is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Says that no more comes, and reads to the end.
    HalfClosed,
    /// Says nothing, and reads to the end.
    HeldOpen,
    /// Goes away after a minute: a stream of events goes on while its reader is there.
    Left,
}

/// Bytes on a connection, after one that tells which: over TCP without a token, or through the socket, for whom everything
/// or next to nothing is granted; with an end, or held open. Every answer is one of ours, none is a 500, and each
/// connection comes to its end. To whom nothing is granted, not one name or value comes out.
pub fn service(input: &[u8]) {
    let Some((kind, sent)) = input.split_first() else { return };
    let by_tcp = kind & 1 == 0;
    let how = match (memchr::memmem::find(sent, b"watch"), kind & 2) {
        (Some(_), _) => How::Left,
        (None, 0) => How::HalfClosed,
        (None, _) => How::HeldOpen,
    };
    let granted = !by_tcp && kind & 4 == 0;
    let connection = match by_tcp {
        true => Connection::Tcp { port: PORT },
        false => Connection::Unix(Some(Peer { uid: 1000, gid: 1000, groups: [].into() })),
    };
    let answer = HOUSE.with(|house| {
        let guard = if granted || by_tcp { house.everything.clone() } else { house.nothing.clone() };
        house.runtime.block_on(exchange(house.api.clone(), guard, connection, sent, how))
    });
    let holds = |what: &str| memchr::memmem::find(&answer, what.as_bytes()).is_some();
    let told = |what: &str| holds(what) && memchr::memmem::find(sent, what.as_bytes()).is_none();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "an answer that is no HTTP");
    assert!(!holds("HTTP/1.1 500"), "a request has met a fault of ours");
    let (good, guarded) = (count(&answer, b"HTTP/1.1 2"), count(&answer, b"x-content-type-options: nosniff\r\n"));
    assert!(guarded >= good, "an answer leaves without the headers that every answer carries");
    NEVER.iter().for_each(|value| assert!(!told(value), "{value} comes out"));
    if !granted {
        [VALUE, NAME, VAULT].iter().for_each(|mark| assert!(!told(mark), "{mark} comes out without a right to it"));
    }
}

/// What comes back until the connection ends.
async fn exchange(api: Api, guard: Guard, connection: Connection, sent: &[u8], how: How) -> Vec<u8> {
    let (here, there) = tokio::io::duplex(16 * 1024);
    let serving = serve_one(there, connection, api, guard, Metrics::default());
    let (mut reader, mut writer) = tokio::io::split(here);
    let talking = async {
        let mut answer = Vec::new();
        let writing = async {
            // The other side may close whenever it has had enough.
            if writer.write_all(sent).await.is_ok() && how != How::HeldOpen {
                let _ = writer.shutdown().await;
            }
        };
        let both = async { tokio::join!(reader.read_to_end(&mut answer), writing) };
        match how {
            How::Left => drop(tokio::time::timeout(Duration::from_secs(60), both).await),
            How::HalfClosed | How::HeldOpen => drop(both.await),
        }
        drop((reader, writer));
        answer
    };
    let both = async { tokio::join!(talking, serving).0 };
    tokio::time::timeout(Duration::from_secs(3_600), both).await.expect("a connection ends within the hour")
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}

async fn house() -> Api {
    let vault = super::vault(VAULT);
    for value in ["Qm4rk-older", VALUE] {
        super::set(&vault, NAME, value, Attributes::default());
    }
    super::set(&vault, "off", "Qm4rk-disabled", Attributes { enabled: false, ..Attributes::default() });
    super::set(&vault, "gone", "Qm4rk-deleted", Attributes::default());
    vault.delete(&"gone".parse().expect("a name"));
    let broker = Broker::new(super::listed(vec![vault]).await, BrokerOptions::default(), Metrics::default());
    Api::new(State::new(broker, Metrics::default()))
}
