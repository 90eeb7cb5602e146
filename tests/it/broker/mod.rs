//! Reads through the broker, over scripted vaults and a paused clock.

mod anywhere;
mod freshness;
mod prefetch;
mod reads;
mod scripted;
mod twins;
mod views;
mod watch;
