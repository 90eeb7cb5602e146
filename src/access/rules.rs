//! One state of what is in force, never changed: who is known by what, and which tokens are whose.

use std::fmt;
use std::path::{Path, PathBuf};

use subtle::ConditionallySelectable as _;
use tokio_util::sync::CancellationToken;

use super::caller::{Caller, Known, Peer};
use super::client::{Client, Evidence};
use super::{AccessError, AccessSettings, Token, TokenDigest};
use crate::rights::Rights;

pub(super) struct Rules {
    /// `None`: no client is configured.
    clients: Option<Vec<Entry>>,
    pub(super) tokens: Vec<TokenOf>,
    /// Our own user.
    own: u32,
}

#[derive(Clone)]
struct Entry {
    client: Client,
    rights: Rights,
}

/// A token, and whose it is.
#[derive(Clone)]
pub(super) struct TokenOf {
    pub(super) digest: TokenDigest,
    /// `None`: it is in no file.
    pub(super) path: Option<PathBuf>,
    /// Where in the clients; `None`: the one for TCP where none is configured.
    client: Option<usize>,
    /// It is no longer this one.
    pub(super) over: CancellationToken,
}

impl TokenOf {
    fn new(digest: TokenDigest, path: Option<PathBuf>, client: Option<usize>) -> Self {
        Self { digest, path, client, over: CancellationToken::new() }
    }

    /// The one that has taken its place.
    pub(super) fn renewed(&self, digest: TokenDigest) -> Self {
        Self::new(digest, self.path.clone(), self.client)
    }
}

impl Rules {
    /// No client is configured.
    pub(super) fn open(token: Option<TokenDigest>) -> Self {
        let tokens = token.into_iter().map(|digest| TokenOf::new(digest, None, None)).collect();
        Self { clients: None, tokens, own: own_user() }
    }

    /// Reads the tokens. One that was read before and cannot be now stays as it was.
    pub(super) fn load(settings: &AccessSettings, before: Option<&Self>) -> Result<Self, AccessError> {
        let mut tokens: Vec<TokenOf> = Vec::new();
        for (at, client) in settings.clients.iter().enumerate() {
            let Some(path) = &client.token_file else { continue };
            let token = token(path, Some((at, &client.name)), before)?;
            let same = tokens.iter().find(|other| other.digest.is(&token.digest).into());
            if let Some(other) = same.and_then(|other| other.client) {
                return Err(AccessError::SameToken(settings.clients[other].name.clone(), client.name.clone()));
            }
            tokens.push(token);
        }
        if let Some(path) = settings.token_file.as_ref().filter(|_| settings.clients.is_empty()) {
            tokens.push(token(path, None, before)?);
        }
        let entry = |client: &Client| Entry { client: client.clone(), rights: client.rights() };
        let clients = (!settings.clients.is_empty()).then(|| settings.clients.iter().map(entry).collect());
        Ok(Self { clients, tokens, own: own_user() })
    }

    /// The same with other tokens, one for each of those before.
    pub(super) fn with(&self, tokens: Vec<TokenOf>) -> Self {
        Self { clients: self.clients.clone(), tokens, own: self.own }
    }

    /// Ends what goes on by tokens that these rules do not have.
    pub(super) fn end_others(&self, before: &Self) {
        let is_good = |token: &TokenOf| self.tokens.iter().any(|other| other.digest.is(&token.digest).into());
        before.tokens.iter().filter(|token| !is_good(token)).for_each(|token| token.over.cancel());
    }

    /// Whose a token is, for a person.
    pub(super) fn owner(&self, token: &TokenOf) -> &str {
        let client = token.client.and_then(|at| self.clients.as_ref()?.get(at));
        client.map_or("listen.tcp", |entry| &entry.client.name)
    }

    /// Which of the tokens that is. All are compared, whichever it is.
    pub(super) fn whose(&self, offered: &[u8]) -> Option<usize> {
        let offered = TokenDigest::of(offered);
        let (mut found, mut number) = (0_u32, 0_u32);
        for token in &self.tokens {
            number += 1;
            found.conditional_assign(&number, token.digest.is(&offered));
        }
        usize::try_from(found).ok()?.checked_sub(1)
    }

    /// Who shows that, with that token. `None`: nobody who is known, or not one whose token that is.
    pub(super) fn caller(&self, evidence: &Evidence, token: Option<usize>) -> Option<Caller> {
        let token = token.map(|token| &self.tokens[token]);
        let Some(clients) = &self.clients else { return by_the_way_in(evidence, token) };
        let sender = match token {
            Some(token) => Some(token.client?),
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
        let over = token.map(|token| token.over.clone());
        Some(Caller::new(names.join("+"), how, peer_of(evidence), rights, over))
    }

    /// Whether a token is asked for of who shows that, or looked at if it is sent.
    pub(super) fn heeds_tokens(&self, evidence: &Evidence) -> bool {
        self.clients.is_some() || *evidence == Evidence::Tcp
    }

    /// Whether nobody who shows that can ever be known, by whatever they send.
    pub(super) fn is_hopeless(&self, evidence: &Evidence) -> bool {
        let Evidence::Socket(peer) = evidence else { return false };
        let is_our_own = peer.as_ref().is_some_and(|peer| peer.is_user(self.own));
        let fits = |entry: &Entry| entry.client.fits(evidence);
        !is_our_own && self.clients.as_ref().is_some_and(|clients| !clients.iter().any(fits))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.clients.iter().flatten().map(|entry| &entry.client);
        f.debug_list().entries(clients).finish()
    }
}

/// Where no client is configured.
fn by_the_way_in(evidence: &Evidence, token: Option<&TokenOf>) -> Option<Caller> {
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
    let over = token.map(|token| token.over.clone());
    Some(Caller::new(name, known, peer_of(evidence), Rights::all(), over))
}

fn token(path: &Path, client: Option<(usize, &String)>, before: Option<&Rules>) -> Result<TokenOf, AccessError> {
    let at = client.map(|(at, _)| at);
    let known = before.and_then(|rules| rules.tokens.iter().find(|token| token.path.as_deref() == Some(path)));
    let loaded = if known.is_some() { Token::load(path) } else { Token::load_or_create(path) };
    match (loaded, known) {
        (Ok(token), Some(known)) if bool::from(known.digest.is(&token.digest())) => {
            Ok(TokenOf { client: at, ..known.clone() })
        }
        (Ok(token), _) => Ok(TokenOf::new(token.digest(), Some(path.to_owned()), at)),
        (Err(error), Some(known)) => {
            tracing::warn!(%error, "a token cannot be read anew; what was read before is used on");
            Ok(TokenOf { client: at, ..known.clone() })
        }
        (Err(error), None) => Err(AccessError::Token { client: client.map(|(_, name)| name.clone()), error }),
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
