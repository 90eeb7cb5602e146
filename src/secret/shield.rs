//! How values lie in memory: encrypted under a key that is in one page that neither a core file, nor the swap, nor a
//! cold look at the heap has.
//!
//! AES-256-GCM, because its key is used where it lies: ChaCha20-Poly1305 copies it to the stack for each call. What ring
//! makes of the key is in the page too, so that nothing of it is anywhere else. A nonce is a number that is never used
//! again; the key is this process's own and dies with it.
//!
//! Must never happen: a nonce used twice; the key, or a value that nobody is using, in ordinary memory.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::kernel::{Locked, PageKind};

/// The key, ready for use.
static KEY: LazyLock<Locked<LessSafeKey>> =
    LazyLock::new(|| Locked::new(fresh_key).expect("a system without one free page runs nothing"));
static NEXT: AtomicU64 = AtomicU64::new(0);

const KEY_LENGTH: usize = 32;

/// How well the key is kept. Makes it, if nothing was sealed before.
#[must_use]
pub fn key_page() -> PageKind {
    KEY.kind()
}

/// Bytes, encrypted, with their tag.
pub(super) struct Sealed {
    bytes: Box<[u8]>,
    number: u64,
}

impl Sealed {
    /// Bytes of what is sealed.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - AES_256_GCM.tag_len()
    }

    /// The number, then the bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.number.to_le_bytes()[..], &self.bytes].concat()
    }

    /// `None` if it was not sealed by this process.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, bytes) = bytes.split_first_chunk()?;
        let sealed = Self { bytes: bytes.into(), number: u64::from_le_bytes(*number) };
        try_open(&sealed).map(|_| sealed)
    }
}

pub(super) fn seal(plain: &[u8]) -> Sealed {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bytes = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    bytes.extend_from_slice(plain);
    KEY.seal_in_place_append_tag(nonce(number), Aad::empty(), &mut bytes).expect("no value is near 64 GiB");
    Sealed { bytes: bytes.into_boxed_slice(), number }
}

pub(super) fn open(sealed: &Sealed) -> Zeroizing<Vec<u8>> {
    try_open(sealed).expect("what was sealed is opened unchanged: only a broken memory changes it")
}

/// In one buffer, so that no second copy is there.
fn try_open(sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(sealed.bytes.to_vec());
    let length = KEY.open_in_place(nonce(sealed.number), Aad::empty(), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn fresh_key() -> LessSafeKey {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    SystemRandom::new().fill(&mut *key).expect("a system without random numbers has no TLS either");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("it has the algorithm's length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_lies_nowhere_in_the_clear() {
        for plain in [&b""[..], b"x", &[7; 25_000]] {
            let sealed = seal(plain);
            assert_eq!((sealed.len(), open(&sealed).as_slice()), (plain.len(), plain));
            assert!(plain.len() < 16 || !sealed.bytes.windows(16).any(|window| window == &plain[..16]));
        }
    }

    #[test]
    fn the_same_value_sealed_twice_is_not_the_same_bytes() {
        assert_ne!(seal(b"hunter2").bytes, seal(b"hunter2").bytes);
    }

    #[test]
    #[should_panic(expected = "opened unchanged")]
    fn what_was_changed_in_memory_is_not_given_away() {
        let mut sealed = seal(b"hunter2");
        sealed.bytes[0] ^= 1;
        open(&sealed);
    }
}
