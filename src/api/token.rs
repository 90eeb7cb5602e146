//! A token as it goes over the wire.

use axum::http::HeaderValue;

use crate::access::Token;

impl Token {
    /// As a client sends it: the `Authorization` header.
    ///
    /// # Panics
    /// Never: a token is visible ASCII.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let mut header = HeaderValue::from_bytes(&self.bearer()).expect("a token is visible ASCII");
        header.set_sensitive(true);
        header
    }
}
