use std::fmt;
use std::path::Path;

use ring::hmac;

use crate::secret::{SecretName, VaultName};
use crate::snapshot::{Key, KeyError};

/// How names of vaults and secrets, and what was searched for, are told.
#[derive(Clone, Default)]
pub struct Names(Option<hmac::Key>);

impl Names {
    /// As their HMAC-SHA256, in hexadecimal digits, under the key in that file: who has the key can tell whether a line is
    /// about a name, and nobody else can. The file holds 32 bytes in base64, and is made if it does not exist.
    ///
    /// # Errors
    /// If there is no such key and none can be made, or others could read it.
    pub fn hashed(key_file: &Path) -> Result<Self, KeyError> {
        Ok(Self(Some(Key::load_or_create(key_file)?.authenticator())))
    }

    /// Whether they are.
    #[must_use]
    pub fn are_hashed(&self) -> bool {
        self.0.is_some()
    }

    /// A vault's name.
    pub(super) fn write_vault(&self, out: &mut Vec<u8>, vault: &VaultName) {
        match &self.0 {
            None => write_word(out, vault.as_str()),
            Some(key) => write_hash(out, &[vault.as_str().as_bytes()], key),
        }
    }

    /// A search's text.
    pub(super) fn write(&self, out: &mut Vec<u8>, text: &str) {
        match &self.0 {
            None => write_text(out, text),
            Some(key) => write_hash(out, &[text.as_bytes()], key),
        }
    }

    /// A secret's name. Hashed it is that of `VAULT/NAME`, so that the same name in two vaults does not look the same.
    pub(super) fn write_secret(&self, out: &mut Vec<u8>, vault: &str, name: &SecretName) {
        match &self.0 {
            None => write_word(out, name.as_str()),
            Some(key) => write_hash(out, &[vault.as_bytes(), b"/", name.as_str().as_bytes()], key),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.are_hashed() { "Hashed" } else { "Plain" })
    }
}

/// As JSON has it, whatever is in it.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text is JSON, and memory takes it");
}

/// A name, a version or a word of ours: none of them holds what JSON would have to escape.
pub(super) fn write_word(out: &mut Vec<u8>, word: &str) {
    debug_assert!(word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'), "{word:?}");
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

fn write_hash(out: &mut Vec<u8>, parts: &[&[u8]], key: &hmac::Key) {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    out.extend_from_slice(b"\"hmac:");
    for byte in context.sign().as_ref() {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'"');
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
