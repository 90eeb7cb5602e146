use secrecy::{ExposeSecret, SecretSlice};

/// A secret's value: bytes that are wiped when dropped and that nothing prints.
///
/// Sharing is by `Arc<Secret>`, never by copy. The buffers of the SDK and of the HTTP stack that carried the bytes
/// here are not ours and are not wiped.
#[allow(missing_debug_implementations, reason = "a value is never printed")]
pub struct SecretValue(SecretSlice<u8>);

impl SecretValue {
    /// Takes the bytes over. A buffer with spare capacity is copied to an exact one and wiped, so that no unwiped
    /// copy is left behind by the shrinking.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes: Vec<u8> = bytes.into();
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice().into());
        }
        let exact: Box<[u8]> = bytes.as_slice().into();
        zeroize::Zeroize::zeroize(&mut bytes);
        Self(exact.into())
    }

    /// The bytes themselves. Every call is a place where a value may leave; a test counts them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Bytes in the value; not a secret in itself.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.expose_secret().len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
