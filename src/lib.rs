//! sidekey: one sidecar that finds every Azure Key Vault by itself, keeps what apps ask for in memory, and serves it.
//!
//! The modules, lowest first; imports point down only, and `tests/it/house.rs` holds that:
//!
//! - [`kernel`]: what only the kernel gives; the one place with unsafe code.
//! - [`sandbox`]: what this process gives up because it does not need it.
//! - [`secret`]: names, references, metadata, values. [`clock`]: what ages are counted on. [`metrics`]: what is counted.
//!   [`tasks`]: what runs in the background and gets up again when it falls; [`sparing`]: a log that callers cannot fill.
//! - [`rights`]: globs over vaults and names, and what somebody may read and list by them.
//! - [`vaults`]: where secrets live: the `Vault` and `Source` traits, Azure Key Vault, and the reference in memory.
//! - [`budget`]: how much may be asked of a vault, and when: around every source.
//! - [`snapshot`]: what is held, encrypted in a file, for a start in an outage.
//! - [`flight`]: one running call per key. [`cache`]: values held, each with its age.
//! - [`catalog`]: what exists, and searching it.
//! - [`broker`]: the one door: get, resolve, versions, watch. Knows no HTTP.
//! - [`access`]: who asks, by which rights, and who has read what.
//! - [`api`]: the broker over HTTP: guard, routes, listeners.
//! - [`credentials`]: what systemd asks for its units.
//! - [`hydrate`]: references become what an app starts with.
//! - [`config`]: file, variables and flags to one checked configuration.
//! - [`cli`]: one file per subcommand: parse, call, print.
//! - `emulator` (feature): a fake Azure on `vaults::memory`, for demos and tests.
//! - `fuzzing` (feature, and in tests): every parser that meets strangers' bytes, with what must hold of it.
//!
//! How one read flows: a listener hands a connection to the API, whose guard refuses what a local caller would not
//! send; the path is parsed into names; the broker finds the vault in the catalog and answers from the cache, or joins
//! or starts the one flight that asks the vault; what came back is stored, and answered with its version, its age and
//! where it came from, once the audit has recorded who gets it. Nothing above the broker knows Azure, and nothing below the API knows HTTP.

pub mod access;
pub mod api;
pub mod broker;
pub mod budget;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod flight;
#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hydrate;
pub mod kernel;
pub mod metrics;
pub mod rights;
pub mod sandbox;
pub mod secret;
pub mod snapshot;
pub mod sparing;
pub mod tasks;
pub mod vaults;
