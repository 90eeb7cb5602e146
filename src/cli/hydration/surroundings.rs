//! The environment that a command was started with: what of it refers to secrets, what is an app's, and what is sidekey's own.

use std::ffi::{OsStr, OsString};

use super::Faults;
use crate::cli::Exit;
use crate::config::{Vars, environment};
use crate::hydrate::Template;
use crate::hydrate::dangerous::is_ours;
use crate::hydrate::set::Layer;

/// What is to be taken of the environment.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Surroundings<'a> {
    /// All of it but sidekey's own; of that, what is named here.
    Passed(&'a [String]),
    /// What refers to secrets, what any program needs, and what is named here.
    Ordinary(&'a [String]),
    /// Nothing.
    None,
}

/// What any program needs, beside `LC_*`.
const ORDINARY: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG"];

impl Surroundings<'_> {
    /// What refers to secrets goes into the layer; what is as it is comes back.
    pub(super) fn take(self, layer: &mut Layer, faults: &mut Faults) -> Vec<(OsString, OsString)> {
        let (ordinary, named) = match self {
            Self::Passed(named) => (false, named),
            Self::Ordinary(named) => (true, named),
            Self::None => return Vec::new(),
        };
        for name in named.iter().filter(|name| Vars::is_secret(name.as_bytes())) {
            let what = "what sidekey signs in with is never passed on; give the program its own";
            faults.add(Exit::Usage, format!("--pass {name}: {what}"));
        }
        let is_named = |name: &OsStr| named.iter().any(|passed| name == passed.as_str());
        let mut plain = Vec::new();
        for (name, value) in environment() {
            if name.to_str().is_some_and(is_ours) && !is_named(&name) {
                continue;
            }
            // No reference is written in what is no text.
            if let (Some(name), Some(text)) = (name.to_str(), value.to_str()) {
                match Template::parse(text) {
                    Ok(template) if template.references().next().is_some() => {
                        layer.insert(name.to_owned(), template);
                        continue;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        faults.add(Exit::Usage, format!("{name}: {error}"));
                        continue;
                    }
                }
            }
            if !ordinary || is_ordinary(&name) || is_named(&name) {
                plain.push((name, value));
            }
        }
        plain
    }
}

fn is_ordinary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| ORDINARY.contains(&name) || name.starts_with("LC_"))
}
