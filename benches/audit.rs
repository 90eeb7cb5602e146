//! How many lines a second the audit takes, where the record is required and where it is not, against a plain loop that
//! writes one line a call; and what a line costs its reader. `cargo bench --bench audit` takes about ten seconds.
#![allow(missing_docs, clippy::print_stdout, reason = "it is a program that prints")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use sidekey::access::audit::{Audit, Book, FileSink, Freshness, Line, Names, Operation, Served};
use sidekey::access::{Access, Caller, Peer};
use sidekey::metrics::Metrics;
use sidekey::secret::{SecretName, VaultName, Version};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

const READERS: usize = 64;
const ROUND: Duration = Duration::from_secs(1);
const MAX_SIZE: u64 = 64 * 1024 * 1024;

fn main() {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let file = folder.path().join("audit.log");
    let plain = plain_loop(&folder.path().join("plain.log"));
    println!("{READERS} readers on 2 threads, {} ms each, one line {} bytes", ROUND.as_millis(), line_length());
    println!("a plain loop, one write a line       {plain:>10.0} lines/s");
    for (name, required, hashed) in [
        ("not required", false, false),
        ("not required, names hashed", false, true),
        ("required", true, false),
        ("required, names hashed", true, true),
    ] {
        let metrics = Metrics::default();
        let names = if hashed { Names::hashed(&folder.path().join("key")).expect("a key") } else { Names::default() };
        let sink = FileSink::open(&file, MAX_SIZE, 1).expect("a file");
        let audit = Audit::from(Book::on(sink, names, required, &metrics).expect("a thread"));
        let (rate, flushed) = readers(&runtime, &audit);
        let lost = metrics.encode().lines().filter(|line| line.contains("outcome=\"lost\"")).collect::<String>();
        println!("{name:<36} {rate:>10.0} lines/s, {flushed:>5.1} ms to the end of it  {lost}");
    }
}

/// Lines a second of as many readers at once as there are, and how long the last of it took to be written.
fn readers(runtime: &Runtime, audit: &Audit) -> (f64, f64) {
    runtime.block_on(async {
        let mut readers = JoinSet::new();
        let began = Instant::now();
        for _ in 0..READERS {
            let audit = audit.clone();
            readers.spawn(async move {
                let (caller, vault, name, version) = parts();
                let mut count = 0_u32;
                while began.elapsed() < ROUND {
                    audit.record(&line(&caller, &vault, &name, &version)).await.expect("a line");
                    count += 1;
                    // As a reader's connection does between two requests.
                    tokio::task::yield_now().await;
                }
                count
            });
        }
        let mut all = 0;
        while let Some(count) = readers.join_next().await {
            all += count.expect("a reader that ends");
        }
        let rate = f64::from(all) / began.elapsed().as_secs_f64();
        let ended = Instant::now();
        audit.flush().await;
        (rate, ended.elapsed().as_secs_f64() * 1e3)
    })
}

fn plain_loop(path: &Path) -> f64 {
    let mut file = File::create(path).expect("a file");
    let text = vec![b'x'; line_length()];
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < ROUND {
        file.write_all(&text).expect("room");
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn line_length() -> usize {
    let (metrics, folder) = (Metrics::default(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("one.log");
    let sink = FileSink::open(&path, 0, 1).expect("a file");
    let audit = Audit::from(Book::on(sink, Names::default(), true, &metrics).expect("a thread"));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (caller, vault, name, version) = parts();
    runtime.block_on(audit.record(&line(&caller, &vault, &name, &version))).expect("a line");
    std::fs::read(path).expect("the file").len()
}

fn parts() -> (Caller, VaultName, SecretName, Version) {
    let version = "0b31729e2750416caba40429a1f3bea4".parse().expect("a version");
    let peer = Peer { uid: 1001, gid: 1001, groups: [].into() };
    let caller = Access::from(None).of_peer(&peer).expect("a caller");
    (caller, "pay-prod".parse().expect("a name"), "db-password".parse().expect("a name"), version)
}

fn line<'a>(caller: &'a Caller, vault: &'a VaultName, name: &'a SecretName, version: &'a Version) -> Line<'a> {
    Line {
        request: "5f0c1a2b-1f",
        caller: Some(caller),
        peer: None,
        from: None,
        operation: Operation::Read,
        vault: Some(vault),
        name: Some(name),
        version: None,
        outcome: "ok",
        served: Some(Served { version: Some(version), freshness: Freshness::Fresh, age: Duration::from_secs(12) }),
        searched: None,
    }
}
