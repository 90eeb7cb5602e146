//! What a listed secret's variable is called.

use crate::secret::SecretName;

/// Upper-snake unless told otherwise: `db-password` is `DB_PASSWORD`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Taken from the start of the secret's name, if it begins so.
    pub strip: Option<String>,
    /// Put before the variable's name, as it stands.
    pub prefix: String,
    /// Leave the case as it is; a `-` becomes `_` all the same.
    pub keep_case: bool,
}

impl Naming {
    /// The variable of that secret.
    #[must_use]
    pub fn of(&self, name: &SecretName) -> String {
        let name = name.as_str();
        let begins = |strip: &&String| name.get(..strip.len()).is_some_and(|start| start.eq_ignore_ascii_case(strip));
        let rest = self.strip.as_ref().filter(begins).map_or(name, |strip| &name[strip.len()..]);
        let snake = rest.replace('-', "_");
        let snake = if self.keep_case { snake } else { snake.to_ascii_uppercase() };
        format!("{}{snake}", self.prefix)
    }
}
