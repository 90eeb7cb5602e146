//! The snapshot: what comes back, what is refused, and what a disk or a kill may do to it.

mod bounds;
mod crash;
mod format;
mod key;
mod read;
mod strace;
mod taken_in;
mod write;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidekey::secret::{Metadata, Secret, SecretValue};
use sidekey::snapshot::{Bounds, Contents, Key, KnownValue, KnownVault, Restored, Snapshot};
use sidekey::vaults::VaultInfo;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;

const TAKEN: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const BOUNDS: Bounds = Bounds { max_age: Duration::from_secs(72 * 3_600), max_stale: Duration::from_secs(24 * 3_600) };
const IDENTITY: &[u8] = b"prod tenant-1 client-1 public";

/// Values that nothing else looks like.
const VALUE: &str = "canary-value-7d1f";
const VERSION: &str = "00112233445566778899aabbccddeeff";

/// A folder with a snapshot and, apart from it, a key.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("kept/snapshot")
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("keys/key")
    }

    fn key(&self) -> Key {
        Key::load_or_create(&self.key_file()).unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.file(), self.key(), IDENTITY)
    }

    /// One with these contents written.
    fn holding(contents: &Contents) -> Self {
        let place = Self::new();
        place.snapshot().write(contents).unwrap();
        place
    }

    fn read(&self) -> Restored {
        self.snapshot().read(TAKEN, BOUNDS).unwrap().unwrap()
    }

    /// What stands beside the snapshot, it included.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path().join("kept"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Everything that can be told, told once; and one of which hardly anything is known.
fn sample() -> Contents {
    let full = Metadata {
        version: Some(VERSION.parse().unwrap()),
        enabled: false,
        not_before: Some(datetime!(1969-12-31 23:59:59 UTC)),
        expires: Some(datetime!(9999-12-31 23:59:59 UTC)),
        created: Some(datetime!(2020-02-29 00:00 UTC)),
        updated: Some(datetime!(2026-11-21 11:59:59.123456789 UTC)),
        content_type: Some("text/plain; é".to_owned()),
        tags: [("team".to_owned(), "pay".to_owned()), (String::new(), String::new())].into(),
        managed: true,
        ..Metadata::new("canary-name".parse().unwrap())
    };
    let bare = Metadata::new("bare".parse().unwrap());
    let vault = VaultInfo {
        source: "prod".parse().unwrap(),
        name: "canary-vault".parse().unwrap(),
        uri: Some("https://canary-vault.vault.azure.net".to_owned()),
        subscription: Some("sub".to_owned()),
        resource_group: Some("group".to_owned()),
        location: Some("westeurope".to_owned()),
        configured: true,
    };
    Contents {
        taken: TAKEN,
        vaults: vec![
            KnownVault { listed: Some(TAKEN - MINUTE), secrets: vec![full.clone(), bare.clone()], info: vault },
            KnownVault {
                info: VaultInfo::new("other".parse().unwrap(), "canary-vault".parse().unwrap()),
                listed: None,
                secrets: vec![],
            },
        ],
        values: vec![
            value("canary-name", None, full, VALUE.as_bytes(), TAKEN - MINUTE),
            value("canary-name", Some(VERSION), bare.clone(), b"", TAKEN),
            value("bytes", None, bare, &[0, 0xff, b'\n', 0x80], TAKEN - HOUR),
        ],
    }
}

/// One value, that text.
fn holding_only(text: &str) -> Contents {
    let metadata = Metadata::new("n".parse().unwrap());
    Contents { taken: TAKEN, vaults: vec![], values: vec![value("n", None, metadata, text.as_bytes(), TAKEN)] }
}

fn value(name: &str, version: Option<&str>, metadata: Metadata, bytes: &[u8], confirmed: OffsetDateTime) -> KnownValue {
    KnownValue {
        vault: "prod:canary-vault".parse().unwrap(),
        name: name.parse().unwrap(),
        version: version.map(|version| version.parse().unwrap()),
        secret: Arc::new(Secret { metadata, value: SecretValue::new(bytes) }),
        confirmed,
        settled: false,
    }
}

#[track_caller]
fn assert_same(found: &Contents, expected: &Contents) {
    assert_eq!(found.taken, expected.taken);
    assert_eq!(found.vaults, expected.vaults);
    let told = |contents: &Contents| -> Vec<_> {
        contents
            .values
            .iter()
            .map(|known| {
                let secret = &known.secret;
                let key = (known.vault.clone(), known.name.clone(), known.version.clone());
                (key, known.confirmed, known.settled, secret.metadata.clone(), secret.value.expose().to_vec())
            })
            .collect()
    };
    assert_eq!(told(found), told(expected));
}

/// The text of the only value.
fn only_text(contents: &Contents) -> String {
    assert_eq!(contents.values.len(), 1);
    String::from_utf8(contents.values[0].secret.value.expose().to_vec()).unwrap()
}

/// A file that is ours alone.
fn put(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(bytes).unwrap();
}
