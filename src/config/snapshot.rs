//! `[cache.snapshot]`: where what is held is kept for the next start.

use std::path::PathBuf;

use super::reader::{Reader, Section};

/// The files of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFiles {
    /// The snapshot.
    pub file: PathBuf,
    /// The key that it is sealed with; made at start if it does not exist.
    pub key_file: PathBuf,
}

/// Reads it from within `[cache]`.
pub(super) fn snapshot<'r>(reader: &'r Reader<'r>, cache: &Section<'r>) -> Option<SnapshotFiles> {
    let table = cache.tables("snapshot").into_iter().next();
    let is_there = table.is_some();
    let section = Section::new(reader, "cache.snapshot", Some("SIDEKEY_CACHE_SNAPSHOT_"), table);
    let (file, key_file) = (section.path("file"), section.path("key_file"));
    // A setting that does not parse was told already.
    for (key, other) in [("file", "key_file"), ("key_file", "file")] {
        if !section.is_set(key) && (is_there || section.is_set(other)) {
            section.fault_of_absent(key, "is missing: a snapshot needs a file and a key_file");
        }
    }
    if let (Some(file), Some(key_file)) = (&file, &key_file)
        && file.value.parent() == key_file.value.parent()
    {
        let what = "must be in another folder than the snapshot: who takes that folder would have both";
        section.fault_at(key_file.place.clone(), "key_file", what);
    }
    section.finish(&[]);
    Some(SnapshotFiles { file: file?.value, key_file: key_file?.value })
}
