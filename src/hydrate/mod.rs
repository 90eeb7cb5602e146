//! Start-up hydration: what a program is started with, and what becomes of it when its secrets change.

pub mod child;
pub mod dangerous;
pub mod files;
pub mod limits;
pub mod supervisor;
