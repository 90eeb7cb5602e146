//! Names to addresses: the configured overrides first, then the system, then what the system said last. Certificates are
//! checked against the name whichever it was, so that an old address can lead nowhere but to a failure.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::last_good::LastGood;
use crate::vaults::azure::SetupError;

/// Where configured names are, instead of where the system says. An exact name is stronger than a pattern, a longer
/// pattern stronger than a shorter one.
#[derive(Debug, Default)]
pub(in crate::vaults::azure) struct Overrides {
    exact: Vec<(String, SocketAddr)>,
    /// With the leading dot; longest first.
    suffixes: Vec<(String, SocketAddr)>,
}

impl Overrides {
    /// Parses host names and `*.suffix` patterns.
    pub(in crate::vaults::azure) fn new(pairs: &[(String, SocketAddr)]) -> Result<Self, SetupError> {
        let mut overrides = Self::default();
        for (host, address) in pairs {
            let (list, name) = match host.strip_prefix('*') {
                Some(suffix) if suffix.starts_with('.') => (&mut overrides.suffixes, suffix),
                Some(_) => return Err(SetupError::Resolve { host: host.clone() }),
                None => (&mut overrides.exact, host.as_str()),
            };
            let bare = name.trim_start_matches('.');
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
            if bare.is_empty() || !bare.chars().all(plain) {
                return Err(SetupError::Resolve { host: host.clone() });
            }
            list.push((name.to_ascii_lowercase(), *address));
        }
        overrides.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Ok(overrides)
    }

    /// The override of a lower-case host name, if it has one.
    pub(in crate::vaults::azure) fn find(&self, host: &str) -> Option<SocketAddr> {
        let exact = self.exact.iter().find(|(name, _)| name == host);
        let found = exact.or_else(|| self.suffixes.iter().find(|(suffix, _)| host.ends_with(suffix.as_str())));
        found.map(|(_, address)| *address)
    }
}

/// A name that has no address. A type of its own, so that errors can be told apart without reading texts.
#[derive(Debug, thiserror::Error)]
#[error("the name does not resolve")]
pub(in crate::vaults::azure) struct Unresolved(#[source] pub(in crate::vaults::azure) std::io::Error);

/// As reqwest asks for addresses.
pub(super) struct Resolver {
    pub(super) overrides: Arc<Overrides>,
    pub(super) names: LastGood,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_ascii_lowercase();
        if let Some(address) = self.overrides.find(&host) {
            return Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) });
        }
        let names = self.names.clone();
        Box::pin(async move {
            let found = names.find(host).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.overrides.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(host: &str, port: u16) -> (String, SocketAddr) {
        (host.to_owned(), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn the_closest_override_wins_and_a_pattern_is_not_its_own_domain() {
        let overrides = Overrides::new(&[
            pair("*.azure.net", 1),
            pair("*.vault.azure.net", 2),
            pair("pay.vault.azure.net", 3),
            pair("Management.Azure.com", 4),
        ])
        .unwrap();
        let port = |host| overrides.find(host).map(|address| address.port());
        assert_eq!(port("pay.vault.azure.net"), Some(3));
        assert_eq!(port("other.vault.azure.net"), Some(2));
        assert_eq!(port("x.azure.net"), Some(1));
        assert_eq!(port("azure.net"), None);
        assert_eq!(port("evilvault.azure.net.example"), None);
        assert_eq!(port("management.azure.com"), Some(4));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in ["", "*", "*.", "*azure.net", "a b", "https://x", "*.x/y"] {
            assert!(Overrides::new(&[pair(bad, 1)]).is_err(), "{bad:?}");
        }
    }
}
