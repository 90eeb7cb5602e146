//! Signing in: one identity, its tokens, and when they are renewed.
//!
//! The SDK's credentials only make tokens here; every token is made by a fresh one, so that their caches (one lock for
//! all scopes, held across the network; a refused token returned for ever) never matter and rotated files are seen. The
//! cache is [`Tokens`]. What must never happen: a caller waiting for Entra while a good token is held; a token refused
//! by a vault being sent for ever; a refusal that persists making a loop of sign-ins; a token asked for on behalf of a
//! resource that is none of this source's.

mod azure_cli;
mod certificate;
mod claims;
mod client_secret;
mod federated;
mod issuer;
mod managed_identity;
mod tokens;

pub(super) use claims::Claims;
pub(super) use issuer::issuer;
pub(super) use tokens::{Scopes, Tokens, scope};
