//! The Azure backend over TLS, under the real host names: against a stage that each test scripts, against answers that
//! were recorded from the real services, and against the emulator.

mod discovery;
mod emulated;
mod environment;
mod key_vault;
mod limits;
mod recorded;
mod rotation;
mod sign_in;
pub(crate) mod stage;
