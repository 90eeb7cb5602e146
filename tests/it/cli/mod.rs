//! The built binary, as a person or a script meets it.
mod answers;
mod audit;
mod clients;
mod demo;
mod direct;
pub mod process;
mod refusals;
mod relay;
mod reloading;
mod serving;
mod surface;
mod takeover;
mod telling;
mod waiting;
mod watch;
