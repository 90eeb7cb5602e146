//! `[audit]`: whether reads are recorded, where, and whether they must be.

use super::kinds::{positive, size, text, yes_no};
use super::reader::{Reader, Section};
use crate::access::audit::{AuditOptions, Place};

/// Before a file grows beyond that, it is rotated.
const MAX_SIZE: u64 = 64 * 1024 * 1024;
/// A file that is rotated at less would be rotated all the time.
const LEAST_SIZE: u64 = 64 * 1024;
/// Rotated files.
const KEEP: u64 = 5;
/// So many are renamed at each rotation.
const MOST_KEPT: u64 = 1_000;

pub(super) fn audit<'r>(reader: &'r Reader<'r>, section: Section<'r>) -> Option<AuditOptions> {
    // 'stderr' is no path, and any other text is one. Read once, so that a fault is told once.
    let told = section.read("file", text);
    let stderr = told.as_ref().is_some_and(|at| at.value == "stderr");
    let path = told.filter(|_| !stderr).and_then(|_| section.path("file")).map(|at| at.value);
    let required = section.read("required", yes_no);
    let (max_size, keep) = (section.read("max_size", size), section.read("keep", positive));
    if let Some(at) = max_size.as_ref().filter(|at| at.value > 0 && at.value < LEAST_SIZE) {
        section.fault_at(at.place.clone(), "max_size", "must be at least \"64KiB\", or \"0B\" for never");
    }
    if let Some(at) = keep.as_ref().filter(|at| at.value > MOST_KEPT) {
        section.fault_at(at.place.clone(), "keep", format!("must be at most {MOST_KEPT}"));
    }
    let table = section.tables("hash_names").into_iter().next();
    let is_there = table.is_some();
    let hashing = Section::new(reader, "audit.hash_names", Some("SIDEKEY_AUDIT_HASH_NAMES_"), table);
    let key_file = hashing.path("key_file");
    if is_there && !hashing.is_set("key_file") {
        hashing.fault_of_absent("key_file", "is missing: names are hashed with the key in that file");
    }
    if let (Some(path), Some(at)) = (&path, &key_file)
        && path.parent() == at.value.parent()
    {
        let what = "must be in another folder than the audit: who collects that folder would have the key";
        hashing.fault_at(at.place.clone(), "key_file", what);
    }
    hashing.finish(&[]);
    // A guard that somebody relies on must not be off because the file that it needs was not named.
    if path.is_none() && !stderr && !section.is_set("file") {
        for (key, place) in [
            ("required", required.as_ref().filter(|at| at.value).map(|at| &at.place)),
            ("max_size", max_size.as_ref().map(|at| &at.place)),
            ("keep", keep.as_ref().map(|at| &at.place)),
            ("hash_names", key_file.as_ref().map(|at| &at.place)),
        ] {
            if let Some(place) = place {
                section.fault_at(place.clone(), key, "does nothing without audit.file: name a file, or \"stderr\"");
            }
        }
    }
    section.finish(&[]);
    let place = match path {
        Some(path) => Place::File {
            path,
            max_size: max_size.map_or(MAX_SIZE, |at| at.value),
            keep: u32::try_from(keep.map_or(KEEP, |at| at.value)).unwrap_or(u32::MAX),
        },
        None if stderr => Place::Stderr,
        None => return None,
    };
    Some(AuditOptions { place, required: required.is_some_and(|at| at.value), hash_names: key_file.map(|at| at.value) })
}
