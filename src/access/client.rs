use std::path::PathBuf;

use super::caller::Peer;
use crate::rights::{Pattern, Rights, Verb};
use crate::secret::{SecretName, VaultName};

/// One `[[client]]`: how it is known, and what it may do. Of the ways in which it is known, all that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Unique: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The user at the other end of the unix socket.
    pub uid: Option<u32>,
    /// A group of that user's process, its first or another one.
    pub gid: Option<u32>,
    /// Holds the token that it sends; made at start if it does not exist.
    pub token_file: Option<PathBuf>,
    /// A DNS name or URI in the certificate that it shows under TLS.
    pub certificate: Option<String>,
    /// What it may read.
    pub read: Vec<Pattern>,
    /// What it may find.
    pub list: Vec<Pattern>,
}

/// What a connection shows of who is at its other end, before a byte of a request is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It came through the unix socket, from that peer; `None` where the kernel told nothing.
    Socket(Option<Peer>),
    /// It came over TCP, which shows nothing.
    Tcp,
    /// It came over TLS with a certificate that our authority has signed: its DNS names and URIs.
    Certificate(std::sync::Arc<[String]>),
}

impl Client {
    /// What it may do.
    #[must_use]
    pub fn rights(&self) -> Rights {
        Rights::granted(&self.read, &self.list)
    }

    /// The pattern that grants it, if one does: the first.
    #[must_use]
    pub fn granted_by(&self, verb: Verb, vault: Option<&VaultName>, name: &SecretName) -> Option<&Pattern> {
        let patterns = match verb {
            Verb::Read => &self.read,
            Verb::List => &self.list,
        };
        patterns.iter().find(|pattern| match vault {
            Some(vault) => pattern.means(vault, vault, name),
            None => pattern.means_anywhere(name),
        })
    }

    /// Whether all but its token holds of who shows that.
    pub(super) fn fits(&self, evidence: &Evidence) -> bool {
        let peer = match evidence {
            Evidence::Socket(peer) => peer.as_ref(),
            Evidence::Tcp | Evidence::Certificate(_) => None,
        };
        let shown: &[String] = match evidence {
            Evidence::Certificate(names) => names,
            Evidence::Socket(_) | Evidence::Tcp => &[],
        };
        self.uid.is_none_or(|uid| peer.is_some_and(|peer| peer.is_user(uid)))
            && self.gid.is_none_or(|gid| peer.is_some_and(|peer| peer.is_in(gid)))
            && self.certificate.as_ref().is_none_or(|name| shown.iter().any(|shown| is_same_name(shown, name)))
    }

    /// Whether anything but a token makes it known.
    pub(super) fn is_known_without_a_token(&self) -> bool {
        self.token_file.is_none() && (self.uid.is_some() || self.gid.is_some() || self.certificate.is_some())
    }
}

/// DNS names know no case; of a URI, parts do.
fn is_same_name(shown: &str, name: &str) -> bool {
    if name.contains(':') { shown == name } else { shown.eq_ignore_ascii_case(name) }
}
