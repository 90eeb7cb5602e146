//! What a value is made into before it stands in a text. Each result is a buffer that wipes itself.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use crate::hydrate::shell;

/// What a filter found in a value that it cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// For JSON.
    #[error("is not UTF-8, which JSON wants; |base64 before |json carries it")]
    NotText,
    /// For decoding.
    #[error("is not base64")]
    NotBase64,
    /// For a shell.
    #[error("holds a NUL byte, which no shell carries")]
    Nul,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::hydrate) enum Filter {
    /// Percent-encoded: safe in every part of a URL.
    Url,
    /// As it stands between the quotes of a JSON string.
    Json,
    Base64,
    /// Decoded: either alphabet, with or without padding.
    Base64Decoded,
    /// One word of a POSIX shell.
    Shell,
}

/// All but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

impl Filter {
    pub(in crate::hydrate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "url" => Self::Url,
            "json" => Self::Json,
            "base64" => Self::Base64,
            "base64d" => Self::Base64Decoded,
            "shell" => Self::Shell,
            _ => return None,
        })
    }

    pub(in crate::hydrate) fn apply(self, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Misfit> {
        Ok(Zeroizing::new(match self {
            Self::Url => percent_encode(value, ENCODED).to_string().into_bytes(),
            Self::Json => {
                let text = std::str::from_utf8(value).map_err(|_| Misfit::NotText)?;
                let quoted = Zeroizing::new(serde_json::to_string(text).map_err(|_| Misfit::NotText)?);
                quoted[1..quoted.len() - 1].as_bytes().to_vec()
            }
            Self::Base64 => STANDARD.encode(value).into_bytes(),
            Self::Base64Decoded => decoded(value)?,
            Self::Shell if value.contains(&0) => return Err(Misfit::Nul),
            // Collected at its exact size, so that nothing grows out of a buffer that nobody wipes.
            Self::Shell => {
                let mut word = Vec::with_capacity(shell::word(value).map(<[u8]>::len).sum());
                shell::word(value).for_each(|piece| word.extend_from_slice(piece));
                word
            }
        }))
    }
}

fn decoded(value: &[u8]) -> Result<Vec<u8>, Misfit> {
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(value.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect());
    let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, LENIENT).decode(&*text).map_err(|_| Misfit::NotBase64)
}
