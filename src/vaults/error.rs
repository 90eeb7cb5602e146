use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a vault, or the services in front of it, did not give what was asked.
///
/// `Display` tells this level only, with nothing of the upstream's body in it: those carry object ids and addresses of
/// the caller, and may be shown to local clients only in our own words. The cause is [`Error::source`], for the log.
/// `Clone`, so that one failure reaches every reader that waited for it.
#[derive(Debug, Clone)]
pub struct VaultError {
    kind: VaultErrorKind,
    detail: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    not_asked: Option<Duration>,
    signing_in: bool,
}

/// What the caller can do next. Add a variant only if its reader would act otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultErrorKind {
    /// The vault says that it holds no such secret or version. Authoritative.
    NotFound,
    /// It exists and is disabled. Authoritative.
    Disabled,
    /// The vault refuses this identity. Authoritative: somebody must grant a role.
    Denied(Denial),
    /// Signing in was refused: the credential, not the vault, is at fault. `code` is Entra's `AADSTS…` or Key Vault's
    /// `AKV…`, where one was told.
    Unauthenticated {
        /// Such as `AADSTS7000215`.
        code: Option<String>,
    },
    /// Too many calls. Come back after the time told, if one was.
    Throttled {
        /// As the upstream told it, unclamped.
        retry_after: Option<Duration>,
    },
    /// No answer within the time limit.
    TimedOut,
    /// The vault cannot be reached, or fails. Not a statement about the secret.
    Unavailable(Outage),
    /// An answer that is not what was asked for: wrong identity, no JSON, too large. Treated as transient; never served.
    Malformed,
}

/// Which right is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Azure RBAC: no role assignment covers the action.
    Rbac,
    /// The vault's access policy does not name this identity.
    AccessPolicy,
    /// Refused without a reason that is known here.
    Other,
}

/// How a vault is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Its name does not resolve.
    Dns,
    /// No connection: refused, reset, no route.
    Connection,
    /// The peer's certificate is not trusted, or TLS failed.
    Tls,
    /// It answered with a 5xx status, or refused with another one in a way that is not understood: that may be a proxy,
    /// and is no statement about the secret.
    Server(u16),
    /// Its firewall does not let this address in.
    Firewall,
    /// Public network access is off, and this is not its private link.
    PrivateLink,
    /// An error of our own while asking; see the log.
    Internal,
}

impl VaultError {
    /// An error of that kind; `detail` is one clause in our own words, for people.
    #[must_use]
    pub fn new(kind: VaultErrorKind, detail: impl Into<Arc<str>>) -> Self {
        Self { kind, detail: detail.into(), source: None, not_asked: None, signing_in: false }
    }

    /// The same with its cause, which only the log will show.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The same, told on the vault's behalf without asking it; that will be worth trying again after so long.
    #[must_use]
    pub fn not_asked(self, worth_trying_after: Duration) -> Self {
        Self { not_asked: Some(worth_trying_after), ..self }
    }

    /// Whether the vault was not even asked, and if so, after how long it may be: to ask for it again costs nothing
    /// upstream, and this one says nothing new of the vault.
    #[must_use]
    pub fn worth_trying_after(&self) -> Option<Duration> {
        self.not_asked
    }

    /// The same, met while signing in, before the vault was asked.
    #[must_use]
    pub fn while_signing_in(self) -> Self {
        Self { signing_in: true, ..self }
    }

    /// Whether it is the identity service's, and says nothing of the vault.
    #[must_use]
    pub fn is_of_sign_in(&self) -> bool {
        self.signing_in
    }

    /// What the caller can do next.
    #[must_use]
    pub fn kind(&self) -> &VaultErrorKind {
        &self.kind
    }

    /// A stable word for machines, as it stands in answers and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }
}

impl VaultErrorKind {
    /// A stable word for machines, as it stands in answers and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Disabled => "disabled",
            Self::Denied(Denial::Rbac) => "denied-by-rbac",
            Self::Denied(Denial::AccessPolicy) => "denied-by-access-policy",
            Self::Denied(Denial::Other) => "denied",
            Self::Unauthenticated { .. } => "sign-in-failed",
            Self::Throttled { .. } => "throttled",
            Self::TimedOut => "timed-out",
            Self::Unavailable(Outage::Dns) => "dns-failure",
            Self::Unavailable(Outage::Connection) => "connection-failed",
            Self::Unavailable(Outage::Tls) => "tls-failure",
            Self::Unavailable(Outage::Server(_)) => "server-error",
            Self::Unavailable(Outage::Firewall) => "firewall",
            Self::Unavailable(Outage::PrivateLink) => "private-link",
            Self::Unavailable(Outage::Internal) => "internal",
            Self::Malformed => "malformed-answer",
        }
    }

    /// Whether the vault has spoken about the secret itself, so that asking again soon would change nothing. All else
    /// is an outage: what is held stays good.
    #[must_use]
    pub fn is_authoritative(&self) -> bool {
        match self {
            Self::NotFound | Self::Disabled | Self::Denied(_) => true,
            Self::Unauthenticated { .. }
            | Self::Throttled { .. }
            | Self::TimedOut
            | Self::Unavailable(_)
            | Self::Malformed => false,
        }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        // What Microsoft's pages are found by belongs to every telling of it.
        match &self.kind {
            VaultErrorKind::Unauthenticated { code: Some(code) } if !self.detail.contains(code.as_str()) => {
                write!(f, " ({code})")
            }
            VaultErrorKind::Unauthenticated { .. }
            | VaultErrorKind::NotFound
            | VaultErrorKind::Disabled
            | VaultErrorKind::Denied(_)
            | VaultErrorKind::Throttled { .. }
            | VaultErrorKind::TimedOut
            | VaultErrorKind::Unavailable(_)
            | VaultErrorKind::Malformed => Ok(()),
        }
    }
}

impl Error for VaultError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
