//! `[[aws]]`: secrets that together are credentials of AWS.

use std::ops::Range;

use toml::de::DeTable;

use super::kinds::{interval, name, reference};
use super::reader::{At, Reader, Section};
use crate::api::AwsProfile;

/// Keys that are no settings, with what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("expiration", "is worked out of lifetime: a duration such as \"6m\""),
    ("token", "is session_token here: a reference, where the key needs one"),
];

/// All profiles of the file.
pub(super) fn profiles<'r>(reader: &'r Reader<'r>, tables: &[(&'r DeTable<'r>, Range<usize>)]) -> Vec<AwsProfile> {
    let mut profiles: Vec<AwsProfile> = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let section = Section::new(reader, format!("aws[{}]", at + 1), None, Some(table.clone()));
        profiles.extend(profile(section, &profiles));
    }
    profiles
}

/// `None` only after a fault was told.
fn profile(section: Section<'_>, earlier: &[AwsProfile]) -> Option<AwsProfile> {
    let name = section.read("name", name);
    if let Some(At { value, place }) = &name
        && earlier.iter().any(|other| other.name == *value)
    {
        section.fault_at(place.clone(), "name", "another [[aws]] has that name already");
    }
    if let Some(At { place, .. }) = name.as_ref().filter(|at| at.value.starts_with('.')) {
        section.fault_at(place.clone(), "name", "must not begin with a '.': it is part of an address");
    }
    let [access_key_id, secret_access_key, session_token] =
        ["access_key_id", "secret_access_key", "session_token"].map(|key| section.read(key, reference));
    for (key, what) in [
        ("name", "must be set: it is the end of the address that clients ask"),
        ("access_key_id", "must be set: the reference of the access key's id"),
        ("secret_access_key", "must be set: the reference of the access key"),
    ] {
        if !section.is_set(key) {
            section.fault_of_absent(key, what);
        }
    }
    let lifetime = section.read("lifetime", interval);
    if let Some(At { place, .. }) = lifetime.as_ref().filter(|at| at.value > AwsProfile::LONGEST_LIFETIME) {
        section.fault_at(place.clone(), "lifetime", "must be at most \"12h\"");
    }
    section.finish(ELSEWHERE);
    Some(AwsProfile {
        name: name?.value,
        access_key_id: access_key_id?.value,
        secret_access_key: secret_access_key?.value,
        session_token: session_token.map(|at| at.value),
        lifetime: lifetime.map_or(AwsProfile::LIFETIME, |at| at.value),
    })
}
