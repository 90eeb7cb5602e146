use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

use super::shield::{self, Sealed};

/// A secret's value: bytes that lie encrypted in memory, are opened where they are needed, and that nothing prints.
///
/// Sharing is by `Arc<Secret>`. The buffers of the SDK and of the HTTP stack that carried the bytes here are not ours;
/// the process's allocator wipes them when they are given back.
#[allow(missing_debug_implementations, reason = "a value is never printed")]
pub struct SecretValue(Sealed);

impl SecretValue {
    /// Seals the bytes, and wipes the buffer that they came in.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Zeroizing::new(bytes.into());
        Self(shield::seal(&bytes))
    }

    /// The bytes themselves, for as long as the result lives. Every call is a place where a value may leave; a test counts
    /// them.
    #[must_use]
    pub fn expose(&self) -> Exposed {
        Exposed(shield::open(&self.0))
    }

    /// The value as it lies in memory, for keeping by others in this process: of no use without the key, nor later.
    #[must_use]
    pub fn sealed(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The value of what [`SecretValue::sealed`] gave; `None` if it is not from this process, or was changed.
    #[must_use]
    pub fn of_sealed(bytes: &[u8]) -> Option<Self> {
        Sealed::from_bytes(bytes).map(Self)
    }

    /// Bytes in the value; not a secret in itself.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A value's bytes in the clear: a buffer of its own, wiped when dropped, that prints nothing.
pub struct Exposed(Zeroizing<Vec<u8>>);

impl Deref for Exposed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Exposed {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// For whoever seals them again, and wipes the buffer.
impl From<Exposed> for Vec<u8> {
    fn from(mut exposed: Exposed) -> Self {
        std::mem::take(&mut *exposed.0)
    }
}

/// Not in constant time: what is compared with a caller's word is compared by digest.
impl<T: AsRef<[u8]> + ?Sized> PartialEq<&T> for Exposed {
    fn eq(&self, other: &&T) -> bool {
        **self == *other.as_ref()
    }
}

impl fmt::Debug for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
