//! Who asks, and what they may do.
//!
//! - `caller` is who asks; `client` is one `[[client]]` of the configuration; `token` is how tokens are kept and compared;
//!   [`Access`] is all of it, as it is in force now; [`Visitor`] is one connection's view of that.
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
//! configuration that granted them.

pub mod audit;
mod caller;
mod client;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use subtle::ConditionallySelectable as _;

pub use crate::rights::{Rights, Verb};
pub use caller::{Caller, Known, OVERFLOW, Peer};
pub use client::{Client, Evidence};
pub use token::{Token, TokenDigest, TokenError};

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

/// One state of it. Never changed.
struct Rules {
    /// `None`: no client is configured.
    clients: Option<Vec<Entry>>,
    tokens: Vec<TokenOf>,
    /// Our own user.
    own: u32,
}

struct Entry {
    client: Client,
    rights: Rights,
}

struct TokenOf {
    digest: TokenDigest,
    /// Where in the clients; `None`: the one for TCP where none is configured.
    client: Option<usize>,
}

/// Why nobody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// Nothing that was shown makes anybody known, and no token was sent.
    Unknown,
    /// The token is nobody's, or not one for who sends it.
    WrongToken,
}

/// One connection, and who may be at its other end.
pub struct Visitor {
    access: Access,
    evidence: Evidence,
    /// What was worked out last, and from which rules.
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    rules: Arc<Rules>,
    alone: Option<Caller>,
    /// With that token.
    with: Option<(usize, Caller)>,
}

impl Access {
    /// Reads the tokens; those whose files do not exist are made.
    ///
    /// # Errors
    /// If a token cannot be had, or two clients have the same.
    pub fn load(settings: &AccessSettings) -> Result<Self, AccessError> {
        Rules::load(settings).map(Self::from)
    }

    /// From the next request on, what `other` is now.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
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

    /// Who shows a certificate with these DNS names and URIs.
    #[must_use]
    pub fn of_certificate(&self, names: &[String]) -> Option<Caller> {
        self.0.load().caller(&Evidence::Certificate(names.into()), None)
    }

    /// Whether that caller may do that, by the vault's address as it was asked for or is shown.
    #[must_use]
    pub fn may(
        &self,
        caller: &Caller,
        verb: Verb,
        vault: &crate::secret::VaultName,
        name: &crate::secret::SecretName,
    ) -> bool {
        caller.may(verb, vault, name)
    }

    /// Who is at the other end of a connection.
    #[must_use]
    pub fn visitor(&self, evidence: Evidence) -> Visitor {
        Visitor { access: self.clone(), evidence, seen: Mutex::default() }
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
        let tokens = token.into_iter().map(|digest| TokenOf { digest, client: None }).collect();
        Rules { clients: None, tokens, own: own_user() }.into()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.0.load();
        let clients = rules.clients.as_ref().map(|clients| clients.len());
        f.debug_struct("Access").field("clients", &clients).finish_non_exhaustive()
    }
}

impl Rules {
    fn load(settings: &AccessSettings) -> Result<Self, AccessError> {
        let load = |client: Option<&Client>, path| {
            let token = Token::load_or_create(path);
            let token = token.map_err(|error| AccessError::Token { client: client.map(|c| c.name.clone()), error })?;
            Ok::<_, AccessError>(token.digest())
        };
        let mut tokens: Vec<TokenOf> = Vec::new();
        for (at, client) in settings.clients.iter().enumerate() {
            let Some(path) = &client.token_file else { continue };
            let digest = load(Some(client), path)?;
            if let Some(TokenOf { client: Some(other), .. }) =
                tokens.iter().find(|other| other.digest.is(&digest).into())
            {
                let other = settings.clients[*other].name.clone();
                return Err(AccessError::SameToken(other, client.name.clone()));
            }
            tokens.push(TokenOf { digest, client: Some(at) });
        }
        if let Some(path) = settings.token_file.as_ref().filter(|_| settings.clients.is_empty()) {
            tokens.push(TokenOf { digest: load(None, path)?, client: None });
        }
        let entry = |client: &Client| Entry { client: client.clone(), rights: client.rights() };
        let clients = (!settings.clients.is_empty()).then(|| settings.clients.iter().map(entry).collect());
        Ok(Self { clients, tokens, own: own_user() })
    }

    /// Which of the tokens that is. All are compared, whichever it is.
    fn whose(&self, offered: &[u8]) -> Option<usize> {
        let offered = TokenDigest::of(offered);
        let (mut found, mut number) = (0_u32, 0_u32);
        for token in &self.tokens {
            number += 1;
            found.conditional_assign(&number, token.digest.is(&offered));
        }
        usize::try_from(found).ok()?.checked_sub(1)
    }

    /// Who shows that, with that token; it is somebody's who shows it, or nobody is known.
    fn caller(&self, evidence: &Evidence, token: Option<usize>) -> Option<Caller> {
        let Some(clients) = &self.clients else { return self.by_the_way_in(evidence, token) };
        let sender = match token {
            Some(token) => Some(self.tokens[token].client?),
            None => None,
        };
        let is_known = |(at, entry): &(usize, &Entry)| {
            entry.client.fits(evidence) && (Some(*at) == sender || entry.client.is_known_without_a_token())
        };
        let known: Vec<(usize, &Entry)> = clients.iter().enumerate().filter(is_known).collect();
        let is_the_senders = sender.is_none_or(|sender| known.iter().any(|(at, _)| *at == sender));
        if known.is_empty() || !is_the_senders {
            return None;
        }
        let names: Vec<&str> = known.iter().map(|(_, entry)| entry.client.name.as_str()).collect();
        let any = |way: fn(&Client) -> bool| known.iter().any(|(_, entry)| way(&entry.client));
        let how = Known {
            in_process: false,
            peer: any(|client| client.uid.is_some() || client.gid.is_some()),
            token: sender.is_some(),
            certificate: any(|client| client.certificate.is_some()),
        };
        let rights = Rights::united(known.iter().map(|(_, entry)| &entry.rights));
        Some(Caller::new(names.join("+"), how, peer_of(evidence), rights))
    }

    /// Where no client is configured.
    fn by_the_way_in(&self, evidence: &Evidence, token: Option<usize>) -> Option<Caller> {
        let (name, known) = match evidence {
            Evidence::Socket(peer) => {
                let name = peer.as_ref().map_or_else(|| "socket".to_owned(), |peer| format!("uid:{}", peer.uid));
                (name, Known { peer: true, ..Known::default() })
            }
            Evidence::Tcp => {
                token?;
                ("token".to_owned(), Known { token: true, ..Known::default() })
            }
            Evidence::Certificate(names) => {
                let name = names.first().map_or_else(|| "certificate".to_owned(), |name| format!("certificate:{name}"));
                (name, Known { certificate: true, ..Known::default() })
            }
        };
        Some(Caller::new(name, known, peer_of(evidence), Rights::all()))
    }

    /// Whether a token is asked for of who shows that, or looked at if it is sent.
    fn heeds_tokens(&self, evidence: &Evidence) -> bool {
        self.clients.is_some() || *evidence == Evidence::Tcp
    }

    /// Whether nobody who shows that can ever be known, by whatever they send.
    fn is_hopeless(&self, evidence: &Evidence) -> bool {
        let Evidence::Socket(peer) = evidence else { return false };
        let is_our_own = peer.as_ref().is_some_and(|peer| peer.is_user(self.own));
        let fits = |entry: &Entry| entry.client.fits(evidence);
        !is_our_own && self.clients.as_ref().is_some_and(|clients| !clients.iter().any(fits))
    }
}

impl Visitor {
    /// Who asks, with that token or without one.
    ///
    /// # Errors
    /// Why nobody is known.
    pub fn caller(&self, token: Option<&[u8]>) -> Result<Caller, Stranger> {
        let rules = self.access.0.load();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match &mut *seen {
            Some(seen) if Arc::ptr_eq(&seen.rules, &rules) => seen,
            stale => {
                stale.insert(Seen { rules: Arc::clone(&rules), alone: rules.caller(&self.evidence, None), with: None })
            }
        };
        let Some(token) = token.filter(|_| rules.heeds_tokens(&self.evidence)) else {
            return seen.alone.clone().ok_or(Stranger::Unknown);
        };
        let token = rules.whose(token).ok_or(Stranger::WrongToken)?;
        match &seen.with {
            Some((known, caller)) if *known == token => Ok(caller.clone()),
            _ => {
                let caller = rules.caller(&self.evidence, Some(token)).ok_or(Stranger::WrongToken)?;
                seen.with = Some((token, caller.clone()));
                Ok(caller)
            }
        }
    }

    /// Whether nobody at the other end can ever be known, by whatever they send. Never of our own user, who probes.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.access.0.load().is_hopeless(&self.evidence)
    }

    /// Whether what is sent as a token is looked at.
    #[must_use]
    pub fn heeds_tokens(&self) -> bool {
        self.access.0.load().heeds_tokens(&self.evidence)
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("evidence", &self.evidence).finish_non_exhaustive()
    }
}

fn peer_of(evidence: &Evidence) -> Option<Peer> {
    match evidence {
        Evidence::Socket(peer) => peer.clone(),
        Evidence::Tcp | Evidence::Certificate(_) => None,
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn of_client(client: Option<&str>) -> String {
    client.map_or_else(String::new, |client| format!("client {client}: "))
}
