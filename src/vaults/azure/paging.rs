//! Walking pages without being led astray: an empty page is no end, and a link that was followed before is no way on.

use std::collections::HashSet;

use super::errors::malformed;
use crate::vaults::VaultError;

/// Far more pages than any walk needs: Resource Manager has given 153 for 24 vaults, and a vault of a million secrets
/// has 40,000.
const MOST_PAGES: usize = 100_000;

/// The links one walk has followed.
#[derive(Debug, Default)]
pub(super) struct Walk(HashSet<String>);

impl Walk {
    /// The link to follow next, verbatim. An absent, null or empty one is the end.
    pub(super) fn onward(&mut self, link: Option<String>) -> Result<Option<String>, VaultError> {
        let Some(link) = link.filter(|link| !link.is_empty()) else {
            return Ok(None);
        };
        if self.0.len() >= MOST_PAGES {
            return Err(malformed("the listing does not end"));
        }
        if !self.0.insert(link.clone()) {
            return Err(malformed("the listing leads in a circle"));
        }
        Ok(Some(link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_ends_and_does_not_circle() {
        let mut walk = Walk::default();
        assert_eq!(walk.onward(Some("a".into())).unwrap().as_deref(), Some("a"));
        assert_eq!(walk.onward(Some("b".into())).unwrap().as_deref(), Some("b"));
        assert!(walk.onward(Some("a".into())).is_err());
        assert_eq!(walk.onward(None).unwrap(), None);
        assert_eq!(walk.onward(Some(String::new())).unwrap(), None);
    }
}
