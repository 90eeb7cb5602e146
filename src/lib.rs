//! sidekey: finds every Azure Key Vault by itself and serves their secrets beside an app.
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod secret;
pub mod vaults;
