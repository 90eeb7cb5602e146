//! What the parts of a hit cost by themselves, in one thread, without a network: who asks, whether they may, the value in the
//! cache, the answer around it, the line in the audit. `cargo bench --bench parts [-- WORD]`.
#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, criterion_group, criterion_main};
use sidekey::access::audit::{Audit, Book, FileSink, Freshness, Line, Names, Operation, Served};
use sidekey::access::{Access, AccessSettings, Caller, Client, Peer, Verb};
use sidekey::api::{State, router};
use sidekey::broker::{Ask, Broker, BrokerOptions};
use sidekey::cache::Key;
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::clock::Moment;
use sidekey::metrics::Metrics;
use sidekey::secret::{Reference, SecretName, SecretValue, VaultName, Version};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use zeroizing_alloc::ZeroAlloc;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// Values that are held.
const NAMES: usize = 1_000;
/// Clients that are configured; the one that asks is the last.
const CLIENTS: usize = 10;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn vault_name() -> VaultName {
    "pay".parse().expect("a name")
}

fn name(number: usize) -> SecretName {
    format!("secret-{number}").parse().expect("a name")
}

fn who(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let token = |number: usize| folder.path().join(format!("token-{number}"));
    let client = |number: usize| Client {
        name: format!("client-{number}"),
        uid: Some(20_000 + u32::try_from(number).expect("few")),
        read: vec![
            format!("pay/team-{number}-*").parse().expect("a pattern"),
            "pay/secret-*".parse().expect("a pattern"),
        ],
        ..Client::default()
    };
    let by_token = |number: usize| Client { uid: None, token_file: Some(token(number)), ..client(number) };
    let of = |clients: Vec<Client>| Access::load(&AccessSettings { clients, token_file: None }).expect("clients");
    let (peers, tokens) = (of((0..CLIENTS).map(client).collect()), of((0..CLIENTS).map(by_token).collect()));
    let peer = Peer { uid: 20_000 + u32::try_from(CLIENTS - 1).expect("few"), gid: 1, groups: [].into() };
    let text = std::fs::read_to_string(token(CLIENTS - 1)).expect("a token");
    c.bench_function("who asks: by uid, one of ten", |b| b.iter(|| peers.of_peer(black_box(&peer)).is_some()));
    c.bench_function("who asks: by token, one of ten", |b| {
        b.iter(|| tokens.of_token(black_box(text.trim().as_bytes())).is_some());
    });
    let (caller, vault, name) = (peers.of_peer(&peer).expect("a client"), vault_name(), name(7));
    c.bench_function("whether they may: the second pattern", |b| {
        b.iter(|| caller.may(Verb::Read, black_box(&vault), black_box(&name)));
    });
}

/// A broker that holds all values.
fn broker(runtime: &Runtime) -> Broker {
    let vault = MemoryVault::new(VaultInfo::new("bench".parse().expect("a name"), vault_name()));
    (0..NAMES).for_each(|number| drop(vault.set(&name(number), vec![b'x'; 40], Attributes::default())));
    let source = MemorySource::new("bench".parse().expect("a name"), vec![Arc::new(vault) as Arc<dyn Vault>]);
    let catalog = Catalog::new(vec![Arc::new(source)], CatalogOptions::default());
    runtime.block_on(catalog.refresh(None));
    let broker = Broker::new(catalog, BrokerOptions::default(), Metrics::default());
    for number in 0..NAMES {
        let reference: Reference = format!("secret://pay/secret-{number}").parse().expect("a reference");
        runtime.block_on(broker.get(&Ask::from(&reference))).expect("a value");
    }
    broker
}

fn value(c: &mut Criterion) {
    let runtime = runtime();
    let broker = broker(&runtime);
    let keys: Vec<Key> =
        (0..NAMES).map(|n| Key { vault: "bench:pay".parse().expect("a name"), name: name(n), version: None }).collect();
    let mut number = 0;
    c.bench_function("the cache: one of a thousand, and its freshness", |b| {
        b.iter(|| {
            number = (number + 1) % NAMES;
            let held = broker.cache().peek(&keys[number]).expect("it is held");
            broker.cache().freshness(&held, Moment::now())
        });
    });
    let sealed = SecretValue::new(vec![b'x'; 40]);
    c.bench_function("the value: opened and wiped, 40 bytes", |b| b.iter(|| black_box(sealed.expose()).len()));
    let router = router(State::new(broker, Metrics::default()));
    for (what, accept) in [("the value alone", "*/*"), ("JSON", "application/json")] {
        c.bench_function(&format!("the answer, router and all: {what}"), |b| {
            b.iter(|| {
                let request = Request::get("/v1/vaults/pay/secrets/secret-7").header("accept", accept);
                let request = request.body(Body::empty()).expect("a request");
                let answer = runtime.block_on(router.clone().oneshot(request)).expect("an answer");
                assert!(answer.status().is_success());
                answer
            });
        });
    }
}

fn audit(c: &mut Criterion) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("a folder"));
    let metrics = Metrics::default();
    let sink = FileSink::open(&folder.path().join("audit.log"), 8 << 20, 1).expect("a file");
    let audit = Audit::from(Book::on(sink, Names::default(), false, &metrics).expect("a thread"));
    let (caller, vault, name) = (Caller::in_process(), vault_name(), name(7));
    let version: Version = "0b31729e2750416caba40429a1f3bea4".parse().expect("a version");
    let line = Line {
        request: "5f0c1a2b-1f",
        caller: Some(&caller),
        peer: None,
        from: None,
        operation: Operation::Read,
        vault: Some(&vault),
        name: Some(&name),
        version: None,
        outcome: "ok",
        served: Some(Served { version: Some(&version), freshness: Freshness::Fresh, age: Duration::from_secs(12) }),
        searched: None,
    };
    c.bench_function("the audit: a line, as the reader pays for it", |b| {
        b.iter(|| runtime.block_on(audit.record(black_box(&line))).is_ok());
    });
}

criterion_group!(parts, who, value, audit);
criterion_main!(parts);
