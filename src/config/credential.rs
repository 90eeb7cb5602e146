//! `[[credential]]`: what units of systemd are given.

use std::ops::Range;

use globset::{GlobBuilder, GlobMatcher};
use toml::de::DeTable;

use super::kinds::{Raw, reference, text, yes_no};
use super::reader::{At, Reader, Section};
use crate::credentials::{Rule, is_credential_id};

/// The longest glob over units' names, in bytes.
const LONGEST: usize = 255;

/// All of the file; `socket`: there is one on which they are asked for.
pub(super) fn rules<'r>(reader: &'r Reader<'r>, tables: &[(&'r DeTable<'r>, Range<usize>)], socket: bool) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let section = Section::new(reader, format!("credential[{}]", at + 1), None, Some(table.clone()));
        if !socket && at == 0 {
            section.fault_of_absent("", "needs listen.credentials, the socket that systemd asks");
        }
        rules.extend(rule(section, &rules));
    }
    rules
}

/// `None` only after a fault was told.
fn rule(section: Section<'_>, earlier: &[Rule]) -> Option<Rule> {
    let unit = section.read("unit", unit);
    let id = section.read("id", id);
    let reference = section.read("ref", reference);
    let required = section.read_or("required", yes_no, true);
    for (key, what) in [
        ("unit", "must be set: the unit's name with its type, such as \"orders.service\", or a glob"),
        ("id", "must be set: what LoadCredential= calls it"),
        ("ref", "must be set: the secret's reference"),
    ] {
        if !section.is_set(key) {
            section.fault_of_absent(key, what);
        }
    }
    if let (Some(unit), Some(At { value, place })) = (&unit, &id)
        && earlier.iter().any(|other| other.id == *value && other.unit.glob() == unit.value.glob())
    {
        section.fault_at(place.clone(), "id", "another [[credential]] is for the same unit and id already");
    }
    section.finish(&[]);
    Some(Rule { unit: unit?.value, id: id?.value, reference: reference?.value, required })
}

fn unit(raw: Raw<'_>) -> Result<GlobMatcher, String> {
    const EXPECTED: &str =
        "expected a unit's name with its type, such as \"orders.service\", or a glob such as \"orders@*.service\"";
    let text = text(raw)?;
    if text.len() > LONGEST || !text.contains(['.', '*']) || text.contains('/') {
        return Err(EXPECTED.to_owned());
    }
    GlobBuilder::new(&text)
        .backslash_escape(false)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|_| EXPECTED.to_owned())
}

fn id(raw: Raw<'_>) -> Result<String, String> {
    let id = text(raw)?;
    if is_credential_id(&id) {
        return Ok(id);
    }
    Err("expected a credential's name: visible characters without '/' and ':'".to_owned())
}
