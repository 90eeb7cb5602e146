//! A manifest of a Kubernetes Secret: keys of `[-._a-zA-Z0-9]`, at most 253, values in base64, 1 MiB in all
//! (`ValidateSecret` and `IsConfigMapKey` of Kubernetes).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Clear, Page, yaml};
use crate::secret::SecretValue;

const LARGEST: usize = 1024 * 1024;

pub(super) fn begin(page: &mut Page, title: &str) {
    page.put(b"apiVersion: v1\nkind: Secret\nmetadata:\n  name: ");
    page.put(yaml::quoted(title).as_bytes());
    page.put(b"\ntype: Opaque\ndata:\n");
}

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let name = variable.name;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(fits) || name == "." || name.starts_with("..") {
        return Err("a Secret's keys have letters, digits, '-', '_' and '.' only, and do not begin with '..'");
    }
    let encoded = Zeroizing::new(STANDARD.encode(variable.value));
    for piece in ["  \"", name, "\": \"", &encoded, "\"\n"] {
        page.put(piece.as_bytes());
    }
    Ok(())
}

/// The variable with which the Secret is too large.
pub(super) fn too_large(set: &BTreeMap<String, SecretValue>) -> Option<Vec<(String, &'static str)>> {
    let mut total = 0;
    let (name, _) = set.iter().find(|(_, value)| {
        total += value.len();
        total > LARGEST
    })?;
    Some(vec![(name.clone(), "with it, the Secret is larger than 1 MiB, which Kubernetes refuses")])
}
