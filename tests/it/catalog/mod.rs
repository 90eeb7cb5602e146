//! The catalog through its public face. Time is the paused clock's: it passes only when everything waits.

mod addresses;
mod discovery;
pub(crate) mod estate;
mod listing;
mod matching;
mod naming;
mod paging;
mod reach;
