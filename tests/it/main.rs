//! Behaviour through the public faces, in one binary.
#![allow(unreachable_pub, reason = "there is no outside to reach")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod access;
mod api;
mod audit;
mod azure;
mod broker;
mod budget;
mod canaries;
mod catalog;
mod cli;
mod config;
mod credentials;
mod emulator;
mod exec;
mod faults;
mod golden;
mod house;
mod hydrate;
mod matrix;
mod render;
mod sandbox;
mod seven;
mod simulated;
mod simulation;
mod snapshot;
mod users;
mod vaults;
