//! A vault's budget, through the decorators' own face, on a paused clock.

mod asked;
mod circuit;
mod gate;
mod rates;
mod sources;
