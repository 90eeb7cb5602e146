//! Access tokens: opaque to clients, and known here with whom they are for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

/// Past this many, expired ones are forgotten first.
const SWEEP_AT: usize = 10_000;

/// What a token stands for.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// The app's name in the estate.
    pub(super) app: String,
    /// The tenant that issued it.
    pub(super) tenant: String,
    /// The resource it is for, such as `https://vault.azure.net`.
    pub(super) audience: String,
    expires: Instant,
    revoked: bool,
}

/// Why a token is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    Unknown,
    Expired,
    Revoked,
}

#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

impl Tokens {
    pub(super) fn issue(&self, app: &str, tenant: &str, audience: &str, lifetime: Duration) -> String {
        let text = format!("emulated.{}", URL_SAFE_NO_PAD.encode(super::random::<32>()));
        let now = Instant::now();
        let token = Token {
            app: app.to_owned(),
            tenant: tenant.to_owned(),
            audience: audience.to_owned(),
            expires: now + lifetime,
            revoked: false,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SWEEP_AT {
            all.retain(|_, token| token.expires > now);
        }
        all.insert(text.clone(), token);
        text
    }

    pub(super) fn look_up(&self, text: &str) -> Result<Token, Rejected> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = all.get(text).ok_or(Rejected::Unknown)?;
        if token.revoked {
            Err(Rejected::Revoked)
        } else if token.expires <= Instant::now() {
            Err(Rejected::Expired)
        } else {
            Ok(token.clone())
        }
    }

    /// Makes the tokens of an app, or of all, useless. Returns how many there were.
    pub(super) fn revoke(&self, app: Option<&str>) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = all.values_mut().filter(|token| app.is_none_or(|app| token.app == app));
        hit.map(|token| token.revoked = true).count()
    }
}
