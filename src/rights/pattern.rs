//! Secrets meant by a glob over vaults and one over names, as a configuration or a watcher writes them.

use std::fmt;
use std::str::FromStr;

use super::glob::Glob;
use crate::secret::{Reference, SecretName, VaultName};

/// `secret://VAULT/NAME`, or `VAULT/NAME`, where both may be globs.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    pub(super) vault: Glob,
    pub(super) name: Glob,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

impl Pattern {
    /// Parses every form of a reference too, and `NAME` alone, which means that name in every vault. A field is passed over:
    /// it changes with its secret.
    ///
    /// # Errors
    /// If the text is neither a pattern nor a reference, or names a version, which never changes.
    pub fn parse_lenient(text: &str) -> Result<Self, BadPattern> {
        match Reference::parse_lenient(text) {
            Ok(Reference { version: Some(_), .. }) => {
                Err(BadPattern("a version never changes: leave it out".to_owned()))
            }
            Ok(Reference { vault: Some(vault), name, .. }) => format!("{vault}/{name}").parse(),
            Ok(Reference { vault: None, name, .. }) => format!("*/{name}").parse(),
            Err(_) if !text.contains('/') && !text.starts_with('@') => format!("*/{text}").parse(),
            Err(_) => text.parse(),
        }
    }

    /// Whether it means that secret of a vault; the vault's address and its `source:vault` are both its names.
    #[must_use]
    pub fn means(&self, address: &VaultName, id: &VaultName, name: &SecretName) -> bool {
        self.covers(address, id) && self.name.matches(name.as_str())
    }

    /// Whether it means that secret of some vault.
    #[must_use]
    pub fn means_anywhere(&self, name: &SecretName) -> bool {
        self.name.matches(name.as_str())
    }

    /// Whether it may mean a secret of that vault.
    #[must_use]
    pub fn covers(&self, address: &VaultName, id: &VaultName) -> bool {
        self.vault.matches(address.as_str()) || self.vault.matches(id.as_str())
    }

    /// The vault, if it means one by its name.
    #[must_use]
    pub fn vault(&self) -> Option<VaultName> {
        self.vault.exact()?.parse().ok()
    }

    /// The secret, if it means one by its name.
    #[must_use]
    pub fn name(&self) -> Option<SecretName> {
        self.name.exact()?.parse().ok()
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = |why: &str| BadPattern(why.to_owned());
        let rest = text.strip_prefix("secret://").or_else(|| text.strip_prefix("akv://")).unwrap_or(text);
        let (vault, name) = rest.split_once('/').ok_or_else(|| bad("expected VAULT/NAME; both may be globs"))?;
        if name.contains(['/', '@', '#']) {
            return Err(bad("a version or a field cannot stand in a pattern"));
        }
        let glob =
            |part: &'static str, text: &str| Glob::new(text).map_err(|error| BadPattern(format!("`{part}` {error}")));
        let pattern = Self { text: text.to_owned(), vault: glob("vault", vault)?, name: glob("name", name)? };
        // What is no glob must be a name: a typing error would mean nothing, for ever.
        if pattern.vault.exact().is_some() && pattern.vault().is_none() {
            return Err(bad("the vault is no name"));
        }
        if pattern.name.exact().is_some() && pattern.name().is_none() {
            return Err(bad("the secret is no name"));
        }
        Ok(pattern)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(pattern: &str, vault: &str, name: &str) -> bool {
        let id = vault.parse::<VaultName>().unwrap().qualified(&"s".parse().unwrap());
        pattern.parse::<Pattern>().unwrap().means(&vault.parse().unwrap(), &id, &name.parse().unwrap())
    }

    #[test]
    fn a_vault_and_a_name_by_globs_or_by_name() {
        assert!(means("secret://pay-prod/db-*", "pay-prod", "db-password"));
        assert!(means("*/db-*", "pay-prod", "db-password"));
        assert!(means("s:pay-prod/*", "pay-prod", "db-password"));
        assert!(means("PAY-prod/DB-password", "pay-prod", "db-password"));
        assert!(!means("pay/*", "pay-prod", "db-password"));
        assert!(!means("pay-prod/db", "pay-prod", "db-password"));
        for (lenient, name) in [
            ("db-password", "db-password"),
            ("db-*", "db-password"),
            ("secret://*/db-password#/user", "db-password"),
            ("https://pay-prod.vault.azure.net/secrets/db-password", "db-password"),
            ("@Microsoft.KeyVault(VaultName=pay-prod;SecretName=db-password)", "db-password"),
            ("pay-*/*", "anything"),
        ] {
            let pattern = Pattern::parse_lenient(lenient).unwrap();
            assert!(means(&pattern.to_string(), "pay-prod", name), "{lenient}");
        }
        for bad in [
            "",
            "db@0b31729e2750416caba40429a1f3bea4",
            "a/b/c",
            "@Microsoft.KeyVault(x)",
            "https://evil.example/",
            "[",
            "a b",
        ] {
            assert!(Pattern::parse_lenient(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "pay",
            "pay/",
            "/db",
            "pay/db@v",
            "pay/db#/x",
            "pay/a/b",
            "pa y/db",
            "pay/d_b",
            "pay/[",
            "secret://pay",
        ] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
