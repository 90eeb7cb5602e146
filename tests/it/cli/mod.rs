//! The built binary, as a person or a script meets it.
mod answers;
mod demo;
mod direct;
mod process;
mod refusals;
mod serving;
mod surface;
mod watch;
