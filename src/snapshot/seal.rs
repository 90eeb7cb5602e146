//! One file's bytes: a header in clear, then the sealed contents, then the tag.
//!
//! ```text
//! 16 bytes  sidekey-snapshot
//!  2 bytes  format, big-endian; a new number only for what today's readers could not skip
//! 32 bytes  salt, random in every file
//! 32 bytes  the identity's mark
//!  … bytes  AES-256-GCM(contents), the four above being its associated data
//! 16 bytes  tag
//! ```

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Prk};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{Contents, Key, document};
use crate::kernel::scrub_stack;

const MAGIC: &[u8; 16] = b"sidekey-snapshot";
const FORMAT: u16 = 1;
const SALT: usize = 32;
const MARK: usize = 32;
const HEADER: usize = MAGIC.len() + 2 + SALT + MARK;
const TAG: usize = 16;

/// Whose snapshots they are, as a digest.
pub(super) struct Identity([u8; 32]);

impl Identity {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// What stands in a file for the identity: only who has the key can tell whose it is, and no two files have the
    /// same.
    fn mark(&self, salted: &Prk) -> [u8; MARK] {
        let mut mark = [0; MARK];
        let info: [&[u8]; 2] = [b"sidekey snapshot identity", &self.0];
        let fits = "32 bytes are what HKDF-SHA256 gives at once";
        salted.expand(&info, HKDF_SHA256).expect(fits).fill(&mut mark).expect(fits);
        mark
    }
}

/// The system gives no random bytes.
pub(super) struct NoRandom;

/// Why bytes are not used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Damaged(&'static str),
    Newer(u16),
    OtherIdentity,
}

/// A whole file. The buffer holds the contents in clear until they are sealed in it, and is never outgrown.
pub(super) fn seal(key: &Key, identity: &Identity, contents: &Contents) -> Result<Zeroizing<Vec<u8>>, NoRandom> {
    let bytes = sealed(key, identity, contents);
    scrub_stack();
    bytes
}

/// In a frame of its own, which `scrub_stack` then covers: the file's keys stay on the stack.
#[inline(never)]
fn sealed(key: &Key, identity: &Identity, contents: &Contents) -> Result<Zeroizing<Vec<u8>>, NoRandom> {
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| NoRandom)?;
    let salted = key.salted(&salt);

    let capacity = HEADER + document::length(contents) + TAG;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(&identity.mark(&salted));
    document::encode(contents, &mut bytes);
    let (header, clear) = bytes.split_at_mut(HEADER);
    let tag = aead(&salted)
        .seal_in_place_separate_tag(nonce(), Aad::from(header), clear)
        .expect("AES-GCM seals 64 GiB, more than memory holds");
    bytes.extend_from_slice(tag.as_ref());
    debug_assert_eq!(bytes.len(), capacity, "a buffer that grew has left a copy behind");
    Ok(bytes)
}

/// The contents of a whole file, which is opened in place.
pub(super) fn open(key: &Key, identity: &Identity, bytes: &mut [u8]) -> Result<Contents, Refused> {
    let contents = opened(key, identity, bytes);
    scrub_stack();
    contents
}

/// The same.
#[inline(never)]
fn opened(key: &Key, identity: &Identity, bytes: &mut [u8]) -> Result<Contents, Refused> {
    let Some((header, sealed)) = bytes.split_at_mut_checked(HEADER) else {
        return Err(Refused::Damaged("is too short to be a snapshot"));
    };
    let (magic, rest) = header.split_at(MAGIC.len());
    let (format, rest) = rest.split_at(2);
    let (salt, mark) = rest.split_at(SALT);
    if magic != MAGIC {
        return Err(Refused::Damaged("is no snapshot of sidekey"));
    }
    match u16::from_be_bytes([format[0], format[1]]) {
        FORMAT => {}
        0 => return Err(Refused::Damaged("is no snapshot of sidekey")),
        newer => return Err(Refused::Newer(newer)),
    }
    let salted = key.salted(salt);
    let clear = aead(&salted)
        .open_in_place(nonce(), Aad::from(&*header), sealed)
        .map_err(|_| Refused::Damaged("is damaged, or was sealed with another key than the key file's"))?;
    // The header is proved to be what was written: a mark that differs is another identity's, not a flipped bit.
    if mark != identity.mark(&salted) {
        return Err(Refused::OtherIdentity);
    }
    document::decode(clear).ok_or(Refused::Damaged("holds something else than a snapshot"))
}

fn aead(salted: &Prk) -> LessSafeKey {
    let key = salted.expand(&[b"sidekey snapshot seal"], &AES_256_GCM);
    LessSafeKey::new(UnboundKey::from(key.expect("32 bytes are what HKDF-SHA256 gives at once")))
}

/// The same for every file: no key seals twice, as each has a salt of its own.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
