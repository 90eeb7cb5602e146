//! A flat map of names to texts. The parsers' own messages quote what they met: only the place is taken from them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::{MapFormat, Told, Wrong, is_name};

const EXPECTED: &str = "expected names, each once, with texts: NAME = \"secret://VAULT/NAME\"";

pub(super) fn parse(text: &str, format: MapFormat) -> Result<Vec<Told>, Vec<Wrong>> {
    let fault = |line: usize| vec![Wrong { place: format!("line {line}"), why: EXPECTED.to_owned() }];
    let pairs = match format {
        MapFormat::Json => serde_json::from_str::<Pairs>(text).map_err(|error| fault(error.line()))?,
        MapFormat::Toml => toml::from_str::<Pairs>(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            fault(text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1)
        })?,
    };
    let mut wrong = Vec::new();
    let told = pairs.0.into_iter().enumerate().map(|(at, (name, text))| {
        if !is_name(&name) {
            wrong.push(Wrong { place: format!("entry {}", at + 1), why: "its name is none of a variable".to_owned() });
        }
        Told { place: format!("entry {}", at + 1), name, text }
    });
    let told = told.collect();
    if wrong.is_empty() { Ok(told) } else { Err(wrong) }
}

struct Pairs(Vec<(String, Zeroizing<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs: Vec<(String, Zeroizing<String>)> = Vec::new();
                while let Some((name, text)) = map.next_entry::<String, String>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("twice"));
                    }
                    pairs.push((name, Zeroizing::new(text)));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}
