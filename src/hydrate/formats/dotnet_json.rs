//! .NET's JSON configuration: one flat object, in which `A__B` is `A:B`, as its environment variables are read. Keys are the
//! same whatever their case, and a key that comes twice is a failure of the app's start.

use std::collections::BTreeMap;

use super::{Clear, Page, json};
use crate::secret::SecretValue;

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    json::write(page, &key(variable.name), variable)
}

/// The variables that mean a key that another one means already.
pub(super) fn twins(set: &BTreeMap<String, SecretValue>) -> Vec<(String, &'static str)> {
    let mut seen = std::collections::BTreeSet::new();
    let again = set.keys().filter(|name| !seen.insert(folded(name)));
    again.map(|name| (name.clone(), "the same key as another variable: .NET knows no case")).collect()
}

/// Both cases, as .NET compares by upper case, and Unicode has letters that only one of the two joins (`ς` and `σ`).
fn folded(name: &str) -> String {
    key(name).to_uppercase().to_lowercase()
}

fn key(name: &str) -> String {
    name.replace("__", ":")
}
