//! The built binary, as a person or a script meets it.
mod answers;
mod audit;
mod clients;
mod crowded;
mod demo;
mod direct;
mod passed;
pub mod process;
mod refusals;
mod relay;
mod reloading;
mod serving;
mod surface;
mod takeover;
mod telling;
mod traced;
mod waiting;
mod watch;
