use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::sync::Barrier;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidekey::snapshot::{Key, KeyError};

use super::{BOUNDS, IDENTITY, Place, TAKEN, VALUE, holding_only, put};

#[test]
fn a_key_is_made_once_and_is_ours_alone() {
    let place = Place::new();
    place.key();
    let first = fs::read_to_string(place.key_file()).unwrap();
    place.key();
    assert_eq!(fs::read_to_string(place.key_file()).unwrap(), first, "made once");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(place.key_file()), mode(place.folder.path().join("keys"))), (0o600, 0o700));
    assert_eq!(first.lines().count(), 1);
    assert_eq!(STANDARD.decode(first.trim_end()).unwrap().len(), 32);
    assert_eq!(fs::read_dir(place.folder.path().join("keys")).unwrap().count(), 1, "no draft is left");
    let other = Place::new();
    other.key();
    assert_ne!(fs::read_to_string(other.key_file()).unwrap(), first);
}

#[test]
fn processes_that_start_together_have_one_key() {
    for _ in 0..20 {
        let place = Place::new();
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for index in 0..4 {
                let (place, start) = (&place, &start);
                scope.spawn(move || {
                    start.wait();
                    let file = place.folder.path().join(format!("kept/{index}"));
                    let snapshot = sidekey::snapshot::Snapshot::new(file, place.key(), IDENTITY);
                    snapshot.write(&holding_only(VALUE)).unwrap();
                });
            }
        });
        for index in 0..4 {
            let file = place.folder.path().join(format!("kept/{index}"));
            let snapshot = sidekey::snapshot::Snapshot::new(file, place.key(), IDENTITY);
            assert!(snapshot.read(TAKEN, BOUNDS).unwrap().is_some());
        }
    }
}

#[test]
fn what_is_no_key_is_refused_without_a_word_of_it() {
    let place = Place::new();
    fs::create_dir_all(place.key_file().parent().unwrap()).unwrap();
    let encoded = |length| STANDARD.encode(vec![7; length]);
    let two_lines = format!("{}\n{}\n", encoded(32), encoded(32));
    let texts = [
        (String::new(), "is empty"),
        ("\n".to_owned(), "is empty"),
        (encoded(31), "another number of bytes"),
        (encoded(33), "another number of bytes"),
        (encoded(36), "another number of bytes"),
        (encoded(48), "another number of bytes"),
        (encoded(480), "another number of bytes"),
        (two_lines, "one line of base64"),
        (format!("{} ", encoded(32)), "one line of base64"),
        ("not-base64-canary!".to_owned(), "one line of base64"),
    ];
    for (text, reason) in texts {
        put(&place.key_file(), text.as_bytes());
        let error = Key::load_or_create(&place.key_file()).unwrap_err();
        assert!(matches!(error, KeyError::Content { .. }), "{error}");
        let told = format!("{error} {error:?}");
        assert!(told.contains(reason), "{told}");
        assert!(text.trim().is_empty() || !told.contains(text.trim()), "{told}");
        assert_eq!(fs::read(place.key_file()).unwrap(), text.as_bytes(), "it is never replaced");
    }
    for ending in ["", "\n", "\r\n"] {
        put(&place.key_file(), format!("{}{ending}", encoded(32)).as_bytes());
        assert_eq!(format!("{:?}", place.key()), "[redacted]");
    }
}

#[test]
fn a_key_that_others_may_know_is_refused_with_the_command_that_closes_it() {
    let place = Place::new();
    place.key();
    for mode in [0o640, 0o620, 0o604, 0o602, 0o610, 0o601] {
        set_permissions(place.key_file(), Permissions::from_mode(mode)).unwrap();
        let error = Key::load_or_create(&place.key_file()).unwrap_err();
        assert!(matches!(error, KeyError::Open { mode: told, .. } if told == mode), "{error}");
        assert!(error.to_string().contains("run: chmod 0600 "), "{error}");
    }
    set_permissions(place.key_file(), Permissions::from_mode(0o400)).unwrap();
    place.key();
}

#[test]
fn a_key_of_another_user_is_refused() {
    let place = Place::new();
    place.key();
    if chown(place.key_file(), Some(12_345), None).is_err() {
        // Only root can give a file away; and only root could read it then.
        return;
    }
    let error = Key::load_or_create(&place.key_file()).unwrap_err();
    assert!(matches!(error, KeyError::Owner { owner: 12_345, .. }), "{error}");
}

#[test]
fn a_mounted_key_is_a_link_and_a_pipe_is_no_key() {
    let place = Place::new();
    place.key();
    let (link, pipe) = (place.folder.path().join("link"), place.folder.path().join("pipe"));
    symlink(place.key_file(), &link).unwrap();
    Key::load(&link).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert!(matches!(Key::load_or_create(&pipe), Err(KeyError::Content { .. })));
    let dangling = place.folder.path().join("dangling");
    symlink(place.folder.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(Key::load_or_create(&dangling), Err(KeyError::Io { .. })), "a link is not replaced");
}
