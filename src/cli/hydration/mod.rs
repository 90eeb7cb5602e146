//! What a set of variables is gathered from, and how it is resolved: one way for all commands that hydrate.
//!
//! [`Places`] are the flags that tell variables; [`Places::gather`] lays them over the environment into a [`Set`]. A [`Door`]
//! leads to whoever answers, and waits for a sidecar that is starting; [`Door::resolve`] gives [`Values`] for all that is
//! [`Wanted`]. [`News`] tells when to do that again. The first two tell every fault at once, as [`Faults`], each by the name of what lacks it.
//!
//! Must never happen: a part of a set; a failure that hides another; a value in a fault; a wait that says nothing.

mod door;
mod failing;
mod faults;
mod files;
mod listing;
mod news;
mod pace;
mod places;
mod surroundings;
mod values;

pub(super) use door::{Asking, Door};
pub(super) use faults::Faults;
pub(super) use news::News;
pub(super) use places::{Places, Set};
pub(super) use surroundings::Surroundings;
pub(super) use values::{Values, Wanted};
