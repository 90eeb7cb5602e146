//! Key Vault's answers in our words, each checked to be the answer to what was asked.

use azure_security_keyvault_secrets::models::{Secret as SecretModel, SecretAttributes, SecretProperties};
use url::Url;

use crate::secret::{Metadata, Secret, SecretName, SecretValue, Version};
use crate::vaults::VaultError;
use crate::vaults::azure::address::VaultAddress;
use crate::vaults::azure::errors::malformed;

/// A get's answer: it must name this vault, this secret and, if one was asked for, this version.
///
/// The value is moved out at once. The buffers it came in are the SDK's and the HTTP stack's, and are not wiped.
pub(super) fn secret(
    address: &VaultAddress,
    name: &SecretName,
    version: Option<&Version>,
    mut model: SecretModel,
) -> Result<Secret, VaultError> {
    let value = model.value.take().map(SecretValue::new);
    let (named, told) = identity(address, model.id.as_deref())?;
    let told = told.ok_or_else(|| malformed("the vault's answer does not tell its version"))?;
    if named != *name || version.is_some_and(|asked| *asked != told) {
        return Err(malformed("the vault answered with another secret or version than was asked for"));
    }
    let value = value.ok_or_else(|| malformed("the vault's answer has no value"))?;
    let described = Described {
        attributes: model.attributes,
        content_type: model.content_type,
        tags: model.tags,
        managed: model.managed,
    };
    Ok(Secret { metadata: described.metadata(named, Some(told)), value })
}

/// An item of a listing.
pub(super) fn item(address: &VaultAddress, model: SecretProperties) -> Result<Metadata, VaultError> {
    let (name, version) = identity(address, model.id.as_deref())?;
    let described = Described {
        attributes: model.attributes,
        content_type: model.content_type,
        tags: model.tags,
        managed: model.managed,
    };
    Ok(described.metadata(name, version))
}

/// Name and version from an id such as `https://x.vault.azure.net/secrets/NAME[/VERSION]`, which must be this vault's.
fn identity(address: &VaultAddress, id: Option<&str>) -> Result<(SecretName, Option<Version>), VaultError> {
    let none = || malformed("the vault's answer has no id");
    let id = id.ok_or_else(none)?;
    let url;
    let path = match address.plain_path(id) {
        // As Key Vault writes it: there is one for each secret that is listed.
        Some(path) => path,
        None => {
            url = Url::parse(id).map_err(|_| none())?;
            if url.origin() != address.url().origin() {
                return Err(malformed("the answer's id is of another vault"));
            }
            url.path()
        }
    };
    let unknown = || malformed("the answer's id is not one of a secret");
    let path = path.strip_prefix("/secrets/").ok_or_else(unknown)?;
    let (name, version) = match path.trim_end_matches('/').split_once('/') {
        None => (path.trim_end_matches('/'), None),
        Some((name, version)) => (name, Some(version.parse().map_err(|_| unknown())?)),
    };
    Ok((name.parse().map_err(|_| unknown())?, version))
}

/// What a get and a listing have in common.
struct Described {
    attributes: Option<SecretAttributes>,
    content_type: Option<String>,
    tags: Option<std::collections::HashMap<String, String>>,
    managed: Option<bool>,
}

impl Described {
    fn metadata(self, name: SecretName, version: Option<Version>) -> Metadata {
        let attributes = self.attributes.unwrap_or_default();
        Metadata {
            name,
            version,
            enabled: attributes.enabled.unwrap_or(true),
            not_before: attributes.not_before,
            expires: attributes.expires,
            created: attributes.created,
            updated: attributes.updated,
            content_type: self.content_type,
            tags: self.tags.unwrap_or_default().into_iter().collect(),
            managed: self.managed.unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: &str = "0b31729e2750416caba40429a1f3bea4";

    fn address() -> VaultAddress {
        VaultAddress::parse("https://pay.vault.azure.net", &[".vault.azure.net".to_owned()]).unwrap()
    }

    fn of(id: &str) -> Result<(SecretName, Option<Version>), VaultError> {
        identity(&address(), Some(id))
    }

    #[test]
    fn an_id_is_this_vaults_whatever_its_case_and_default_port() {
        let (name, version) = of(&format!("https://PAY.vault.azure.net:443/secrets/Db-Password/{V}")).unwrap();
        assert_eq!((name.as_str(), version.unwrap().as_str()), ("db-password", V));
        assert_eq!(of("https://pay.vault.azure.net/secrets/a").unwrap().1, None);
        for same in ["secrets/x/../a", "secrets/a?x=y", "secrets/a/"] {
            assert_eq!(of(&format!("https://pay.vault.azure.net/{same}")).unwrap().0.as_str(), "a");
        }
    }

    #[test]
    fn an_id_of_anything_else_is_malformed() {
        for bad in [
            "",
            "db-password",
            "https://other.vault.azure.net/secrets/a",
            "https://pay.vault.azure.netx/secrets/a",
            "https://pay.vault.azure.net.evil.example/secrets/a",
            "http://pay.vault.azure.net/secrets/a",
            "https://pay.vault.azure.net/keys/a",
            "https://pay.vault.azure.net/%73ecrets/a",
            "https://pay.vault.azure.net/secrets/",
            "https://pay.vault.azure.net/secrets/a%2Fb",
            "https://pay.vault.azure.net/secrets/a/not-a-version",
            &format!("https://pay.vault.azure.net/secrets/a/{V}/more"),
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(identity(&address(), None).is_err());
    }

    #[test]
    fn another_secrets_answer_is_never_taken_for_this_one() {
        let model = || {
            let json = format!(
                r#"{{"value":"v","id":"https://pay.vault.azure.net/secrets/a/{V}","attributes":{{"enabled":true}}}}"#
            );
            serde_json::from_str::<SecretModel>(&json).unwrap()
        };
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (told, other) = (V.parse().unwrap(), "00000000000000000000000000000000".parse().unwrap());
        assert_eq!(secret(&address(), &a, Some(&told), model()).unwrap().value.expose(), b"v");
        assert!(secret(&address(), &b, None, model()).is_err());
        assert!(secret(&address(), &a, Some(&other), model()).is_err());
    }
}
