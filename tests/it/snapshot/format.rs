use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
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
    let bits = fs::read(place.file()).unwrap().len() * 8;
    assert_eq!(flip(&place, 0..bits), bits);
}

#[test]
#[ignore = "minutes; tests/snapshot-crash.sh runs it: the same for 64 KiB"]
fn every_flipped_bit_of_64_kib_is_rejected() {
    const BITS: usize = 65_536 * 8;
    let contents = holding_only(&"x".repeat(65_536 - 152));
    let threads = std::thread::available_parallelism().unwrap().get();
    let rejected: usize = std::thread::scope(|scope| {
        let parts = (0..threads).map(|part| {
            let contents = &contents;
            scope.spawn(move || flip(&Place::holding(contents), BITS * part / threads..BITS * (part + 1) / threads))
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    println!("{rejected} flipped bits rejected");
    assert_eq!(rejected, BITS);
}

/// Flips each of these bits by itself, and counts how often the file was refused for it.
fn flip(place: &Place, bits: Range<usize>) -> usize {
    let snapshot = place.snapshot();
    let aside = place.file().with_file_name("snapshot.corrupt");
    let good = fs::read(place.file()).unwrap();
    let file = File::options().write(true).open(place.file()).unwrap();
    let mut rejected = 0;
    for bit in bits {
        let at = bit / 8;
        file.write_all_at(&[good[at] ^ (1 << (bit % 8))], at as u64).unwrap();
        match snapshot.read(TAKEN, BOUNDS) {
            Err(ReadError::Damaged { .. }) => fs::rename(&aside, place.file()).unwrap(),
            // The two bytes that tell the format stand before anything that could be checked.
            Err(ReadError::Newer { .. }) if (16..18).contains(&at) => {}
            other => panic!("bit {bit} of {}: {other:?}", good.len() * 8),
        }
        rejected += 1;
        file.write_all_at(&good[at..=at], at as u64).unwrap();
    }
    assert!(snapshot.read(TAKEN, BOUNDS).is_ok());
    rejected
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
