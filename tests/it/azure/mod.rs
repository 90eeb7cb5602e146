//! The Azure backend over TLS, under the real host names.

mod discovery;
mod key_vault;
mod limits;
mod recorded;
mod sign_in;
mod stage;
