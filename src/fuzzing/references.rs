use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::catalog::Pattern;
use crate::secret::fuzzing::assert_tellable;
use crate::secret::{Pointer, Reference, SecretName, SourceName, VaultName, Version};

/// Every form of reference, every kind of name, and patterns: what parses, prints as what parses to the same; what does
/// not is refused in few words.
pub fn references(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let strict = text.parse::<Reference>();
    let lenient = Reference::parse_lenient(text);
    if let Ok(reference) = &strict {
        assert_eq!(lenient.as_ref(), Ok(reference), "the lenient reading is another");
    }
    for parsed in [&strict, &lenient] {
        match parsed {
            Ok(reference) => {
                let shown = reference.to_string();
                assert_eq!(shown.parse().as_ref(), Ok(reference), "{shown:?} is another reference");
                let json = serde_json::to_string(reference).expect("a reference is text");
                assert_eq!(serde_json::from_str::<Reference>(&json).ok().as_ref(), Some(reference));
                names_hold(reference);
            }
            Err(error) => assert_tellable(&error.to_string(), 200),
        }
    }
    prints_what_parses::<SecretName>(text);
    prints_what_parses::<VaultName>(text);
    prints_what_parses::<SourceName>(text);
    prints_what_parses::<Version>(text);
    match Pattern::parse_lenient(text) {
        Ok(pattern) => assert_eq!(pattern.to_string().parse().as_ref(), Ok(&pattern)),
        Err(error) => assert_tellable(&error.to_string(), 400),
    }
}

/// What a name may hold, said once more in other words than the parser's.
fn names_hold(reference: &Reference) {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let name = reference.name.as_str();
    assert!(plain(name) && (1..=127).contains(&name.len()), "{name:?} is no secret's name");
    if let Some(vault) = &reference.vault {
        let bare = vault.as_str().split_once(':').map_or(vault.as_str(), |(_, bare)| bare);
        assert!(plain(bare) && !bare.is_empty(), "{vault:?} is no vault's name");
    }
    assert!(reference.version.as_ref().is_none_or(|version| version.as_str().len() == 32));
    assert!(reference.pointer.as_ref().map(Pointer::as_str).is_none_or(|pointer| pointer.starts_with('/')));
}

fn prints_what_parses<T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(name) => {
            let shown = name.to_string();
            assert_eq!(shown, text.to_ascii_lowercase(), "a name was normalised");
            assert_eq!(shown.parse::<T>().ok(), Some(name));
        }
        Err(error) => assert_tellable(&error.to_string(), 200),
    }
}
