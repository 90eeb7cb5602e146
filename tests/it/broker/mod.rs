//! Reads through the broker, over scripted vaults and a paused clock.

mod anywhere;
mod freshness;
mod kept;
mod prefetch;
mod reads;
mod scripted;
mod twins;
mod views;
