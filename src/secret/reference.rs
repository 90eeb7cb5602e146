use std::fmt;
use std::str::FromStr;

use super::{BadName, SecretName, VaultName, Version};

/// The address of a secret: `secret://VAULT/NAME[@VERSION][#/json/pointer]`, `*` as VAULT for whichever vault has it.
///
/// Also parsed: `akv://…`; a Key Vault URL `https://V.vault.azure.net/secrets/NAME[/VERSION]`; Azure App Service's
/// `@Microsoft.KeyVault(SecretUri=…)` and `@Microsoft.KeyVault(VaultName=…;SecretName=…[;SecretVersion=…])`; and, where
/// only an address can stand (the command line), `VAULT/NAME` or `NAME`. [`fmt::Display`] gives the `secret://` form,
/// which parses to the same reference.
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
    /// An `@Microsoft.KeyVault(…)` of which a part is missing or unknown.
    #[error("is an App Service reference without {0}")]
    AppService(&'static str),
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
        if text.starts_with('/') { Ok(Self(text.to_owned())) } else { Err(BadReference::Pointer) }
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
        let (address, pointer) = split_pointer(text)?;
        let parsed = match address.split_once('/') {
            Some((vault, rest)) => parse_path(vault, rest, '@')?,
            None => {
                let (name, version) = split_version(address, '@')?;
                Self { vault: None, name, version, pointer: None }
            }
        };
        Ok(Self { pointer, ..parsed })
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        if let Some(body) = text.strip_prefix("@Microsoft.KeyVault(").and_then(|rest| rest.strip_suffix(')')) {
            return parse_app_service(body);
        }
        if let Some(rest) = text.strip_prefix("secret://").or_else(|| text.strip_prefix("akv://")) {
            let (address, pointer) = split_pointer(rest)?;
            let (vault, rest) = address.split_once('/').ok_or(BadReference::Form)?;
            return Ok(Self { pointer, ..parse_path(vault, rest, '@')? });
        }
        if text.starts_with("https://") {
            return parse_url(text);
        }
        Err(BadReference::Form)
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

fn split_pointer(text: &str) -> Result<(&str, Option<Pointer>), BadReference> {
    match text.split_once('#') {
        None => Ok((text, None)),
        Some((address, pointer)) => Ok((address, Some(pointer.parse()?))),
    }
}

fn split_version(text: &str, mark: char) -> Result<(SecretName, Option<Version>), BadReference> {
    Ok(match text.split_once(mark) {
        None => (text.parse()?, None),
        Some((name, version)) => (name.parse()?, Some(version.parse()?)),
    })
}

fn parse_path(vault: &str, rest: &str, version_mark: char) -> Result<Reference, BadReference> {
    let (name, version) = split_version(rest, version_mark)?;
    let vault = if vault == "*" { None } else { Some(vault.parse()?) };
    Ok(Reference { vault, name, version, pointer: None })
}

/// `https://V.<suffix>/secrets/NAME[/VERSION]`. Only the vault's label is taken: which host is asked is decided by
/// discovery and the allow-list, never by a reference.
fn parse_url(text: &str) -> Result<Reference, BadReference> {
    let (text, pointer) = split_pointer(text)?;
    let url = url::Url::parse(text).map_err(|_| BadReference::Form)?;
    let host = url.host_str().ok_or(BadReference::Form)?;
    let (vault, suffix) = host.split_once('.').ok_or(BadReference::Form)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || !suffix.starts_with("vault.") || vault == "*" {
        return Err(BadReference::Form);
    }
    let path = url.path().strip_prefix("/secrets/").ok_or(BadReference::Form)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    Ok(Reference { pointer, ..parse_path(vault, path, '/')? })
}

fn parse_app_service(body: &str) -> Result<Reference, BadReference> {
    let (mut vault, mut name, mut version) = (None, None, None);
    for part in body.split(';').filter(|part| !part.trim().is_empty()) {
        let (key, value) = part.split_once('=').ok_or(BadReference::AppService("KEY=VALUE parts"))?;
        let value = value.trim();
        match key.trim() {
            "SecretUri" => return parse_url(value),
            "VaultName" => vault = Some(value.parse()?),
            "SecretName" => name = Some(value.parse()?),
            "SecretVersion" if value.is_empty() => {}
            "SecretVersion" => version = Some(value.parse()?),
            _ => return Err(BadReference::AppService("a known key: SecretUri, VaultName, SecretName, SecretVersion")),
        }
    }
    Ok(Reference {
        vault: Some(vault.ok_or(BadReference::AppService("VaultName"))?),
        name: name.ok_or(BadReference::AppService("SecretName"))?,
        version,
        pointer: None,
    })
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
        ] {
            let error = bad.parse::<Reference>().expect_err(bad);
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
