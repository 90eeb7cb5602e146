//! Access tokens: sealed while they are held, and on their way through the SDK too.
//!
//! The SDK's pipelines keep the last token that they were given, each in a buffer of its own. So they are given a ticket:
//! the token as it lies sealed in memory, in letters. The last policy of every pipeline, which is ours, turns it into the
//! token as it sends it. Must never happen: a token in a struct of the SDK; a ticket sent to anybody.

use std::fmt;
use std::sync::Arc;

use azure_core::credentials::AccessToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::secret::{Exposed, SecretValue};

/// A token. A cheap handle.
#[derive(Clone)]
pub(super) struct Bearer {
    token: Arc<SecretValue>,
    /// By the wall clock.
    pub(super) expires_on: OffsetDateTime,
}

/// No token begins so: none has a dot within its first letters.
const MARK: &str = "sealed.";

impl Bearer {
    /// As it came from whoever issues tokens.
    pub(super) fn of(token: &AccessToken) -> Self {
        Self { token: Arc::new(SecretValue::new(token.token.secret())), expires_on: token.expires_on }
    }

    /// The token itself.
    pub(super) fn open(&self) -> Zeroizing<String> {
        text(&self.token.expose())
    }

    /// Whether it is that one.
    pub(super) fn is(&self, token: &str) -> bool {
        self.token.expose() == token
    }

    /// What the SDK is given in its place. It counts as expired: the SDK asks for one each time.
    pub(super) fn ticket(&self) -> AccessToken {
        let ticket = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(self.token.sealed()));
        AccessToken::new(ticket, OffsetDateTime::UNIX_EPOCH)
    }
}

/// The token of a ticket; `None` if it is none of ours.
pub(super) fn redeem(ticket: &str) -> Option<Zeroizing<String>> {
    let sealed = URL_SAFE_NO_PAD.decode(ticket.strip_prefix(MARK)?).ok()?;
    SecretValue::of_sealed(&sealed).map(|token| text(&token.expose()))
}

/// A token is text.
fn text(bytes: &Exposed) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8_lossy(bytes).into_owned())
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_redeemed_for_its_token_and_tells_nothing_of_it() {
        let bearer = Bearer::of(&AccessToken::new("eyJ0eXAi.token", OffsetDateTime::UNIX_EPOCH));
        let ticket = bearer.ticket();
        assert!(!ticket.token.secret().contains("eyJ0eXAi"));
        assert_eq!(redeem(ticket.token.secret()).unwrap().as_str(), "eyJ0eXAi.token");
        assert!(bearer.is("eyJ0eXAi.token") && !bearer.is("eyJ0eXAi.other"));
    }

    #[test]
    fn what_is_no_ticket_of_this_process_is_not_redeemed() {
        let ticket = Bearer::of(&AccessToken::new("token", OffsetDateTime::UNIX_EPOCH)).ticket();
        let mut forged = ticket.token.secret().to_owned();
        forged.replace_range(MARK.len()..=MARK.len(), if forged[MARK.len()..].starts_with('A') { "B" } else { "A" });
        for none in ["", "token", "sealed.", "sealed.AAAA", forged.as_str()] {
            assert!(redeem(none).is_none(), "{none}");
        }
    }
}
