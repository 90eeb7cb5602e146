//! One setting's text, with the references in it.
//!
//! - The whole text is a reference, in any form that [`Reference`] knows: the secret's value stands for it.
//! - `${REFERENCE}` within a longer text, with filters: `${secret://pay-prod/db-password|url}`. What is in the braces ends
//!   at the first `|` or `}`; a JSON pointer that holds one of these can only be a whole text.
//! - `$$` before such a brace is a `$` that is meant: `$${secret://a/b}` gives `${secret://a/b}`.
//! - `\` before a whole text that would be a reference is taken away, and the rest is meant: `\secret://a/b`.
//! - Everything else, `${HOME}` too, is left as it is, to the byte.
//!
//! A setting may be a secret itself. It is never quoted: an error tells the place.

mod filter;

pub(super) use filter::Filter;
pub use filter::Misfit;
use zeroize::Zeroizing;

use crate::secret::{BadReference, Reference, SecretValue};

/// A text, parsed.
#[allow(missing_debug_implementations, reason = "its text may be a secret")]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a text is no template, and where. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {place}: {fault}")]
pub struct BadTemplate {
    /// In characters, from 1.
    pub place: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a text that is to hold references.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What begins like a reference is none.
    #[error(
        "what begins like a reference {}; if it is meant as it stands, escape it (\\ before a whole value, $ before a ${{)",
        .0.discreet()
    )]
    Reference(BadReference),
    /// A reference among blanks: as a text it would reach the app.
    #[error("a reference with blanks around it")]
    Blanks,
    /// A `${` that nothing closes.
    #[error("a '${{' without its '}}'")]
    Open,
    /// No such filter.
    #[error("an unknown filter; there are url, json, base64, base64d, shell")]
    Filter,
}

/// A value that a filter cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of {reference} {misfit}")]
pub struct BadValue {
    /// Whose value.
    pub reference: Reference,
    /// What the filter found.
    pub misfit: Misfit,
}

enum Part {
    Text(Zeroizing<String>),
    Value(Reference, Vec<Filter>),
}

impl BadTemplate {
    fn at(text: &str, byte: usize, fault: Fault) -> Self {
        Self { place: text[..byte].chars().count() + 1, fault }
    }
}

impl Template {
    /// Parses a setting's text.
    ///
    /// # Errors
    /// If what begins like a reference is none, or its filters are unknown.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let unescaped = text.trim_start_matches('\\');
        match whole(unescaped) {
            Ok(None) => Ok(Self { parts: within(text)? }),
            _ if unescaped.len() < text.len() => Ok(Self { parts: within(&text[1..])? }),
            Ok(Some(reference)) => Ok(Self { parts: vec![Part::Value(reference, Vec::new())] }),
            Err(bad) => Err(bad),
        }
    }

    /// A text that means itself, whatever stands in it.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Text(Zeroizing::new(text.to_owned()))] }
    }

    /// Exactly one reference, whose value stands for the whole.
    #[must_use]
    pub fn of(reference: Reference) -> Self {
        Self { parts: vec![Part::Value(reference, Vec::new())] }
    }

    /// The references, in order; one that is used twice comes twice.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(reference, _) => Some(reference),
        })
    }

    /// Puts the values in. `value_of` is asked for each of [`Template::references`]; the field that a reference's
    /// pointer picks is its value.
    ///
    /// # Errors
    /// If a filter cannot take a value.
    pub fn render<'v>(&self, value_of: impl Fn(&Reference) -> &'v SecretValue) -> Result<SecretValue, BadValue> {
        let mut whole = Zeroizing::new(Vec::new());
        for part in &self.parts {
            match part {
                Part::Text(text) => append(&mut whole, text.as_bytes()),
                Part::Value(reference, filters) => {
                    // The one place where a value joins its text; the buffers wipe themselves.
                    let exposed = value_of(reference).expose();
                    let mut bytes = Zeroizing::new(exposed.to_vec());
                    for filter in filters {
                        bytes =
                            filter.apply(&bytes).map_err(|misfit| BadValue { reference: reference.clone(), misfit })?;
                    }
                    append(&mut whole, &bytes);
                }
            }
        }
        Ok(SecretValue::new(std::mem::take(&mut *whole)))
    }
}

/// Grows by a copy of its own, so that what is left behind is wiped.
fn append(whole: &mut Zeroizing<Vec<u8>>, more: &[u8]) {
    if whole.capacity() - whole.len() < more.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((whole.len() + more.len()).next_power_of_two()));
        larger.extend_from_slice(whole);
        *whole = larger;
    }
    whole.extend_from_slice(more);
}

/// The text as one reference, if that is what it looks like. An `https://` that is no secret in a vault is a plain URL,
/// as settings are full of them; one that is, but malformed, is a fault.
fn whole(text: &str) -> Result<Option<Reference>, BadTemplate> {
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    let found = match Reference::parse_placed(trimmed) {
        Ok(reference) => Ok(Some(reference)),
        Err(wrong) if Reference::begins(trimmed) => Err(wrong),
        Err(wrong) => match wrong.fault {
            BadReference::Name(_) => Err(wrong),
            // A field that is no pointer, but of a secret's address.
            BadReference::Pointer | BadReference::Tilde
                if trimmed.split('#').next().is_some_and(|address| address.parse::<Reference>().is_ok()) =>
            {
                Err(wrong)
            }
            BadReference::Form | BadReference::Pointer | BadReference::Tilde | BadReference::AppService(_) => Ok(None),
        },
    };
    match found {
        Ok(Some(_)) if trimmed.len() < text.len() => Err(BadTemplate::at(text, start, Fault::Blanks)),
        Ok(found) => Ok(found),
        Err(wrong) => Err(BadTemplate::at(text, start + wrong.at, Fault::Reference(wrong.fault))),
    }
}

/// The parts of a text with `${…}` in it.
fn within(text: &str) -> Result<Vec<Part>, BadTemplate> {
    let (mut parts, mut plain, mut at) = (Vec::new(), Zeroizing::new(String::with_capacity(text.len())), 0);
    while let Some(found) = text[at..].find('$') {
        let start = at + found;
        plain.push_str(&text[at..start]);
        let dollars = text[start..].bytes().take_while(|byte| *byte == b'$').count();
        let brace = start + dollars;
        let Some(inside) = text[brace..].strip_prefix('{').filter(|inside| begins_reference(inside)) else {
            plain.push_str(&text[start..brace]);
            at = brace;
            continue;
        };
        plain.push_str(&"$".repeat(dollars / 2));
        at = brace;
        if dollars % 2 == 1 {
            let bad = |byte: usize, fault| BadTemplate::at(text, byte, fault);
            let end = inside.find('}').ok_or_else(|| bad(brace - 1, Fault::Open))?;
            let mut pieces = inside[..end].split('|');
            let address = pieces.next().unwrap_or_default();
            let reference = Reference::parse_placed(address.trim_end())
                .map_err(|wrong| bad(brace + 1 + wrong.at, Fault::Reference(wrong.fault)))?;
            let (mut filters, mut place) = (Vec::new(), brace + 1 + address.len() + 1);
            for name in pieces {
                filters.push(Filter::named(name.trim()).ok_or_else(|| bad(place, Fault::Filter))?);
                place += name.len() + 1;
            }
            if !plain.is_empty() {
                let capacity = text.len() - at;
                parts.push(Part::Text(std::mem::replace(&mut plain, Zeroizing::new(String::with_capacity(capacity)))));
            }
            parts.push(Part::Value(reference, filters));
            at = brace + 1 + end + 1;
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() || parts.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

fn begins_reference(text: &str) -> bool {
    Reference::begins(text) || text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, value: &[u8]) -> String {
        let value = SecretValue::new(value);
        let rendered = Template::parse(text).unwrap().render(|_| &value).unwrap();
        String::from_utf8(rendered.expose().to_vec()).unwrap()
    }

    fn fault(text: &str) -> BadTemplate {
        Template::parse(text).err().expect(text)
    }

    #[test]
    fn a_whole_text_is_a_reference_in_every_form() {
        for text in [
            "secret://pay-prod/db",
            "akv://pay-prod/db",
            "https://pay-prod.vault.azure.net/secrets/db",
            "@Microsoft.KeyVault(VaultName=pay-prod;SecretName=db)",
            "${secret://pay-prod/db}",
            "secret://pay-prod/db#/a|b}c",
        ] {
            assert_eq!(rendered(text, b"hunter2"), "hunter2", "{text}");
        }
    }

    #[test]
    fn what_holds_no_reference_is_left_as_it_is() {
        for text in
            ["", "$", "$$", "$$$x", "${HOME}", "$${HOME}", "a$", "\\x", "\\\\", "https://example.com/#a", "é${", " x "]
        {
            assert_eq!(rendered(text, b"no"), text);
            assert_eq!(Template::parse(text).unwrap().references().count(), 0);
        }
    }

    #[test]
    fn references_stand_within_a_text_and_are_filtered() {
        let text = "postgres://app:${secret://pay/pw|url}@db/x?k=${secret://pay/pw#/k|base64|json}$";
        assert_eq!(rendered(text, b"p@ss/"), "postgres://app:p%40ss%2F@db/x?k=cEBzcy8=$");
        assert_eq!(rendered("{\"a\":\"${secret://pay/pw|json}\"}", b"a\"\n"), "{\"a\":\"a\\\"\\n\"}");
        assert_eq!(rendered("x=${secret://pay/pw | shell}", b"it's"), "x='it'\"'\"'s'");
        assert_eq!(rendered("${secret://pay/pw|base64d}", b"aHVudGVyMg"), "hunter2");
        assert_eq!(rendered("${secret://pay/a}${secret://pay/b}", b"1"), "11");
    }

    #[test]
    fn what_looks_like_a_reference_can_be_escaped() {
        assert_eq!(rendered("$${secret://pay/pw}", b"no"), "${secret://pay/pw}");
        assert_eq!(rendered("$$${secret://pay/pw}", b"yes"), "$yes");
        assert_eq!(rendered("$$$${secret://pay/pw}", b"no"), "$${secret://pay/pw}");
        assert_eq!(rendered("\\secret://pay/pw", b"no"), "secret://pay/pw");
        assert_eq!(rendered("\\\\secret://no reference", b"no"), "\\secret://no reference");
        assert_eq!(rendered("\\https://pay.vault.azure.net/secrets/a", b"no"), "https://pay.vault.azure.net/secrets/a");
    }

    #[test]
    fn a_fault_tells_its_place_and_never_the_text() {
        assert_eq!(fault("é${secret://pay/pw"), BadTemplate { place: 2, fault: Fault::Open });
        assert_eq!(fault("é ${secret://hunter2}").place, 14);
        assert_eq!(fault("é ${secret://é/hunter_2}").place, 22);
        assert_eq!(fault("${secret://pay/pw|url|hunter2}"), BadTemplate { place: 23, fault: Fault::Filter });
        assert_eq!(fault(" secret://pay/pw"), BadTemplate { place: 2, fault: Fault::Blanks });
        for (text, place) in [
            ("secret://hunter2", 10),
            ("@Microsoft.KeyVault(hunter2", 28),
            ("https://pay.vault.azure.net/secrets/hunter_2", 43),
            ("https://pay.vault.azure.net/secrets/a#hunter2", 39),
            (" \t secret://p\u{1f600}/hunter2", 14),
        ] {
            let fault = fault(text);
            assert_eq!(fault.place, place, "{text}");
            assert!(
                !fault.to_string().contains(['_', '\u{1f600}']) && !fault.to_string().contains("hunter"),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_value_that_a_filter_cannot_take_is_told_by_its_reference() {
        let value = SecretValue::new(*b"\xff\0");
        for filter in ["json", "shell", "base64d"] {
            let template = Template::parse(&format!("${{secret://pay/pw|{filter}}}")).unwrap();
            let bad = template.render(|_| &value).err().unwrap();
            assert!(bad.to_string().starts_with("the value of secret://pay/pw "), "{bad}");
        }
    }
}
