//! Who asks, and what they may do.
//!
//! - `caller` is who asks; `client` is one `[[client]]` of the configuration; `rules` tells the one by the other;
//!   [`Access`] is what is in force now; [`Visitor`] is one connection's view of that.
//! - `token` is how tokens are read, kept and compared; `rotation` notices those that change.
//! - What a grant covers is decided by [`crate::rights`], by one function for reads, searches, listings and streams.
//!
//! Where no `[[client]]` is configured, the way in is the gate: the unix socket's mode, the token over TCP, the authority
//! that signs client certificates; who has passed it may do everything. With any `[[client]]`, nothing is allowed that none
//! grants. A client is known by its user, a group, a token, a certificate; where several of these are set, all of them
//! must hold: a token beside a user is a second factor on the socket, and over TCP such a client is never known, as nobody
//! can show a user there. Several clients may be known by the same: their grants unite, and their names are joined in the
//! order of the configuration.
//!
//! Nothing is decided from a process id: in a pod the peer's is 0, and everywhere it is soon another process's. The user
//! and group 65534 are nobody and fit no client.
//!
//! Must never happen: a token that is wrong and passed over, because something else of the caller is right; a token kept
//! as text, or compared in a time that tells how nearly right it is; a caller without a name; rights that outlive the
//! configuration that granted them, or the token that they were had by; nobody let in because of what somebody writes into
//! a token's file.

pub mod audit;
mod caller;
mod client;
mod rotation;
mod rules;
mod token;
mod visitor;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use crate::rights::{Rights, Verb};
pub use caller::{Caller, Known, OVERFLOW, Peer};
pub use client::{Client, Evidence};
use rules::Rules;
pub use token::{Token, TokenDigest, TokenError};
pub use visitor::{Stranger, Visitor};

/// What callers are known by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// Empty: whoever may connect may do everything.
    pub clients: Vec<Client>,
    /// Holds the token for TCP where no client is configured; `None`: nobody is let in over TCP.
    pub token_file: Option<PathBuf>,
}

/// Why the clients cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A token cannot be had.
    #[error("{}{error}", of_client(.client.as_deref()))]
    Token {
        /// Whose; `None`: the one for TCP.
        client: Option<String>,
        /// Why not.
        error: TokenError,
    },
    /// Two clients send the same token.
    #[error("clients {0} and {1} have the same token: give each a file of its own")]
    SameToken(String, String),
}

/// Who may do what, as it is in force now. A cheap handle: what one of them replaces, all use.
#[derive(Clone)]
pub struct Access(Arc<ArcSwap<Rules>>);

impl Access {
    /// Reads the tokens; those whose files do not exist are made.
    ///
    /// # Errors
    /// If a token cannot be had, or two clients have the same.
    pub fn load(settings: &AccessSettings) -> Result<Self, AccessError> {
        Rules::load(settings, None).map(Self::from)
    }

    /// What these settings come to in the place of what is in force. A token whose file was read before, and cannot be
    /// now, stays as it was.
    ///
    /// # Errors
    /// As [`Access::load`], of a file that was not read before.
    pub fn reload(&self, settings: &AccessSettings) -> Result<Self, AccessError> {
        Rules::load(settings, Some(&self.0.load())).map(Self::from)
    }

    /// From the next request on, what `other` is now.
    pub fn replace(&self, other: &Self) {
        let now = other.0.load_full();
        now.end_others(&self.0.swap(Arc::clone(&now)));
    }

    /// Who that peer of the unix socket is, without a token.
    #[must_use]
    pub fn of_peer(&self, peer: &Peer) -> Option<Caller> {
        self.0.load().caller(&Evidence::Socket(Some(peer.clone())), None)
    }

    /// Who sends that token over TCP.
    #[must_use]
    pub fn of_token(&self, token: &[u8]) -> Option<Caller> {
        let rules = self.0.load();
        rules.caller(&Evidence::Tcp, Some(rules.whose(token)?))
    }

    /// Who shows a certificate with these DNS names and URIs, without a token.
    #[must_use]
    pub fn of_certificate(&self, names: &[String]) -> Option<Caller> {
        self.0.load().caller(&Evidence::Certificate(names.into()), None)
    }

    /// Who is at the other end of a connection.
    #[must_use]
    pub fn visitor(&self, evidence: Evidence) -> Visitor {
        Visitor::new(self.clone(), evidence)
    }

    fn rules(&self) -> &ArcSwap<Rules> {
        &self.0
    }
}

impl From<Rules> for Access {
    fn from(rules: Rules) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(rules)))
    }
}

impl From<Option<TokenDigest>> for Access {
    /// No clients: who may connect to the unix socket may do everything, and who sends that token over TCP. Without one,
    /// nobody is let in over TCP.
    fn from(token: Option<TokenDigest>) -> Self {
        Rules::open(token).into()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("rules", &**self.0.load()).finish_non_exhaustive()
    }
}

fn of_client(client: Option<&str>) -> String {
    client.map_or_else(String::new, |client| format!("client {client}: "))
}
