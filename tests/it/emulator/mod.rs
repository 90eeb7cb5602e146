//! The fake Azure, asked by a bare HTTPS client over the real host names.
mod faults;
mod identities;
mod key_vault;
mod refusals;
mod serve;
mod sign_in;
pub(crate) mod support;
