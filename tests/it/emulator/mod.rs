//! The fake Azure, asked by a bare HTTPS client over the real host names.
mod key_vault;
mod sign_in;
mod support;
