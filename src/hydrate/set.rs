//! A set of variables from several places: whole listings, env files, maps. Each place is a layer, and a later layer wins;
//! who gathers them lays them in this order: environment, `--all-from`, `--env-file`, `--map`, `--set`.
//!
//! Must never happen: a variable that two secrets could mean; a fault that quotes the text it was found in.

mod env_file;
mod file;
mod map;
mod naming;

use std::collections::BTreeMap;
use std::fmt;

pub use file::{Unreadable, read};
pub use naming::Naming;
use zeroize::Zeroizing;

use super::Template;
use crate::secret::Reference;

/// Variables by name.
pub type Layer = BTreeMap<String, Template>;

/// What is wrong in one place of a layer. Never quotes a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// A line, or a variable's name.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

/// How a map is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapFormat {
    /// `NAME = "reference or text with references"`
    Toml,
    /// `{"NAME": "reference or text with references"}`
    Json,
}

/// The layer of an env file: `NAME=VALUE` lines, as `.env` files have them, without any expansion: a `$` is a `$`.
///
/// # Errors
/// Every line that is none, and every value that is no template.
pub fn env_file(text: &str) -> Result<Layer, Vec<Wrong>> {
    templates(env_file::parse(text)?)
}

/// The layer of a map.
///
/// # Errors
/// If it is no flat map of text to text, a name comes twice, or a value is no template.
pub fn map(text: &str, format: MapFormat) -> Result<Layer, Vec<Wrong>> {
    templates(map::parse(text, format)?)
}

/// The layer of secrets that were listed, each named after itself.
///
/// # Errors
/// Every name that two secrets would have, or that is none.
pub fn all_of<'r>(listed: impl IntoIterator<Item = &'r Reference>, naming: &Naming) -> Result<Layer, Vec<Wrong>> {
    let (mut named, mut wrong) = (BTreeMap::<String, &Reference>::new(), Vec::new());
    for reference in listed {
        let name = naming.of(&reference.name);
        if !is_name(&name) {
            let why = format!("{reference} gives no variable's name; --prefix can mend it");
            wrong.push(Wrong { place: name, why });
        } else if let Some(other) = named.get(&name).filter(|other| **other != reference) {
            wrong.push(Wrong { place: name, why: format!("both {other} and {reference} give this name") });
        } else {
            named.insert(name, reference);
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(named.into_iter().map(|(name, reference)| (name, Template::of(reference.clone()))).collect())
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// A name with what stands for it, where in a file it was told.
struct Told {
    place: String,
    name: String,
    text: Zeroizing<String>,
}

fn templates(told: Vec<Told>) -> Result<Layer, Vec<Wrong>> {
    let (mut layer, mut wrong) = (Layer::new(), Vec::new());
    for Told { place, name, text } in told {
        match Template::parse(&text) {
            Ok(template) => drop(layer.insert(name, template)),
            Err(bad) => wrong.push(Wrong { place, why: format!("{name}: {bad}") }),
        }
    }
    if wrong.is_empty() { Ok(layer) } else { Err(wrong) }
}

/// What every shell takes for a variable's name.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(fits) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretValue;

    fn shown(layer: &Layer) -> Vec<String> {
        let value = SecretValue::new(*b"*");
        let one = |(name, template): (&String, &Template)| {
            let text = template.render(|_| &value).unwrap().expose().to_vec();
            format!("{name}={}", String::from_utf8(text).unwrap())
        };
        layer.iter().map(one).collect()
    }

    #[test]
    fn an_env_file_is_read_as_others_read_it_but_expands_nothing() {
        let text = "\u{feff}# a comment\n\nexport A = b c  # told\nB='x # $HOME\\n\n y'\r\nC=\"a\\n\\\"\\$\\q\" # told\nD=\nE=secret://pay/db#/x\n\
                    F=postgres://${secret://pay/db|url}@h/#f\nA=last\nG=''\nH=${X}";
        assert_eq!(
            shown(&env_file(text).unwrap()),
            ["A=last", "B=x # $HOME\\n\n y", "C=a\n\"$\\q", "D=", "E=*", "F=postgres://%2A@h/#f", "G=", "H=${X}"]
        );
    }

    #[test]
    fn every_fault_of_an_env_file_is_told_by_its_line_and_never_quoted() {
        let wrong = |text| env_file(text).err().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        let told = wrong("hunter2\nOK=1\n1A=hunter2\nB='a' hunter2\nC=\"hunter2");
        assert_eq!(
            told.iter().map(|line| &line[..7]).collect::<Vec<_>>(),
            ["line 1:", "line 3:", "line 4:", "line 5:"]
        );
        assert!(!told.concat().contains("hunter2"));
        let told = wrong("A=1\nB=secret://hunter2");
        assert!(told[0].starts_with("line 2: B: at character 10: ") && !told[0].contains("hunter2"), "{told:?}");
    }

    #[test]
    fn maps_are_flat_and_name_everything_once() {
        let expected = ["A=*", "B=x*y"];
        let json = r#"{"A": "secret://pay/db", "B": "x${secret://pay/db}y"}"#;
        assert_eq!(shown(&map(json, MapFormat::Json).unwrap()), expected);
        let toml = "A = \"secret://pay/db\"\nB = 'x${secret://pay/db}y'";
        assert_eq!(shown(&map(toml, MapFormat::Toml).unwrap()), expected);
        for (text, format) in [
            (r#"{"A": "hunter2", "A": "x"}"#, MapFormat::Json),
            (r#"{"A": ["hunter2"]}"#, MapFormat::Json),
            (r#"{"A": 77777}"#, MapFormat::Json),
            (r#"{"A B": "x"}"#, MapFormat::Json),
            ("A = \"hunter2\"\nA = \"x\"", MapFormat::Toml),
            ("A = 77777", MapFormat::Toml),
            ("A = hunter2", MapFormat::Toml),
        ] {
            let wrong = map(text, format).err().expect(text);
            let told = wrong.iter().map(ToString::to_string).collect::<String>();
            assert!(!told.contains("hunter2") && !told.contains("77777"), "{told}");
        }
    }

    #[test]
    fn listed_secrets_are_named_after_themselves_and_collisions_are_told() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Reference>>();
        let naming = Naming { strip: Some("orders-".to_owned()), prefix: "APP_".to_owned(), keep_case: false };
        let layer = all_of(&of(&["secret://pay/orders-db-password", "secret://pay/redis"]), &naming).unwrap();
        assert_eq!(shown(&layer), ["APP_DB_PASSWORD=*", "APP_REDIS=*"]);
        let wrong =
            all_of(&of(&["secret://a/db", "secret://b/db", "secret://a/1x"]), &Naming::default()).err().unwrap();
        assert_eq!(wrong[0].to_string(), "DB: both secret://a/db and secret://b/db give this name");
        assert!(wrong[1].why.contains("secret://a/1x"));
    }
}
