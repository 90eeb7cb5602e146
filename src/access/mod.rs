//! Who may read, and who has read.

pub mod audit;
