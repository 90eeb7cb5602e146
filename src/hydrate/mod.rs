//! References become what an app starts with: its environment, or the same set in the formats that others read.
//!
//! Knows no HTTP and asks nobody: who reads the references of a [`Template`] hands their values in.
//!
//! Must never happen: half a set; a value, or a text that may be one, in an error; a value that its reader takes for
//! another one.

mod child;
mod children;
pub mod dangerous;
pub mod files;
mod formats;
mod kept;
pub mod limits;
mod page;
mod replace;
pub mod set;
mod shell;
mod supervisor;
mod template;

pub use child::Program;
pub use files::Put;
pub use formats::{Format, Unfit};
pub use kept::Kept;
pub use page::{BadPage, Known, Page, Rendered};
pub use replace::{NotReplaced, replace, replace_together};
pub use supervisor::{Change, Supervisor};
pub use template::{BadTemplate, BadValue, Fault, Misfit, Template};
