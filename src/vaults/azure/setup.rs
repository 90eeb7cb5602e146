use std::io;
use std::path::PathBuf;

/// Why an Azure source cannot be built from its settings. Every one of these is mended in the configuration or on the
/// machine, so each says which key or file is at fault; none quotes a secret.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing would be trusted: no server could prove who it is.
    #[error(
        "the system has no CA certificates and ca_file names none; install them (Debian and Alpine: the package \
         ca-certificates), mount a bundle and point SSL_CERT_FILE at it, or set ca_file"
    )]
    NoRoots,
    /// The extra CA file cannot be read.
    #[error("ca_file {} cannot be read", path.display())]
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// What reading it said.
        source: io::Error,
    },
    /// The extra CA file has no usable certificate.
    #[error("ca_file {} {reason}", path.display())]
    CaMalformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        reason: &'static str,
    },
    /// TLS or the HTTP client refused what it was given.
    #[error("the HTTP client cannot be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A service's address is not `https://HOST[:PORT]`.
    #[error("{key} must be an address of the form https://HOST")]
    Address {
        /// The configuration key.
        key: &'static str,
    },
    /// A suffix is not `.domain.name`.
    #[error("vault_suffixes has {suffix:?}; expected a dot and a domain, such as \".vault.azure.net\"")]
    Suffix {
        /// What was given.
        suffix: String,
    },
    /// There is no suffix at all.
    #[error("vault_suffixes is empty")]
    NoSuffix,
    /// A configured vault is outside the allowed suffixes.
    #[error("vaults has {vault:?}, which is not an address of the form https://NAME followed by one of vault_suffixes")]
    Vault {
        /// What was given.
        vault: String,
    },
    /// An include or exclude pattern is no glob.
    #[error("{key} has {glob:?}: {reason}")]
    Glob {
        /// `include` or `exclude`.
        key: &'static str,
        /// What was given.
        glob: String,
        /// What the glob parser said.
        reason: String,
    },
    /// A resolver override is neither a host name nor `*.suffix`.
    #[error("resolve has {host:?}; expected a host name or \"*.\" and a domain")]
    Resolve {
        /// What was given.
        host: String,
    },
    /// The tenant or client id cannot stand in a request.
    #[error("{key} {reason}")]
    Identity {
        /// The configuration key.
        key: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
