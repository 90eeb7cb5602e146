//! What must hold of any bytes that stand where a snapshot is expected.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use time::macros::datetime;
use zeroize::Zeroizing;

use super::{Bounds, Contents, Key, KnownValue, KnownVault, document, seal};
use crate::secret::{Metadata, Secret, SecretName, SecretValue};
use crate::vaults::VaultInfo;

static KEY: LazyLock<Key> = LazyLock::new(|| {
    Key::parse(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("32 bytes in base64 are a key")
});
static OURS: LazyLock<seal::Identity> = LazyLock::new(|| seal::Identity::of(b"ours"));
static SEALED: LazyLock<Zeroizing<Vec<u8>>> = LazyLock::new(|| sealed(&contents()));

/// Bytes as a whole file, as what is sealed in one, and as changes to a good file: nothing that was not sealed is ever
/// opened, and what is read is written and read again as the same.
pub fn snapshot(input: &[u8]) {
    assert!(open(input.to_vec()).is_err(), "a file that nobody sealed was opened");
    let good = open(SEALED.to_vec()).expect("what was sealed is opened");
    assert_eq!(document_of(&good), document_of(&contents()), "what was sealed came back as something else");

    let changed = changed(input);
    assert!(changed == **SEALED || open(changed).is_err(), "a changed file was opened");

    let Some(read) = document::decode(input) else { return };
    let written = document_of(&read);
    let again = document::decode(&written).expect("what was written is read");
    assert_eq!(document_of(&again), written, "what was read is written as something else");
    let reopened = open(sealed(&read).to_vec()).expect("what was sealed is opened");
    assert_eq!(document_of(&reopened), written);

    let bounds = Bounds { max_age: Duration::from_secs(14 * 24 * 3600), max_stale: Duration::from_secs(24 * 3600) };
    let (taken, all) = (read.taken, read.values.len());
    for now in [taken, datetime!(2026-01-31 12:00 UTC)] {
        let again = document::decode(&written).expect("what was written is read");
        let Ok(restored) = again.within(bounds, now) else { continue };
        assert_eq!(restored.contents.values.len() + restored.too_old, all, "a value is neither kept nor counted");
        for value in &restored.contents.values {
            assert!(restored.age(value.confirmed) < bounds.max_stale, "a value is kept that is too old");
        }
    }
}

/// The good file, changed: three bytes are a place and what is turned over there; an odd byte at the end cuts it short.
fn changed(input: &[u8]) -> Vec<u8> {
    let mut file = SEALED.to_vec();
    let mut changes = input.chunks_exact(3);
    for change in &mut changes {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        match file.get_mut(place) {
            Some(byte) => *byte ^= change[2],
            None => file.push(change[2]),
        }
    }
    if let [cut, ..] = changes.remainder() {
        file.truncate(file.len().saturating_sub(usize::from(*cut)));
    }
    file
}

fn sealed(contents: &Contents) -> Zeroizing<Vec<u8>> {
    seal::seal(&KEY, &OURS, contents).unwrap_or_else(|seal::NoRandom| panic!("the system gives no random bytes"))
}

fn open(mut file: Vec<u8>) -> Result<Contents, seal::Refused> {
    seal::open(&KEY, &OURS, &mut file)
}

fn document_of(contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    document::encode(contents, &mut bytes);
    assert_eq!(bytes.len(), document::length(contents), "the length that was counted is another");
    bytes
}

fn contents() -> Contents {
    let at = datetime!(2026-01-31 11:00 UTC);
    let name: SecretName = "db-password".parse().expect("a name");
    let metadata = Metadata {
        version: Some("0b31729e2750416caba40429a1f3bea4".parse().expect("a version")),
        expires: Some(at),
        updated: Some(at),
        content_type: Some("text/plain".to_owned()),
        tags: [("team".to_owned(), "pay".to_owned())].into(),
        ..Metadata::new(name.clone())
    };
    let info = VaultInfo::new("prod".parse().expect("a name"), "pay".parse().expect("a name"));
    let vault = info.id();
    let secret = Arc::new(Secret { metadata: metadata.clone(), value: SecretValue::new("hunter2") });
    Contents {
        taken: at,
        vaults: vec![KnownVault { info, listed: Some(at), secrets: vec![metadata] }],
        values: vec![KnownValue { vault, name, version: None, secret, confirmed: at, settled: true }],
    }
}
