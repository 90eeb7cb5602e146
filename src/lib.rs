//! sidekey: finds every Azure Key Vault by itself and serves their secrets beside an app.
pub mod catalog;
pub mod secret;
pub mod vaults;
