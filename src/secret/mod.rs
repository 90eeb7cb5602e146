//! The words of sidekey: names, references, metadata and values.
//!
//! Everything is parsed once, at the edge, into these types; below the edge there is no bare `&str` name. This module
//! imports nothing of ours but `kernel`. A value ([`SecretValue`]) has no `Debug`, `Display`, `Serialize` or `Clone`, so
//! that it cannot reach a log, an error or a file by accident, and lies encrypted until it is used.

#[cfg(all(feature = "emulator", any(test, feature = "fuzzing")))]
pub(crate) mod fuzzing;
mod metadata;
mod name;
mod reference;
mod shield;
mod tags;
mod value;

pub use metadata::{Metadata, Secret};
pub use name::{BadName, SecretName, SourceName, VaultName, Version};
pub use reference::{BadReference, Misplaced, Pointer, Reference};
pub use shield::key_page;
pub use tags::Tags;
pub(crate) use tags::told_last;
pub use value::{Exposed, SecretValue};
