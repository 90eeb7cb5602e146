//! Behaviour through the public faces, in one binary.
mod api;
mod azure;
mod catalog;
mod cli;
mod config;
mod emulator;
mod golden;
mod vaults;
