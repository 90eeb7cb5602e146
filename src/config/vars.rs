use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// The environment as it was handed in: read once at the start, so that nothing below asks the process again and a
/// test needs none. Prints the variables' names, never what they hold.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, Held>);

#[derive(Clone)]
enum Held {
    Plain(Zeroizing<String>),
    /// Lies encrypted until it is asked for.
    Secret(Arc<SecretValue>),
}

/// Variables that hold a secret themselves, not the name of a file with one.
const SECRETS: &[&str] = &["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD"];

impl Vars {
    /// This process's environment. A variable that is not UTF-8 is passed over: nothing of ours can be.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Whether a variable of that name holds a secret itself.
    #[must_use]
    pub fn is_secret(name: &[u8]) -> bool {
        SECRETS.iter().any(|secret| secret.as_bytes() == name)
    }

    /// What the variable holds. An empty one counts as unset, as container platforms set them so; one that holds a secret
    /// is told by [`Vars::secret`] alone.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Held::Plain(value) => Some(value.as_str()).filter(|value| !value.is_empty()),
            Held::Secret(_) => None,
        }
    }

    /// The secret that the variable holds.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Arc<SecretValue>> {
        match self.0.get(name)? {
            Held::Plain(_) => None,
            Held::Secret(value) => Some(Arc::clone(value)).filter(|value| !value.is_empty()),
        }
    }

    /// Whether the variable holds anything.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|held| !held.is_empty())
    }

    /// The names of all variables that hold something.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, held)| !held.is_empty()).map(|(name, _)| name.as_str())
    }
}

/// This process's environment as it is, for a program that is executed in its place.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

impl Held {
    fn is_empty(&self) -> bool {
        match self {
            Self::Plain(value) => value.is_empty(),
            Self::Secret(value) => value.is_empty(),
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let held = |(name, value): (K, V)| {
            let (name, value): (String, String) = (name.into(), value.into());
            let is_secret = Self::is_secret(name.as_bytes());
            let held =
                if is_secret { Held::Secret(Arc::new(SecretValue::new(value))) } else { Held::Plain(value.into()) };
            (name, held)
        };
        Self(pairs.into_iter().map(held).collect())
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
