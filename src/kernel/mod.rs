//! What only the kernel can give, and what no safe library gives: the one place of ours with unsafe code.
//!
//! It knows nothing of secrets, HTTP or Azure, and imports nothing of ours. Every function here is safe to call from
//! anywhere: what must hold for a call to the system is made sure of inside, and stands at the call as its proof. Must
//! never happen: an `unsafe` function or a raw pointer in what this module offers.
#![allow(unsafe_code)]

mod environment;
mod page;
mod peer;
mod signals;
mod thread;
mod wipe;

pub use environment::overwrite_environment;
pub use page::{Locked, PageKind};
pub use peer::peer_groups;
pub use signals::{Arrived, Signals, is_ignored, leads_session, real_time, send};
pub use thread::give_way;
pub use wipe::{scrub_registers, scrub_stack, scrub_stack_to, wipe};
