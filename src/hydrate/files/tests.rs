use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn opened(path: &Path) -> Folder {
    let uid = fs::metadata(path.parent().unwrap()).unwrap().uid();
    Folder::open(path, uid, true).unwrap()
}

fn listed(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_set_is_replaced_as_a_whole_and_nothing_of_the_old_one_is_left() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = opened(&path);
    let _ = folder.put(&[("A", b"1".as_slice()), ("B", b"1")]).unwrap();
    let old = fs::canonicalize(path.join("..data")).unwrap();
    assert_eq!(fs::read_to_string(folder.place("A")).unwrap(), "1");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&old), mode(&path.join("A"))), (0o700, 0o700, 0o400));
    let _ = folder.put(&[("A", b"2".as_slice()), ("C", b"")]).unwrap();
    assert!(!old.exists());
    assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "2");
    let new = fs::canonicalize(path.join("..data")).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(listed(&path), ["..data".to_owned(), new, "A".to_owned(), "C".to_owned()]);
    folder.remove();
    assert!(!path.exists());
}

#[test]
fn a_set_that_cannot_be_written_whole_changes_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = opened(&path);
    let _ = folder.put(&[("A", b"1".as_slice())]).unwrap();
    let before = listed(&path);
    for bad in ["a/b", "..data", "", ".", "..", "..hidden"] {
        assert!(folder.put(&[("A", b"2".as_slice()), (bad, b"2")]).is_err());
    }
    assert!(folder.put(&[("A", b"2".as_slice()), ("A", b"3")]).is_err(), "one name twice");
    assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "1");
    assert_eq!(listed(&path), before);
}

/// Once with the folder that counts, everything beneath it is of one generation, until that is gone.
#[test]
fn who_reads_while_a_set_is_replaced_finds_all_old_values_or_all_new_ones() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = opened(&path);
    let _ = folder.put(&["A", "B", "C"].map(|name| (name, b"0".as_slice()))).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut whole = 0;
            loop {
                let last = done.load(Ordering::Acquire);
                // It may be gone before it is read: then the next one is there.
                let generation = fs::canonicalize(path.join(CURRENT)).ok();
                let read = |name| fs::read_to_string(generation.as_ref()?.join(name)).ok();
                if let (Some(a), Some(b), Some(c)) = (read("A"), read("B"), read("C")) {
                    assert!(!a.is_empty() && a == b && b == c, "{a} {b} {c}");
                    whole += 1;
                }
                assert!(path.join("A").symlink_metadata().is_ok(), "the name is always there");
                if last {
                    return whole;
                }
            }
        });
        let put = (0..100).try_for_each(|n| {
            let value = format!("{n}").repeat(1 + n);
            folder.put(&["A", "B", "C"].map(|name| (name, value.as_bytes()))).map(drop)
        });
        done.store(true, Ordering::Release);
        assert!(reading.join().unwrap() > 0);
        put.unwrap();
    });
}

#[test]
fn what_a_killed_process_left_behind_goes_with_the_next_set_and_what_is_others_stays() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let _ = opened(&path).put(&[("OLD", b"1".as_slice())]).unwrap();
    fs::create_dir(path.join("..sidekey-0123456789abcdef")).unwrap();
    fs::write(path.join("..sidekey-0123456789abcdef/A"), "half").unwrap();
    fs::write(path.join("others"), "x").unwrap();
    fs::write(path.join("A"), "a plain file of this name").unwrap();
    let folder = opened(&path);
    let _ = folder.put(&[("A", b"2".as_slice())]).unwrap();
    let names = listed(&path);
    assert_eq!((names.len(), names[0].as_str(), names[2].as_str(), names[3].as_str()), (4, "..data", "A", "others"));
    assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "2");
    folder.remove();
    assert_eq!(listed(&path), ["others"]);
}

#[test]
fn a_folder_that_others_can_write_to_is_none_and_one_that_was_made_for_nothing_is_gone() {
    let outer = tempfile::tempdir().unwrap();
    let uid = fs::metadata(outer.path()).unwrap().uid();
    let path = outer.path().join("open");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(Folder::open(&path, uid, true), Err(BadFolder::Shared)));
    let path = outer.path().join("others");
    assert!(matches!(Folder::open(&path, uid + 1, true), Err(BadFolder::Shared)));
    assert!(!path.exists());
    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Folder::open(&file, uid, true).is_err());
}

const READABLE: Kept = Kept { mode: 0o444, user: None, group: None };

fn for_readers(path: &Path) -> Result<Folder, BadFolder> {
    Folder::open_for_readers(path, rustix::process::geteuid().as_raw(), READABLE)
}

#[test]
fn where_the_turn_fails_every_name_is_what_it_was() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = opened(&path);
    fs::write(path.join("A"), "plain").unwrap();
    symlink("elsewhere", path.join("B")).unwrap();
    // A folder of that name cannot be turned.
    fs::create_dir(path.join(CURRENT)).unwrap();
    let before = listed(&path);
    assert!(folder.put(&[("A", b"1"), ("B", b"2"), ("C", b"3")]).is_err());
    assert_eq!(listed(&path), before);
    assert_eq!(fs::read_to_string(path.join("A")).unwrap(), "plain");
    assert_eq!(fs::read_link(path.join("B")).unwrap(), Path::new("elsewhere"));
}

/// Where the file system and the rights of who tests let a file be made one that nobody can replace.
#[test]
fn what_fails_after_the_turn_is_told_by_its_name_and_the_set_is_in_force() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = for_readers(&path).unwrap();
    let _ = folder.put(&[("B", b"1")]).unwrap();
    fs::write(path.join("A"), "plain").unwrap();
    let fixed = fs::File::open(path.join("A")).unwrap();
    let Ok(flags) = ioctl_getflags(&fixed) else { return };
    if ioctl_setflags(&fixed, flags | IFlags::IMMUTABLE).is_err() {
        return;
    }
    let put = folder.put(&[("A", b"2"), ("B", b"2")]);
    ioctl_setflags(&fixed, flags).unwrap();
    assert!(matches!(put.unwrap(), Put::But(name, _) if name == "A"));
    assert_eq!(listed(&path).len(), 4, "the generation before is gone, and no draft is left");
    let read = |name| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!((read("A"), read("B"), read("..data/A")), ("plain".into(), "2".into(), "2".into()));
    assert!(matches!(folder.put(&[("A", b"2"), ("B", b"2")]).unwrap(), Put::Whole), "it is tried again");
    assert_eq!(read("A"), "2");
}

#[test]
fn what_was_left_behind_goes_even_where_nothing_changes_and_one_of_it_cannot_be_removed() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = for_readers(&path).unwrap();
    assert!(matches!(folder.put(&[("A", b"1")]).unwrap(), Put::Whole));
    let names = listed(&path);
    // Nothing of ours has a folder within it: what is in that one is not ours.
    fs::create_dir_all(path.join("..sidekey-0000000000000000/inner")).unwrap();
    fs::write(path.join("..sidekey-0000000000000000/inner/x"), "others").unwrap();
    fs::write(path.join("..sidekey-0000000000000000/A"), "old").unwrap();
    for n in 1..=3 {
        let left = path.join(format!("..sidekey-000000000000000{n}"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("A"), "old").unwrap();
    }
    symlink("..", path.join("..sidekey-0000000000000004")).unwrap();
    assert!(matches!(folder.put(&[("A", b"1")]).unwrap(), Put::Same));
    assert_eq!(listed(&path.join("..sidekey-0000000000000000")), ["inner"]);
    fs::remove_dir_all(path.join("..sidekey-0000000000000000")).unwrap();
    assert_eq!(listed(&path), names);
}

#[test]
fn a_generation_is_open_as_its_folder_is_meant_and_one_that_is_not_so_is_made_anew() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("above/values");
    let folder = for_readers(&path).unwrap();
    let _ = folder.put(&[("A", b"1"), (".B", b"")]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = path.join(CURRENT);
    assert_eq!((mode(&data), mode(&path.join("A")), mode(&path.join(".B"))), (0o755, 0o444, 0o444));
    for change in [
        &|| fs::set_permissions(data.join("A"), fs::Permissions::from_mode(0o404)).unwrap(),
        &|| fs::write(data.join("more"), "").unwrap(),
        &|| fs::remove_file(path.join("A")).unwrap(),
        &|| {
            fs::remove_file(path.join("A")).unwrap();
            fs::write(path.join("A"), "1").unwrap();
        },
    ] as [&dyn Fn(); 4]
    {
        change();
        assert!(matches!(folder.put(&[("A", b"1"), (".B", b"")]).unwrap(), Put::Whole));
        assert_eq!((mode(&path.join("A")), listed(&data)), (0o444, vec![".B".to_owned(), "A".to_owned()]));
        assert_eq!(fs::read_link(path.join("A")).unwrap(), Path::new("..data/A"));
    }
}

#[test]
fn while_one_replaces_another_one_does_not() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("values");
    let folder = for_readers(&path).unwrap();
    let held = fs::File::open(&path).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(folder.put(&[("A", b"1")]).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    assert!(listed(&path).is_empty());
    drop(held);
    let _ = folder.put(&[("A", b"1")]).unwrap();
}

#[test]
fn what_is_no_folder_is_told_without_waiting_and_so_is_one_of_somebody_else() {
    let outer = tempfile::tempdir().unwrap();
    let pipe = outer.path().join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::write(outer.path().join("file"), "").unwrap();
    for name in ["pipe", "file"] {
        let path = outer.path().join(name);
        assert!(matches!(for_readers(&path), Err(BadFolder::NoFolder)), "{name}");
        assert!(matches!(Folder::open(&path, 0, true), Err(BadFolder::NoFolder)), "{name}");
    }
    let open = outer.path().join("open");
    fs::create_dir(&open).unwrap();
    for mode in [0o775, 0o757, 0o1777] {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(for_readers(&open), Err(BadFolder::Shared)), "{mode:o}");
    }
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&open, Some(1001), None).unwrap();
        assert!(matches!(for_readers(&open), Err(BadFolder::Shared)));
        let theirs = Kept { user: Some(1001), ..READABLE };
        let _ = Folder::open_for_readers(&open, 0, theirs).unwrap().put(&[("A", b"1")]).unwrap();
        assert_eq!(fs::metadata(open.join("A")).unwrap().uid(), 1001);
        assert_eq!(fs::metadata(open.join(CURRENT)).unwrap().uid(), 0);
    }
}
