//! What a request may say, in its path, its query and its headers.
#![allow(dead_code, reason = "only described")]

use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api) struct NamePart {
    /// The secret's name; case does not matter.
    #[param(min_length = 1, max_length = 127, pattern = "^[0-9A-Za-z-]+$", example = "db-password")]
    name: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api) struct VaultPart {
    /// The vault's name, or `source:name`; case does not matter.
    #[param(min_length = 1, max_length = 191, pattern = "^([0-9A-Za-z_-]+:)?[0-9A-Za-z-]+$", example = "pay-prod")]
    vault: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api) struct ProfilePart {
    /// The name of an `[[aws]]`.
    #[param(min_length = 1, max_length = 63, pattern = "^[0-9A-Za-z._-]+$", example = "backup")]
    profile: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api) struct VersionPart {
    /// The version.
    #[param(pattern = "^[0-9A-Fa-f]{32}$", example = "0b31729e2750416caba40429a1f3bea4")]
    version: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct VersionParameter {
    /// That version, in whichever vault has it.
    #[param(pattern = "^[0-9A-Fa-f]{32}$", example = "0b31729e2750416caba40429a1f3bea4")]
    version: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ViewParameters {
    /// One field of a value that is JSON, by its pointer (RFC 6901): a string without its quotes, anything else as JSON.
    #[param(pattern = "^/", example = "/hosts/0")]
    field: Option<String>,
    /// `pem`: a certificate-backed secret as private key, certificate and chain. Not beside `field`.
    #[param(pattern = "^pem$", example = "pem")]
    format: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::api) struct FreshnessHeaders {
    /// `no-cache`: read upstream now. `max-age=N`: nothing older than N seconds. `only-if-cached`: nothing that is not
    /// held. Several are separated by commas.
    #[param(rename = "Cache-Control", example = "max-age=60")]
    cache_control: Option<String>,
    /// The `ETag` of what the caller holds; the answer is 304 if that is current.
    #[param(rename = "If-None-Match", example = "\"0b31729e2750416caba40429a1f3bea4\"")]
    if_none_match: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PageParameters {
    /// Secrets on a page; 100 if not told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct SearchParameters {
    /// What a name must match; none: every name.
    #[param(max_length = 1024, example = "redis")]
    q: Option<String>,
    /// How it must: `substring` (if not told), `exact`, `prefix`, `glob`, `regex` or `fuzzy`.
    #[param(rename = "match", pattern = "^(substring|exact|prefix|glob|regex|fuzzy)$", example = "substring")]
    matching: Option<String>,
    /// A glob on vaults. One without `*`, `?`, `[…]`, `{…}` is a name, and must be a vault's.
    #[param(example = "pay-*")]
    vault: Option<String>,
    /// A tag that must be there, `key` or `key=value`; several must all be.
    #[param(explode = true, example = json!(["team=pay"]))]
    tag: Option<Vec<String>>,
    /// Only enabled, or only disabled secrets.
    enabled: Option<bool>,
    /// Only those that Key Vault made for a certificate, or only the others.
    managed: Option<bool>,
    /// The whole content type.
    content_type: Option<String>,
    /// Only those that expire within that time from now.
    #[param(example = "30d")]
    expires_within: Option<String>,
    /// Only those that have expired, or only the others.
    expired: Option<bool>,
    /// Only those that moved at that time or later; RFC 3339.
    #[param(example = "2026-11-01T00:00:00Z")]
    updated_since: Option<String>,
    /// `name`, `vault`, `expires` or `updated`; with a `-` before it, the other way round.
    #[param(pattern = "^-?(name|vault|expires|updated)$", example = "-updated")]
    sort: Option<String>,
    /// Hits on a page; 100 if not told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WatchParameters {
    /// What to watch: a reference, or `VAULT/NAME` where both may be globs; at most 100. None: everything. A vault without
    /// a wildcard must be known.
    #[param(rename = "ref", explode = true, example = json!(["pay-prod/db-*"]))]
    reference: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::api) struct ResumeHeader {
    /// The id of the last event that was received: the stream goes on behind it.
    #[param(rename = "Last-Event-ID", example = "5f0c1a2b9d3e4f60-7")]
    last_event_id: Option<String>,
}
