//! Azure Key Vault, by Microsoft's SDK, and what the SDK needs around it.
//!
//! [`AzureSource`] is one identity in one cloud. It signs in (`credential`), finds vaults (`discovery`), and hands out
//! an [`AzureVault`] for each (`key_vault`), all on one HTTP client (`transport`); `errors` says what answers mean.
//!
//! What must never happen here: a token sent to a host that is not its service (`transport`, `address`); another secret's
//! value as the answer (`key_vault`); an outage taken for a denial, or the other way round (`errors`); upstream text in
//! an error; a call without an end.

mod address;
mod bearer;
mod credential;
mod discovery;
mod errors;
#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
pub(crate) mod fuzzing;
mod key_vault;
mod pace;
mod paging;
mod settings;
mod setup;
mod source;
mod transport;

pub use discovery::{DiscoveryReport, DiscoveryRoute, GraphShortfall};
pub use key_vault::AzureVault;
pub use settings::{AzureSettings, Cloud, ConfiguredVault, Credential, Identity, WireLimits};
pub use setup::SetupError;
pub use source::{Audience, AzureSource, SignedIn};
pub use transport::{LookUp, SystemRoots};
