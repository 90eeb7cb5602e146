use std::fs::{self, File, Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use sidekey::snapshot::{Aside, MAX_BYTES, ReadError};

use super::{BOUNDS, Place, TAKEN, VALUE, holding_only, only_text, put, sample};

#[test]
fn without_a_file_there_is_nothing_and_nothing_is_made() {
    let place = Place::new();
    assert!(place.snapshot().read(TAKEN, BOUNDS).unwrap().is_none());
    assert!(!place.file().exists());
}

#[test]
fn a_damaged_file_is_put_aside_once_and_the_next_start_has_none() {
    let place = Place::holding(&sample());
    for damage in ["first damage", "second damage"] {
        put(&place.file(), damage.as_bytes());
        let read = place.snapshot().read(TAKEN, BOUNDS);
        let Err(ReadError::Damaged { aside: Aside::Moved(aside), .. }) = &read else { panic!("{read:?}") };
        assert_eq!(fs::read_to_string(aside).unwrap(), damage, "the last one is kept");
        assert_eq!(place.names(), ["snapshot.corrupt"]);
        assert!(place.snapshot().read(TAKEN, BOUNDS).unwrap().is_none());
    }
    place.snapshot().write(&sample()).unwrap();
    place.read();
}

#[test]
fn a_damaged_file_that_cannot_be_moved_is_told_at_every_start_and_can_be_replaced() {
    let place = Place::holding(&sample());
    fs::create_dir(place.file().with_file_name("snapshot.corrupt")).unwrap();
    put(&place.file(), b"damage");
    for _ in 0..2 {
        let read = place.snapshot().read(TAKEN, BOUNDS);
        assert!(matches!(&read, Err(ReadError::Damaged { aside: Aside::Stuck(_), .. })), "{read:?}");
    }
    place.snapshot().write(&holding_only(VALUE)).unwrap();
    assert_eq!(only_text(&place.read().contents), VALUE);
}

#[test]
fn what_is_too_large_to_be_a_snapshot_is_not_read() {
    let place = Place::holding(&sample());
    File::options().write(true).open(place.file()).unwrap().set_len(MAX_BYTES as u64 + 1).unwrap();
    let error = place.snapshot().read(TAKEN, BOUNDS).unwrap_err();
    assert!(error.to_string().contains("is larger than any snapshot"), "{error}");
}

#[test]
fn a_newer_format_is_left_for_the_newer_sidekey() {
    let place = Place::holding(&sample());
    let mut bytes = fs::read(place.file()).unwrap();
    bytes[17] = 2;
    put(&place.file(), &bytes);
    let read = place.snapshot().read(TAKEN, BOUNDS);
    assert!(matches!(read, Err(ReadError::Newer { format: 2, .. })), "{read:?}");
    assert_eq!(fs::read(place.file()).unwrap(), bytes);
}

#[test]
fn what_others_could_have_put_there_is_not_read_and_not_touched() {
    let place = Place::holding(&sample());
    let refused = |what: &str| {
        let read = place.snapshot().read(TAKEN, BOUNDS);
        assert!(matches!(read, Err(ReadError::Untrusted { .. })), "{what}: {read:?}");
    };
    for mode in [0o604, 0o602, 0o601] {
        set_permissions(place.file(), Permissions::from_mode(mode)).unwrap();
        refused("open to all");
    }
    // What a volume's group does to it.
    set_permissions(place.file(), Permissions::from_mode(0o660)).unwrap();
    place.read();
    let elsewhere = place.folder.path().join("elsewhere");
    fs::rename(place.file(), &elsewhere).unwrap();
    symlink(&elsewhere, place.file()).unwrap();
    refused("a link");
    fs::remove_file(place.file()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.file(), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    refused("a pipe");
    fs::remove_file(place.file()).unwrap();
    fs::rename(&elsewhere, place.file()).unwrap();
    if chown(place.file(), Some(12_345), None).is_ok() {
        refused("another user's");
    }
    assert_eq!(place.names(), ["snapshot"]);
}
