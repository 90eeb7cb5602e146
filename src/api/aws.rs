//! Credentials of AWS in what is held: which secrets stand for them, and for how long a client may use what it was told.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::secret::Reference;

/// One `[[aws]]`: the secrets that together are credentials of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsProfile {
    /// Unique: letters, digits, `-`, `_` and `.`. It is the last part of the address that a client is given.
    pub name: String,
    /// Where the access key's id is.
    pub access_key_id: Reference,
    /// Where the access key itself is.
    pub secret_access_key: Reference,
    /// Where the session's token is, if the key needs one.
    pub session_token: Option<Reference>,
    /// After that, a client must ask again. Most ask earlier than they must.
    pub lifetime: Duration,
}

impl AwsProfile {
    /// Where a configuration says nothing. Clients that ask again five minutes ahead of the end, as those in Go and
    /// JavaScript do, so have a new key after one minute.
    pub const LIFETIME: Duration = Duration::from_mins(6);
    /// A client that waits for longer has a rotated key for too long.
    pub const LONGEST_LIFETIME: Duration = Duration::from_hours(12);

    /// Key of the access key's id, among references and in failures.
    pub const ACCESS_KEY_ID: &'static str = "access_key_id";
    /// Key of the access key itself.
    pub const SECRET_ACCESS_KEY: &'static str = "secret_access_key";
    /// Key of the session's token.
    pub const SESSION_TOKEN: &'static str = "session_token";

    /// All of its references, by what they stand for.
    #[must_use]
    pub fn references(&self) -> BTreeMap<String, Reference> {
        let all = [
            (Self::ACCESS_KEY_ID, Some(&self.access_key_id)),
            (Self::SECRET_ACCESS_KEY, Some(&self.secret_access_key)),
            (Self::SESSION_TOKEN, self.session_token.as_ref()),
        ];
        all.into_iter().filter_map(|(key, reference)| Some((key.to_owned(), reference?.clone()))).collect()
    }
}
