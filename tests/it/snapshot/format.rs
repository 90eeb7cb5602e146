use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;
use sidekey::snapshot::{Key, ReadError, Snapshot};

use super::{BOUNDS, IDENTITY, Place, TAKEN, VALUE, assert_same, holding_only, put, sample};

#[test]
fn what_was_written_is_read() {
    let place = Place::holding(&sample());
    let restored = place.read();
    assert_same(&restored.contents, &sample());
    assert!(restored.ages_known);
    assert_eq!(restored.too_old, 0);
    assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn nothing_can_be_read_without_the_key() {
    let place = Place::holding(&sample());
    let bytes = fs::read(place.file()).unwrap();
    for hidden in [VALUE, "canary-name", "canary-vault", "westeurope", "text/plain", "prod"] {
        let seen = bytes.windows(hidden.len()).any(|window| window.eq_ignore_ascii_case(hidden.as_bytes()));
        assert!(!seen, "{hidden} is in the file");
    }
    let other = Place::new();
    let stolen = Snapshot::new(place.file(), other.key(), IDENTITY);
    assert!(matches!(stolen.read(TAKEN, BOUNDS), Err(ReadError::Damaged { .. })));
}

#[test]
fn two_files_with_the_same_contents_have_nothing_in_common_but_magic_and_format() {
    let place = Place::holding(&sample());
    let first = fs::read(place.file()).unwrap();
    place.snapshot().write(&sample()).unwrap();
    let second = fs::read(place.file()).unwrap();
    assert_eq!(first[..18], second[..18]);
    for at in (18..first.len() - 8).step_by(8) {
        assert_ne!(first[at..at + 8], second[at..at + 8], "the same at byte {at}");
    }
}

#[test]
fn every_flipped_bit_is_rejected() {
    let place = Place::holding(&holding_only(VALUE));
    let good = fs::read(place.file()).unwrap();
    flip_every_bit(&place, &good);
}

#[test]
#[ignore = "half a minute: the same for 64 KiB"]
fn every_flipped_bit_of_64_kib_is_rejected() {
    let place = Place::holding(&holding_only(&"x".repeat(65_536 - 153)));
    let good = fs::read(place.file()).unwrap();
    assert!(good.len() >= 65_536, "{}", good.len());
    flip_every_bit(&place, &good);
}

fn flip_every_bit(place: &Place, good: &[u8]) {
    let snapshot = place.snapshot();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        put(&place.file(), &bytes);
        let read = snapshot.read(TAKEN, BOUNDS);
        match read {
            Err(ReadError::Damaged { .. }) => {}
            // The two bytes that tell the format stand before anything that could be checked.
            Err(ReadError::Newer { .. }) if (16..18).contains(&(bit / 8)) => {}
            other => panic!("bit {bit} of {}: {other:?}", good.len() * 8),
        }
    }
    put(&place.file(), good);
    assert!(snapshot.read(TAKEN, BOUNDS).is_ok());
}

#[test]
fn every_truncation_and_every_addition_is_rejected() {
    let place = Place::holding(&holding_only(VALUE));
    let good = fs::read(place.file()).unwrap();
    let longer = [&good[..], b"\0"].concat();
    for length in (0..good.len()).chain([longer.len()]) {
        put(&place.file(), &longer[..length]);
        let read = place.snapshot().read(TAKEN, BOUNDS);
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{length} of {} bytes: {read:?}", good.len());
    }
}

/// Today's format, as an earlier build wrote it: a change that no longer reads it is not a change of this format.
#[test]
fn a_snapshot_of_an_earlier_build_is_read() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshot/kept");
    let place = Place::new();
    for (from, to) in [("format-1.key", place.key_file()), ("format-1.snapshot", place.file())] {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        put(&to, &fs::read(kept.join(from)).unwrap());
    }
    assert_same(&place.read().contents, &sample());
}

#[test]
#[ignore = "makes the file that the test above reads; only for a new format"]
fn keep_a_snapshot_of_this_build() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshot/kept");
    let key = Key::load_or_create(&kept.join("format-1.key")).unwrap();
    Snapshot::new(kept.join("format-1.snapshot"), key, IDENTITY).write(&sample()).unwrap();
}

proptest! {
    #[test]
    fn whatever_stands_there_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0usize..=90) {
        let place = Place::holding(&holding_only(VALUE));
        let mut file = fs::read(place.file()).unwrap();
        file.truncate(start);
        file.extend_from_slice(&bytes);
        put(&place.file(), &file);
        prop_assert!(place.snapshot().read(TAKEN, BOUNDS).is_err());
    }
}
