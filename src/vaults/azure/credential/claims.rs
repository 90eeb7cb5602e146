//! What a token says of its bearer. Read for people and for the tenant; nothing is decided from it that the service
//! behind it does not check itself.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The claims that tell who signed in. All are absent in a token that is no JWT.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::vaults::azure) struct Claims {
    /// The tenant's id.
    pub(in crate::vaults::azure) tid: Option<String>,
    /// The application's id.
    pub(in crate::vaults::azure) appid: Option<String>,
    /// The object id of the service principal or user.
    pub(in crate::vaults::azure) oid: Option<String>,
}

impl Claims {
    /// The claims of an access token.
    pub(in crate::vaults::azure) fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).unwrap_or_default();
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('='));
        decoded.ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_and_an_opaque_token_has_none() {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"tid":"t","appid":"a","oid":"o","exp":1}"#);
        let claims = Claims::of(&format!("e30.{payload}.sig"));
        assert_eq!((claims.tid.as_deref(), claims.appid.as_deref()), (Some("t"), Some("a")));
        for opaque in ["", "opaque", "a.b.c", "..", "e30.!!!.x"] {
            assert_eq!(Claims::of(opaque), Claims::default(), "{opaque}");
        }
    }
}
