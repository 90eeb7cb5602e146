use std::fmt::Display;

use crate::hydrate::Template;
use crate::hydrate::set::{self, Layer, MapFormat};
use crate::secret::fuzzing::assert_tellable;
use crate::secret::{BadReference, Reference, SecretValue};

/// Stands in seeds where a text may be a secret.
const MARK: &str = "hunter";

/// One setting's text, and files of settings: what is no reference stays as it is, every text can be escaped, a fault is
/// told by a place that exists, and nothing of the text is told.
pub fn templates(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    setting(text);
    for read in [set::env_file(text), set::map(text, MapFormat::Toml), set::map(text, MapFormat::Json)] {
        match read {
            Ok(layer) => names_hold(&layer),
            Err(wrong) => wrong.iter().for_each(|one| untold(&one.why, &one.place)),
        }
    }
}

fn setting(text: &str) {
    match Template::parse(text) {
        Err(bad) => {
            assert!((1..=text.chars().count() + 1).contains(&bad.place), "{} is no place", bad.place);
            untold(&bad, "");
        }
        Ok(template) => {
            let references = template.references().count();
            let plain = !text.starts_with('\\') && !text.contains("${");
            if references == 0 && plain {
                assert_eq!(rendered(&template), text);
            }
            assert!(references <= text.matches("://").count() + text.matches("=").count(), "more than were told");
        }
    }
    let escaped = escaped(text);
    let template = Template::parse(&escaped).expect("what is escaped is a text");
    assert_eq!((template.references().count(), rendered(&template)), (0, text.to_owned()), "{escaped:?}");
}

fn rendered(template: &Template) -> String {
    let none = SecretValue::new(*b"");
    let value = template.render(|_| &none).unwrap_or_else(|bad| panic!("{bad}"));
    String::from_utf8(value.expose().to_vec()).expect("texts and nothing are a text")
}

/// As the documentation tells to escape a text that is meant as it stands.
fn escaped(text: &str) -> String {
    let (mut escaped, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        let dollars = 1 + after.bytes().take_while(|byte| *byte == b'$').count();
        let behind = &after[dollars - 1..];
        let is_ours = behind.strip_prefix('{').is_some_and(|inside| {
            Reference::begins(inside) || inside.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("https://"))
        });
        escaped.push_str(before);
        escaped.push_str(&"$".repeat(if is_ours { 2 * dollars } else { dollars }));
        rest = behind;
    }
    escaped.push_str(rest);
    // Where the whole is, or begins like, a reference, behind any backslashes; a URL only if it is one of a secret.
    let bare = text.trim_start_matches('\\').trim();
    let refers = match bare.parse::<Reference>() {
        Ok(_) | Err(BadReference::Name(_)) => true,
        Err(BadReference::Pointer | BadReference::Tilde) => {
            let address = bare.split('#').next().unwrap_or_default();
            Reference::begins(bare) || address.parse::<Reference>().is_ok()
        }
        Err(BadReference::Form | BadReference::AppService(_)) => Reference::begins(bare),
    };
    if refers { format!("\\{escaped}") } else { escaped }
}

fn names_hold(layer: &Layer) {
    for name in layer.keys() {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(name.bytes().all(good) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit(), "{name:?}");
    }
}

fn untold(why: &impl Display, place: &str) {
    // A line may name its variable, which is no secret, and no longer than the file.
    let why = why.to_string();
    let why = why.split_once(": at character ").map_or(why.as_str(), |(_, why)| why);
    assert_tellable(why, 400);
    assert_tellable(place, 100);
    assert!(!why.contains(MARK), "{why}");
}
