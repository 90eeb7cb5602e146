//! What a snapshot costs: time and size of a write and a read, of 1,000 values of 100 bytes and with 100,000 names beside
//! them. `cargo bench --bench snapshot [-- FOLDER]`: on that folder's disk rather than the temporary one's.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::sync::Arc;
use std::time::Duration;

use sidekey::secret::{Metadata, Secret, SecretValue};
use sidekey::snapshot::{Bounds, Contents, Key, KnownValue, KnownVault, Snapshot};
use sidekey::vaults::VaultInfo;
use time::OffsetDateTime;
use tokio::time::Instant;

const ROUNDS: usize = 20;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let place = if folder.is_empty() { tempfile::tempdir() } else { tempfile::tempdir_in(folder) }.unwrap();
    let key = Key::load_or_create(&place.path().join("key")).unwrap();
    let snapshot = Snapshot::new(place.path().join("snapshot"), key, b"bench");
    for (values, vaults, names) in [(1_000, 1, 0), (1_000, 500, 200)] {
        measure(&snapshot, values, vaults, names);
    }
}

fn measure(snapshot: &Snapshot, values: usize, vaults: usize, names: usize) {
    let contents = contents(values, vaults, names);
    let bounds = Bounds { max_age: Duration::MAX, max_stale: Duration::MAX };
    let mut bytes = 0;
    let write = median(|| bytes = snapshot.write(&contents).unwrap());
    let read = median(|| {
        let restored = snapshot.read(contents.taken, bounds).unwrap().unwrap();
        assert_eq!(restored.contents.values.len(), values);
    });
    println!(
        "{values} values of 100 bytes, {} names: {bytes} bytes; write {write:.1?}, sync included; read {read:.1?}",
        vaults * names
    );
}

fn median(mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let before = Instant::now();
            act();
            before.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn contents(values: usize, vaults: usize, names: usize) -> Contents {
    let taken = OffsetDateTime::now_utc();
    let metadata = |name: String| Metadata {
        version: Some("00112233445566778899aabbccddeeff".parse().unwrap()),
        created: Some(taken.replace_nanosecond(0).unwrap()),
        updated: Some(taken.replace_nanosecond(0).unwrap()),
        tags: [("team".to_owned(), "pay".to_owned())].into(),
        ..Metadata::new(name.parse().unwrap())
    };
    let value = |index: usize| KnownValue {
        vault: "prod:vault-0".parse().unwrap(),
        name: format!("orders-redis-password-{index}").parse().unwrap(),
        version: None,
        secret: Arc::new(Secret {
            metadata: metadata(format!("orders-redis-password-{index}")),
            value: SecretValue::new(vec![b'x'; 100]),
        }),
        confirmed: taken,
        settled: true,
    };
    let vault = |index: usize| KnownVault {
        info: VaultInfo::new("prod".parse().unwrap(), format!("vault-{index}").parse().unwrap()),
        listed: Some(taken),
        secrets: (0..names).map(|name| metadata(format!("orders-redis-password-{name}"))).collect(),
    };
    Contents { taken, vaults: (0..vaults).map(vault).collect(), values: (0..values).map(value).collect() }
}
