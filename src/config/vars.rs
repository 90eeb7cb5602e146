use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// The environment as it was handed in: read once at the start, so that nothing below asks the process again and a
/// test needs none. Prints the variables' names, never what they hold.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, Zeroizing<String>>);

impl Vars {
    /// This process's environment. A variable that is not UTF-8 is passed over: nothing of ours can be.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// What the variable holds. An empty one counts as unset, as container platforms set them so.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The names of all variables that hold something.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), Zeroizing::new(value.into()))).collect())
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
