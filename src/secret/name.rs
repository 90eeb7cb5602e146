use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is no name. Says what and where, so that the caller can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {reason}")]
pub struct BadName {
    what: &'static str,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("is empty")]
    Empty,
    /// Escaped, so that a control character cannot reach a terminal or a log.
    #[error("has {bad:?} at character {}; {ALLOWED}", .bytes + 1)]
    Character { bad: char, bytes: usize },
    #[error("has {length} characters; {most} is the most")]
    Long { length: usize, most: usize },
    #[error("is not 32 hexadecimal digits")]
    Version,
}

const ALLOWED: &str = "allowed are letters, digits and '-'";

impl BadName {
    /// The same without one character of the text, which may stand where a secret was put by mistake.
    pub(super) fn discreet(&self) -> String {
        match &self.reason {
            Reason::Character { .. } => format!("{} has a character that it cannot have; {ALLOWED}", self.what),
            Reason::Empty | Reason::Long { .. } | Reason::Version => self.to_string(),
        }
    }

    /// Where in the name it is, in bytes.
    pub(super) fn offset(&self) -> usize {
        match &self.reason {
            Reason::Character { bytes, .. } => *bytes,
            Reason::Empty | Reason::Long { .. } | Reason::Version => 0,
        }
    }
}

/// Letters, digits and `-` only, within a length.
fn check(what: &'static str, text: &str, most: usize, extra: &[u8]) -> Result<(), BadName> {
    let wrong = |reason| Err(BadName { what, reason });
    if text.is_empty() {
        return wrong(Reason::Empty);
    }
    // All before it is ASCII, so that it begins a character, and has as many characters as bytes before it.
    let is_bad = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'-' && !extra.contains(&byte);
    if let Some(bytes) = text.bytes().position(is_bad) {
        let bad = text[bytes..].chars().next().expect("a byte is there");
        return wrong(Reason::Character { bad, bytes });
    }
    if text.len() > most {
        return wrong(Reason::Long { length: text.len(), most });
    }
    Ok(())
}

/// Lower-cased: in one piece where it is so already, as nearly all are.
fn lowered(text: &str) -> Arc<str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text, lower-cased.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// A secret's name: 1 to 127 of `[0-9A-Za-z-]`. Key Vault's identifiers ignore case, so it is kept lower-cased
    /// (<https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>).
    SecretName
}
name_type! {
    /// A secret's version, as Key Vault makes them: 32 hexadecimal digits, kept lower-cased.
    Version
}
name_type! {
    /// A vault's name, lower-cased: unique in this sidecar. A second vault of the same name from another source is
    /// `source:vault`; that form addresses every vault, the first one too.
    VaultName
}
name_type! {
    /// A source's name: 1 to 63 of `[0-9A-Za-z-_]`, lower-cased.
    SourceName
}

impl FromStr for SecretName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        check("secret name", text, 127, b"")?;
        Ok(Self(lowered(text)))
    }
}

impl FromStr for Version {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadName { what: "version", reason: Reason::Version });
        }
        Ok(Self(lowered(text)))
    }
}

impl FromStr for SourceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        check("source name", text, 63, b"_")?;
        Ok(Self(lowered(text)))
    }
}

impl FromStr for VaultName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let vault = match text.split_once(':') {
            Some((source, vault)) => {
                source.parse::<SourceName>()?;
                vault
            }
            None => text,
        };
        check("vault name", vault, 127, b"")?;
        Ok(Self(lowered(text)))
    }
}

impl VaultName {
    /// The same vault, addressed through its source: `source:vault`.
    #[must_use]
    pub fn qualified(&self, source: &SourceName) -> Self {
        Self(format!("{source}:{}", self.bare()).into())
    }

    /// The name without its source.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(_, vault)| vault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_become_other_requests_are_refused_and_told_where() {
        for bad in ["", "a/b", "..", "%2f", "a%2fb", "a\0b", "a b", "{secret-version}", "ключ", &"a".repeat(128)] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad:?} must be refused");
        }
        let error = "db/password".parse::<SecretName>().unwrap_err();
        assert_eq!(error.to_string(), "secret name has '/' at character 3; allowed are letters, digits and '-'");
        assert!("a\u{1b}[31m".parse::<SecretName>().unwrap_err().to_string().contains("\\u{1b}"));
    }

    #[test]
    fn case_is_ignored_as_key_vault_does() {
        assert_eq!("DB-Password".parse::<SecretName>(), "db-password".parse());
    }

    #[test]
    fn a_vault_may_be_addressed_through_its_source() {
        let vault: VaultName = "Prod:Pay".parse().unwrap();
        assert_eq!((vault.as_str(), vault.bare()), ("prod:pay", "pay"));
        assert!("a:b:c".parse::<VaultName>().is_err());
    }
}
