mod parse;

use std::fmt;
use std::str::FromStr;

use parse::Piece;

use super::{BadName, SecretName, VaultName, Version};

/// The address of a secret: `secret://VAULT/NAME[@VERSION][#/json/pointer]`, `*` as VAULT for whichever vault has it.
///
/// Also parsed: `akv://…`; a Key Vault URL `https://V.vault.azure.net/secrets/NAME[/VERSION]`, of any cloud; Azure App
/// Service's `@Microsoft.KeyVault(SecretUri=…)` and `@Microsoft.KeyVault(VaultName=…;SecretName=…[;SecretVersion=…])`, its
/// parts in any order and case, with blanks around them and a `;` at the end; and, where only an address can stand (the
/// command line), `VAULT/NAME` or `NAME`. [`fmt::Display`] gives the `secret://` form, which parses to the same reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `None`: whichever vault has it.
    pub vault: Option<VaultName>,
    /// The secret's name.
    pub name: SecretName,
    /// `None`: the current one.
    pub version: Option<Version>,
    /// Picks one field out of a JSON value.
    pub pointer: Option<Pointer>,
}

/// Why a text is no reference. Never quotes the text: what stands where a reference is expected may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// No known form of address.
    #[error("is not a secret's address; expected secret://VAULT/NAME[@VERSION][#/json/pointer]")]
    Form,
    /// One of its parts is malformed.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The part after `#` is not an RFC 6901 pointer.
    #[error("has a field that is not a JSON pointer: it must start with '/'")]
    Pointer,
    /// In an RFC 6901 pointer, a `~` stands only in `~0` and `~1`.
    #[error("has a field that is not a JSON pointer: a '~' is written ~0 in it, and a '/' in a name ~1")]
    Tilde,
    /// An `@Microsoft.KeyVault(…)` of which a part is missing or unknown.
    #[error("is an App Service reference without {0}")]
    AppService(&'static str),
}

impl BadReference {
    /// What is wrong, without one character of the text.
    #[must_use]
    pub fn discreet(&self) -> String {
        match self {
            Self::Name(bad) => bad.discreet(),
            Self::Form | Self::Pointer | Self::Tilde | Self::AppService(_) => self.to_string(),
        }
    }
}

/// What is wrong with a reference, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// Where in the text, in bytes; always at a character's beginning or the text's end.
    pub at: usize,
    /// What is wrong there.
    pub fault: BadReference,
}

/// A JSON pointer (RFC 6901): empty for the whole value, or starting with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer(String);

impl Pointer {
    /// As [`serde_json::Value::pointer`] takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pointer {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        if !text.starts_with('/') {
            return Err(BadReference::Pointer);
        }
        let escaped = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if escaped { Ok(Self(text.to_owned())) } else { Err(BadReference::Tilde) }
    }
}

impl Reference {
    /// The current version of a secret in a vault.
    #[must_use]
    pub fn new(vault: VaultName, name: SecretName) -> Self {
        Self { vault: Some(vault), name, version: None, pointer: None }
    }

    /// Parses the short forms of the command line too: `VAULT/NAME[@VERSION]` and `NAME[@VERSION]`.
    ///
    /// # Errors
    /// If the text is neither a reference nor a short form of one.
    pub fn parse_lenient(text: &str) -> Result<Self, BadReference> {
        if text.contains("://") || text.starts_with('@') {
            return text.parse();
        }
        parse::short(Piece::whole(text)).map_err(|wrong| wrong.fault)
    }

    /// Parses any form, and tells the place of what is wrong.
    ///
    /// # Errors
    /// If the text is no reference.
    pub fn parse_placed(text: &str) -> Result<Self, Misplaced> {
        parse::any(Piece::whole(text))
    }

    /// Whether a text begins as a reference and as nothing else. A URL does not: settings are full of them.
    #[must_use]
    pub fn begins(text: &str) -> bool {
        parse::OURS.iter().any(|start| parse::begins(text, start))
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        Self::parse_placed(text).map_err(|wrong| wrong.fault)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vault {
            Some(vault) => write!(f, "secret://{vault}/{}", self.name)?,
            None => write!(f, "secret://*/{}", self.name)?,
        }
        if let Some(version) = &self.version {
            write!(f, "@{version}")?;
        }
        if let Some(pointer) = &self.pointer {
            write!(f, "#{}", pointer.0)?;
        }
        Ok(())
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: &str = "0b31729e2750416caba40429a1f3bea4";

    #[test]
    fn every_form_means_the_same_secret() {
        let expected: Reference = format!("secret://pay-prod/db-password@{V}").parse().unwrap();
        for form in [
            format!("akv://pay-prod/DB-password@{V}"),
            format!("https://pay-prod.vault.azure.net/secrets/db-password/{V}"),
            format!("https://PAY-prod.vault.azure.cn:443/secrets/db-password/{V}/"),
            format!("@Microsoft.KeyVault(SecretUri=https://pay-prod.vault.azure.net/secrets/db-password/{V})"),
            format!("@Microsoft.KeyVault(VaultName=pay-prod;SecretName=db-password;SecretVersion={V})"),
            format!("@microsoft.keyvault( secretversion={V} ; SecretName = db-password;VAULTNAME=Pay-Prod; )"),
            format!(
                "@Microsoft.KeyVault(SecretUri=https://pay-prod.vault.usgovcloudapi.net/secrets/db-password/{V}/;)"
            ),
            format!("HTTPS://pay-prod.vault.local.azurestack.external/secrets/db-password/{V}"),
            format!("Secret://pay-prod/db-password@{}", V.to_uppercase()),
        ] {
            assert_eq!(form.parse(), Ok(expected.clone()), "{form}");
        }
        assert_eq!(Reference::parse_lenient(&format!("pay-prod/db-password@{V}")), Ok(expected.clone()));
        assert_eq!(expected.to_string().parse(), Ok(expected));
    }

    #[test]
    fn any_vault_a_source_and_a_field() {
        let any: Reference = "secret://*/redis#/hosts/0".parse().unwrap();
        assert_eq!((&any.vault, any.pointer.as_ref().unwrap().as_str()), (&None, "/hosts/0"));
        assert_eq!(any.to_string(), "secret://*/redis#/hosts/0");
        assert_eq!(Reference::parse_lenient("redis").unwrap().to_string(), "secret://*/redis");
        let other: Reference = "secret://gov:pay/redis".parse().unwrap();
        assert_eq!(other.vault.unwrap().as_str(), "gov:pay");
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for bad in [
            "hunter2",
            "secret://pay",
            "secret://pay/a/b",
            "secret://pay/../keys/k",
            "secret://pay/a#b",
            "secret://pay/a@1",
            "https://evil.example/secrets/a",
            "https://u:p@pay.vault.azure.net/secrets/a",
            "https://pay.vault.azure.net/keys/a",
            "@Microsoft.KeyVault(VaultName=pay)",
            "@Microsoft.KeyVault(Vault=pay;SecretName=x)",
            "@Microsoft.KeyVault(VaultName=pay;SecretName=x;SecretName=y)",
            "@Microsoft.KeyVault(VaultName=pay;SecretUri=https://pay.vault.azure.net/secrets/a)",
            "@Microsoft.KeyVault(VaultName=*;SecretName=x)",
            "@Microsoft.KeyVault()",
            "@Microsoft.KeyVault(VaultName=pay;SecretName=x",
            "secret://pay/a#/b~2",
        ] {
            let error = bad.parse::<Reference>().expect_err(bad);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_fault_tells_its_place_and_not_the_character() {
        for (text, at) in [
            ("secret://pay/hunter_2", 19),
            ("secret://pa y/hunter2", 11),
            ("secret://gov:p_y/a", 14),
            ("secret://pay/a@hunter2", 15),
            ("secret://pay/a#hunter2", 15),
            ("secret://hunter2", 9),
            ("https://pay.vault.azure.net/secrets/hunter!2", 42),
            ("https://pay.vault.azure.net/secrets/a/hunter2", 38),
            ("@Microsoft.KeyVault(VaultName=p;SecretName= hunter!2)", 50),
            ("@Microsoft.KeyVault(SecretUri=https://pay.vault.azure.net/secrets/hunter!2)", 72),
            ("@Microsoft.KeyVault(VaultName=p;Hunter=2)", 32),
        ] {
            let wrong = Reference::parse_placed(text).expect_err(text);
            assert_eq!(wrong.at, at, "{text}");
            let told = wrong.fault.discreet();
            assert!(!told.contains(['!', '_']) && !told.to_lowercase().contains("hunter"), "{told}");
        }
    }
}
