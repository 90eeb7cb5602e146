//! Behaviour through the public faces, in one binary.
#![allow(unreachable_pub, reason = "there is no outside to reach")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod api;
mod azure;
mod broker;
mod budget;
mod catalog;
mod cli;
mod config;
mod emulator;
mod faults;
mod golden;
mod house;
mod matrix;
mod seven;
mod simulated;
mod simulation;
mod snapshot;
mod users;
mod vaults;
