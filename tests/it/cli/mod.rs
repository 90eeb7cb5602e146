//! The built binary, as a person or a script meets it.
mod answers;
mod demo;
mod direct;
pub mod process;
mod refusals;
mod serving;
mod surface;
mod waiting;
