//! What goes over the wire as JSON: one set of types for the server, for the command line as its client, and for the
//! OpenAPI document.
//!
//! Field names are the API's contract. A value is a [`Value`]: it can be sent and received, never printed. Durations
//! are whole seconds, times RFC 3339. A client ignores fields that it does not know.

mod aws;
mod catalog;
mod health;
mod problem;
mod resolve;
mod secret;
mod value;
mod watch;

pub use aws::{AwsCredentials, AwsProcessCredentials, expiration};
pub use catalog::{Listing, SearchAnswer, SecretsPage, Unanswered, VaultDocument, VaultsAnswer};
pub(super) use health::waiting_for;
pub use health::{Readiness, SourceReadiness};
pub use problem::{Fault, ProblemDocument};
pub use resolve::{ResolveAnswer, ResolveRequest, ResolvedFrom};
pub use secret::{Attributes, SecretDocument, SecretSummary, VersionsAnswer};
pub use value::Value;
pub(super) use value::Withheld;
pub use watch::WatchEvent;
