//! A vault's address, checked: the only hosts that a Key Vault token may ever be sent to.
//!
//! Compared as text, not as a parsed URL: URL parsers repair what they are given (full-width letters, other dots, tabs,
//! back-slashes), and a repaired address is not the one that was checked.

use std::fmt;

use url::Url;

use crate::secret::VaultName;

/// `https://LABEL<suffix>`: one plain label before one of the allowed suffixes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct VaultAddress {
    host: String,
    name: VaultName,
}

impl VaultAddress {
    /// Checks an address that came from the wire or the configuration. `None`: it is none of this cloud's vaults.
    pub(super) fn parse(uri: &str, suffixes: &[String]) -> Option<Self> {
        let (scheme, rest) = uri.split_at_checked("https://".len())?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let host = host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
        if !scheme.eq_ignore_ascii_case("https://") {
            return None;
        }
        let label = suffixes.iter().find_map(|suffix| host.strip_suffix(suffix.as_str()))?;
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        // An internationalised label can look like another one.
        if !plain || label.starts_with('-') || label.starts_with("xn--") {
            return None;
        }
        Some(Self { name: label.parse().ok()?, host })
    }

    /// The vault of that name.
    pub(super) fn of_name(name: &VaultName, suffixes: &[String]) -> Option<Self> {
        Self::parse(&format!("https://{}{}", name.bare(), suffixes.first()?), suffixes)
    }

    /// The vault's name: the host's first label.
    pub(super) fn name(&self) -> &VaultName {
        &self.name
    }

    /// Whether it is one label under that suffix.
    pub(super) fn is_under(&self, suffix: &str) -> bool {
        self.host.strip_suffix(suffix) == Some(self.name.as_str())
    }

    /// The path of a URL of this vault that is written plainly: with the host as it is here, and letters, digits, '-' and
    /// '/' behind it. `None`: it is not, and may be one all the same.
    pub(super) fn plain_path<'u>(&self, url: &'u str) -> Option<&'u str> {
        let path = url.strip_prefix("https://")?.strip_prefix(self.host.as_str())?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/');
        (path.starts_with('/') && path.bytes().all(plain)).then_some(path)
    }

    /// As a URL.
    pub(super) fn url(&self) -> Url {
        Url::parse(&format!("https://{}", self.host)).expect("letters, digits, '-' and '.' make a host")
    }
}

impl fmt::Debug for VaultAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// The host that a refused address claims, for people; control characters and the like are told escaped.
pub(super) fn claimed_host(uri: &str) -> String {
    let parsed = Url::parse(uri).ok().and_then(|url| url.host_str().map(str::to_owned));
    parsed.unwrap_or_else(|| uri.chars().take(253).flat_map(char::escape_debug).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(uri: &str) -> Option<String> {
        let suffixes = [".vault.azure.net".to_owned(), ".vault.azure.cn".to_owned()];
        VaultAddress::parse(uri, &suffixes).map(|address| address.host)
    }

    #[test]
    fn a_vault_is_one_plain_label_under_an_allowed_suffix() {
        for good in [
            "https://pay-prod.vault.azure.net",
            "https://Pay-Prod.vault.azure.net/",
            "HTTPS://pay-prod.vault.azure.net:443/",
        ] {
            assert_eq!(host(good).as_deref(), Some("pay-prod.vault.azure.net"), "{good}");
        }
        assert_eq!(host("https://x.vault.azure.cn/").as_deref(), Some("x.vault.azure.cn"));
    }

    #[test]
    fn every_other_host_is_foreign() {
        for foreign in [
            "",
            "https://",
            "é",
            "http://pay.vault.azure.net",
            "https://pay.vault.azure.net.evil.example/",
            "https://evil.example/pay.vault.azure.net",
            "https://evil.example?.vault.azure.net",
            "https://evil.example#.vault.azure.net",
            "https://evil.example\\.vault.azure.net",
            "https://user@pay.vault.azure.net/",
            "https://user:p@pay.vault.azure.net/",
            "https://pay.vault.azure.net@evil.example/",
            "https://pay.vault.azure.net:8443/",
            "https://pay.vault.azure.net:0443/",
            "https://a.b.vault.azure.net/",
            "https://.vault.azure.net/",
            "https://vault.azure.net/",
            "https://evilvault.azure.net/",
            "https://pay.vault.azure.net./",
            "https://pay.vault.azure.net/x",
            "https://ｐａｙ.vault.azure.net/",
            "https://pay。vault。azure。net/",
            "https://раy.vault.azure.net/",
            "https://xn--y-7sbb.vault.azure.net/",
            "https://pa\ty.vault.azure.net/",
            "https://hsm.managedhsm.azure.net/",
            "https://127.0.0.1/",
            " https://pay.vault.azure.net",
        ] {
            assert_eq!(host(foreign), None, "{foreign:?}");
        }
    }
}
