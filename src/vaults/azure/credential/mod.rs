//! Signing in: one identity, its tokens, and when they are renewed.
//!
//! The SDK's credentials only make tokens here; every token is made by a fresh one, so that their caches (one lock for
//! all scopes, held across the network; a refused token returned for ever) never matter. The cache is [`Tokens`]; files
//! that are rotated are `rotation`'s. What must never happen: a caller waiting for Entra while a good token is held; a
//! token refused by a vault being sent for ever; a refusal that persists making a loop of sign-ins; a credential that
//! works being dropped for one that does not; a token asked for on behalf of a resource that is none of this source's.

mod azure_cli;
mod certificate;
mod claims;
mod client_secret;
mod federated;
mod issuer;
mod managed_identity;
mod proof;
mod rotation;
mod tokens;

pub(super) use claims::Claims;
pub(super) use issuer::issuer;
pub(super) use tokens::{Limits, Scopes, Tokens, scope};
