use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::rights::{Rights, Verb};
use crate::secret::{SecretName, VaultName};

/// The user and the group that stand for every one that our namespace does not know: nobody in particular, and no rule
/// is ever about them.
pub const OVERFLOW: u32 = 65_534;

/// The peer of a unix socket, as the kernel says it was when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user. [`OVERFLOW`] stands for every user that our namespace does not know.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Arc<[u32]>,
}

impl Peer {
    /// Whether it is that user; [`OVERFLOW`] is nobody.
    #[must_use]
    pub fn is_user(&self, uid: u32) -> bool {
        uid != OVERFLOW && self.uid == uid
    }

    /// Whether it is in that group, as its first or as another one; [`OVERFLOW`] is no group.
    #[must_use]
    pub fn is_in(&self, gid: u32) -> bool {
        gid != OVERFLOW && (self.gid == gid || self.groups.contains(&gid))
    }
}

/// How a caller is known. Several may hold: a token beside a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// It is in this process.
    pub in_process: bool,
    /// By the kernel's word on the peer of the unix socket.
    pub peer: bool,
    /// By a token.
    pub token: bool,
    /// By a client certificate.
    pub certificate: bool,
}

/// Who asks, and what they may do. A cheap handle, the same for all that one request does.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    name: String,
    known: Known,
    peer: Option<Peer>,
    rights: Rights,
    over: Option<CancellationToken>,
    told: OnceLock<Vec<u8>>,
}

impl Caller {
    pub(in crate::access) fn new(
        name: impl Into<String>,
        known: Known,
        peer: Option<Peer>,
        rights: Rights,
        over: Option<CancellationToken>,
    ) -> Self {
        Self(Arc::new(Inner { name: name.into(), known, peer, rights, over, told: OnceLock::new() }))
    }

    /// A caller in this process: what runs a command without a sidecar may do what the command's user may.
    #[must_use]
    pub fn in_process() -> Self {
        let known = Known { in_process: true, ..Known::default() };
        Self::new("in-process", known, None, Rights::all(), None)
    }

    /// A unit of systemd, for which root asks: may do what the configuration gives to that unit.
    #[must_use]
    pub fn of_unit(unit: &str, root: Peer, rights: Rights) -> Self {
        let known = Known { peer: true, ..Known::default() };
        Self::new(format!("systemd:{unit}"), known, Some(root), rights, None)
    }

    /// Somebody of whom nothing is known: who probes whether the process lives. May do nothing.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new("nobody", Known::default(), None, Rights::none(), None)
    }

    /// The client's name, as the configuration has it; several that are known by the same are joined by `+`. Where no
    /// clients are configured: `uid:1001`, `token`, `certificate:NAME`. `in-process`, `nobody`,
    /// `systemd:UNIT`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How it is known.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.0.known
    }

    /// The peer, if it came through the unix socket and the kernel has told.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer.as_ref()
    }

    /// What it may do.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.0.rights
    }

    /// Cancelled when the token that it was known by is no longer good: what goes on for long ends then. `None`: it was
    /// known without one.
    #[must_use]
    pub fn over(&self) -> Option<&CancellationToken> {
        self.0.over.as_ref()
    }

    /// What `tell` makes of them: made once, as the audit tells it again and again.
    pub(in crate::access) fn as_told(&self, tell: impl FnOnce(&Self) -> Vec<u8>) -> &[u8] {
        self.0.told.get_or_init(|| tell(self))
    }

    /// Whether it may do that with that secret, by the vault's address as it was asked for or is shown.
    #[must_use]
    pub fn may(&self, verb: Verb, vault: &VaultName, name: &SecretName) -> bool {
        self.0.rights.may(verb, vault, name)
    }

    /// Whether it may do that with a secret of that name in some vault.
    #[must_use]
    pub fn may_anywhere(&self, verb: Verb, name: &SecretName) -> bool {
        self.0.rights.may_anywhere(verb, name)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({}, {})", self.0.name, self.0.known)
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ways = [
            (self.in_process, "in-process"),
            (self.peer, "peer"),
            (self.certificate, "certificate"),
            (self.token, "token"),
        ];
        let mut ways = ways.into_iter().filter_map(|(holds, word)| holds.then_some(word));
        f.write_str(ways.next().unwrap_or("nothing"))?;
        ways.try_for_each(|word| write!(f, "+{word}"))
    }
}
