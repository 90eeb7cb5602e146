use std::fs::{self, File};
use std::os::unix::fs::symlink;

use sidekey::snapshot::{Contents, WriteError};

use super::{BOUNDS, Place, TAKEN, VALUE, holding_only, only_text, put, sample, value};

#[test]
fn a_write_replaces_the_file_and_leaves_nothing_beside_it() {
    let place = Place::holding(&holding_only("old"));
    let bytes = place.snapshot().write(&holding_only("new")).unwrap();
    assert_eq!(only_text(&place.read().contents), "new");
    assert_eq!(place.names(), ["snapshot"]);
    assert_eq!(fs::metadata(place.file()).unwrap().len(), bytes as u64);
}

#[test]
fn what_a_killed_writer_left_is_cleared_away_and_nothing_else() {
    let place = Place::holding(&holding_only("old"));
    let beside = |name: &str| place.file().with_file_name(name);
    let others = [
        ".other.0123456789abcdef.draft",
        ".snapshot.0123456789abcdeg.draft",
        ".snapshot.0123456789abcde.draft",
        ".snapshot.0123456789abcdef.draft.bak",
        "snapshot.0123456789abcdef.draft",
    ];
    for name in others.iter().chain(&[".snapshot.0123456789abcdef.draft"]) {
        put(&beside(name), b"x");
    }
    // One that another sidecar is writing just now.
    let lively = ".snapshot.fedcba9876543210.draft";
    put(&beside(lively), b"x");
    let held = File::open(beside(lively)).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();

    place.snapshot().write(&holding_only("new")).unwrap();
    let mut expected: Vec<&str> = others.to_vec();
    expected.extend([lively, "snapshot"]);
    expected.sort_unstable();
    assert_eq!(place.names(), expected);
}

#[test]
fn a_link_in_its_place_is_replaced_and_what_it_points_to_is_not_touched() {
    let place = Place::holding(&holding_only("old"));
    let victim = place.folder.path().join("victim");
    put(&victim, b"untouched");
    fs::remove_file(place.file()).unwrap();
    symlink(&victim, place.file()).unwrap();
    place.snapshot().write(&holding_only(VALUE)).unwrap();
    assert_eq!(only_text(&place.read().contents), VALUE);
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
}

#[test]
fn a_folder_in_its_place_is_an_error_and_leaves_no_draft() {
    let place = Place::new();
    fs::create_dir_all(place.file()).unwrap();
    let error = place.snapshot().write(&sample()).unwrap_err();
    assert!(matches!(error, WriteError::Io { action: "putting its draft in place", .. }), "{error}");
    assert_eq!(place.names(), ["snapshot"]);
}

#[test]
fn many_values_and_large_ones_come_back() {
    let text = |index: usize| format!("{index}-").repeat(index * 7 % 9_000 / 3);
    let values = (0..1_000).map(|index| {
        let metadata = sidekey::secret::Metadata::new("n".parse().unwrap());
        value(&format!("n{index}"), None, metadata, text(index).as_bytes(), TAKEN)
    });
    let contents = Contents { taken: TAKEN, vaults: vec![], values: values.collect() };
    let place = Place::holding(&contents);
    super::assert_same(&place.snapshot().read(TAKEN, BOUNDS).unwrap().unwrap().contents, &contents);
}
