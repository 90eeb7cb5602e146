use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use sidekey::access::audit::{AuditError, FileSink, Sink as _};

use super::lines;

fn write(sink: &mut FileSink, number: usize) {
    sink.write(format!("{{\"request\":\"{number:04}\"}}\n").as_bytes()).unwrap();
}

/// Of every line, its number.
fn numbers(path: &Path) -> Vec<String> {
    super::requests(&lines(&fs::read(path).unwrap())).into_iter().map(str::to_owned).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn it_is_made_for_us_alone_and_what_is_in_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/audit.log");
    write(&mut FileSink::open(&path, 0, 1).unwrap(), 1);
    write(&mut FileSink::open(&path, 0, 1).unwrap(), 2);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(numbers(&path), ["0001", "0002"]);
}

#[test]
fn a_file_that_others_could_read_change_or_replace_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let refused = |path: &Path| matches!(FileSink::open(path, 0, 1), Err(AuditError::Untrusted { .. }));
    fs::write(&path, "").unwrap();
    for (mode, bad) in [(0o600, false), (0o640, false), (0o644, true), (0o620, true), (0o602, true)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(&path), bad, "{mode:o}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(refused(&link));
    assert!(refused(Path::new("/dev/full")), "a device");
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(refused(&pipe), "and nobody waits for its other end");
    for (mode, bad) in [(0o777, true), (0o1777, false), (0o750, false)] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(&path), bad, "{mode:o}");
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(1234), None).unwrap();
        assert!(refused(&path), "another user's");
    }
}

#[test]
fn it_is_rotated_before_it_is_too_large_and_the_last_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    // A line has 19 bytes.
    let mut sink = FileSink::open(&path, 40, 2).unwrap();
    for number in 0..7 {
        write(&mut sink, number);
    }
    let told = |name: &str| numbers(&folder.path().join(name));
    assert_eq!(told("audit.log"), ["0006"]);
    assert_eq!(
        (told("audit.log.1"), told("audit.log.2")),
        (vec!["0004".into(), "0005".into()], vec!["0002".into(), "0003".into()])
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_file_that_cannot_be_rotated_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut sink = FileSink::open(&path, 40, 2).unwrap();
    // No file can take a folder's place.
    fs::create_dir_all(folder.path().join("audit.log.1/x")).unwrap();
    fs::create_dir_all(folder.path().join("audit.log.2/x")).unwrap();
    for number in 0..5 {
        write(&mut sink, number);
    }
    assert_eq!(numbers(&path).len(), 5);
}

#[test]
fn a_file_that_another_has_renamed_or_removed_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut sink = FileSink::open(&path, 0, 1).unwrap();
    write(&mut sink, 1);
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    write(&mut sink, 2);
    assert_eq!((numbers(&aside), numbers(&path)), (vec!["0001".into()], vec!["0002".to_owned()]));
    fs::remove_file(&path).unwrap();
    write(&mut sink, 3);
    assert_eq!((numbers(&path), mode(&path)), (vec!["0003".to_owned()], 0o600));
}

#[test]
fn what_is_put_in_its_place_is_trusted_no_more_than_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut sink = FileSink::open(&path, 0, 1).unwrap();
    let (aside, other) = (folder.path().join("aside"), folder.path().join("other"));
    fs::write(&other, "").unwrap();
    fs::rename(&path, &aside).unwrap();
    symlink(&other, &path).unwrap();
    write(&mut sink, 1);
    assert_eq!((numbers(&aside).len(), fs::read(&other).unwrap().len()), (1, 0), "it goes on in the one from before");
    // Which nobody can read once it is gone: then nothing is recorded.
    fs::remove_file(&aside).unwrap();
    sink.write(b"{}\n").unwrap_err();
    fs::remove_file(&path).unwrap();
    write(&mut sink, 2);
    assert_eq!(numbers(&path), ["0002"]);
}

#[test]
fn after_an_end_within_a_line_the_next_begins_on_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    write(&mut FileSink::open(&path, 0, 1).unwrap(), 1);
    let mut text = fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"request\":\"cut");
    fs::write(&path, &text).unwrap();
    write(&mut FileSink::open(&path, 0, 1).unwrap(), 2);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>()[1..], ["{\"request\":\"cut", "{\"request\":\"0002\"}"]);
}

#[test]
fn two_that_write_to_the_same_file_lose_no_line_and_mix_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let path = &path;
            scope.spawn(move || {
                let mut sink = FileSink::open(path, 1_000, 1_000).unwrap();
                for number in 0..2_000 {
                    write(&mut sink, writer * 5_000 + number);
                }
            });
        }
    });
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        all.extend(numbers(&entry.unwrap().path()));
    }
    all.sort();
    let expected: Vec<_> = (0..2_000).chain(5_000..7_000).map(|number| format!("{number:04}")).collect();
    assert!(all == expected, "{} of {} lines", all.len(), expected.len());
}
