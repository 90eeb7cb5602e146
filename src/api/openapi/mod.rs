//! The OpenAPI 3.1 document: what routes share, as types that their annotations name. It is made of these in a test alone,
//! which holds `openapi.json` to it, so that a process that starts makes nothing of it and carries nothing to make it with.
//! After a change: `WRITE_OPENAPI=1 cargo test --lib openapi`.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, IntoResponses};

use super::model;
use super::problem::{Code, MEDIA_TYPE};

/// The document before any route is in it.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "sidekey",
        description = "One sidecar, every Key Vault: secrets by name over a unix socket or loopback HTTP. Durations are \
            seconds, times RFC 3339. Every answer carries `Cache-Control: no-store`. Over TCP a request needs the token, \
            and a `Host` of 127.0.0.1, [::1] or localhost; on the unix socket its mode is the gate."
    ),
    components(schemas(model::ProblemDocument, model::SecretDocument)),
    modifiers(&Token, &Problems),
    security(("token" = [])),
    tags(
        (name = "secrets", description = "Values"),
        (name = "catalog", description = "What exists; never values"),
        (name = "health", description = "The sidecar itself"),
    )
)]
struct Base;

struct Token;

struct Problems;

impl utoipa::Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The content of the token file. Over TCP only; not needed on the unix socket."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

impl utoipa::Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let all = SETS.iter().flat_map(|sets| by_status(sets));
        let named = all.map(|(status, codes)| (name(&status, &codes), problem(&status, &codes).into()));
        document.components.get_or_insert_default().responses.extend(named);
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described")]
pub(super) struct NamePart {
    /// The secret's name; case does not matter.
    #[param(min_length = 1, max_length = 127, pattern = "^[0-9A-Za-z-]+$", example = "db-password")]
    name: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described")]
pub(super) struct VaultPart {
    /// The vault's name, or `source:name`; case does not matter.
    #[param(min_length = 1, max_length = 191, pattern = "^([0-9A-Za-z_-]+:)?[0-9A-Za-z-]+$", example = "pay-prod")]
    vault: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described")]
pub(super) struct ProfilePart {
    /// The name of an `[[aws]]`.
    #[param(min_length = 1, max_length = 63, pattern = "^[0-9A-Za-z._-]+$", example = "backup")]
    profile: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only described")]
pub(super) struct VersionPart {
    /// The version.
    #[param(pattern = "^[0-9A-Fa-f]{32}$", example = "0b31729e2750416caba40429a1f3bea4")]
    version: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described")]
pub(super) struct VersionParameter {
    /// That version, in whichever vault has it.
    #[param(pattern = "^[0-9A-Fa-f]{32}$", example = "0b31729e2750416caba40429a1f3bea4")]
    version: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described")]
pub(super) struct ViewParameters {
    /// One field of a value that is JSON, by its pointer (RFC 6901): a string without its quotes, anything else as JSON.
    #[param(pattern = "^/", example = "/hosts/0")]
    field: Option<String>,
    /// `pem`: a certificate-backed secret as private key, certificate and chain. Not beside `field`.
    #[param(pattern = "^pem$", example = "pem")]
    format: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only described")]
pub(super) struct FreshnessHeaders {
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
#[allow(dead_code, reason = "only described")]
pub(super) struct PageParameters {
    /// Secrets on a page; 100 if not told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described")]
pub(super) struct SearchParameters {
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
#[allow(dead_code, reason = "only described")]
pub(super) struct WatchParameters {
    /// What to watch: a reference, or `VAULT/NAME` where both may be globs; at most 100. None: everything. A vault without
    /// a wildcard must be known.
    #[param(rename = "ref", explode = true, example = json!(["pay-prod/db-*"]))]
    reference: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only described")]
pub(super) struct ResumeHeader {
    /// The id of the last event that was received: the stream goes on behind it.
    #[param(rename = "Last-Event-ID", example = "5f0c1a2b9d3e4f60-7")]
    last_event_id: Option<String>,
}

type Responses = BTreeMap<String, RefOr<Response>>;

/// What any route may answer instead.
pub(super) struct CommonResponses;

/// What a route may answer that looks at one vault.
pub(super) struct LookupResponses;

/// What a search may answer instead of hits.
pub(super) struct SearchResponses;

/// What a watch may answer instead of events.
pub(super) struct WatchResponses;

/// What a resolve may answer instead of values.
pub(super) struct ResolveResponses;

/// What a route may answer instead of credentials of AWS.
pub(super) struct AwsResponses;

/// What a route that gives a value may answer, the value included.
pub(super) struct ValueResponses;

const COMMON: &[Code] = &[
    Code::BadQuery,
    Code::BadHost,
    Code::Forwarded,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::MethodNotAllowed,
    Code::Internal,
    Code::AuditFailed,
];

const LOOKUP: &[Code] = &[
    Code::BadReference,
    Code::SecretNotFound,
    Code::VaultNotFound,
    Code::VaultDenied,
    Code::SignInFailed,
    Code::VaultThrottled,
    Code::VaultUnavailable,
    Code::Incomplete,
    Code::NotReady,
    Code::Overloaded,
    Code::VaultTimeout,
];

const VALUE: &[Code] = &[
    Code::VersionNotFound,
    Code::FieldNotFound,
    Code::NotAcceptable,
    Code::Ambiguous,
    Code::SecretDisabled,
    Code::NotCached,
];

const RESOLVE: &[Code] = &[Code::TooSlow, Code::TooLarge, Code::UnsupportedMediaType];

/// What routes may answer, each a list of lists.
type Sets = &'static [&'static [Code]];

const COMMON_SETS: Sets = &[COMMON];
const LOOKUP_SETS: Sets = &[COMMON, LOOKUP];
const SEARCH_SETS: Sets = &[COMMON, &[Code::VaultNotFound]];
const WATCH_SETS: Sets = &[COMMON, &[Code::VaultNotFound, Code::Overloaded]];
const RESOLVE_SETS: Sets = &[COMMON, LOOKUP, VALUE, RESOLVE];
const AWS_SETS: Sets = &[COMMON, LOOKUP, VALUE, &[Code::NotFound]];
const VALUE_SETS: Sets = &[COMMON, LOOKUP, VALUE];

const SETS: [Sets; 7] = [COMMON_SETS, LOOKUP_SETS, SEARCH_SETS, WATCH_SETS, RESOLVE_SETS, AWS_SETS, VALUE_SETS];

impl IntoResponses for CommonResponses {
    fn responses() -> Responses {
        problems(COMMON_SETS)
    }
}

impl IntoResponses for LookupResponses {
    fn responses() -> Responses {
        problems(LOOKUP_SETS)
    }
}

impl IntoResponses for SearchResponses {
    fn responses() -> Responses {
        problems(SEARCH_SETS)
    }
}

impl IntoResponses for WatchResponses {
    fn responses() -> Responses {
        problems(WATCH_SETS)
    }
}

impl IntoResponses for ResolveResponses {
    fn responses() -> Responses {
        problems(RESOLVE_SETS)
    }
}

impl IntoResponses for AwsResponses {
    fn responses() -> Responses {
        problems(AWS_SETS)
    }
}

impl IntoResponses for ValueResponses {
    fn responses() -> Responses {
        let text = |example: &str| {
            let schema = ObjectBuilder::new().schema_type(Type::String).build();
            ContentBuilder::new().schema(Some(schema)).example(Some(json!(example))).build()
        };
        let document = ContentBuilder::new().schema(Some(Ref::from_schema_name("SecretDocument"))).build();
        let found = ResponseBuilder::new()
            .description("The value itself, not one byte added; or the document, where JSON is liked better")
            .content("text/plain; charset=utf-8", text("correct horse battery staple"))
            .content("application/octet-stream", text("a value that is not UTF-8"))
            .content("application/json", document);
        let mut all = problems(VALUE_SETS);
        all.insert("200".to_owned(), RefOr::T(told(found).build()));
        let held = ResponseBuilder::new().description("The caller holds the current one");
        all.insert("304".to_owned(), RefOr::T(told(held).build()));
        all
    }
}

/// The headers that tell where a value came from.
fn told(response: ResponseBuilder) -> ResponseBuilder {
    response
        .header(
            "ETag",
            header(
                Type::String,
                "The version, with a mark for every view but the value itself",
                json!("\"0b31729e2750416caba40429a1f3bea4\""),
            ),
        )
        .header("Age", header(Type::Integer, "Seconds since it was read from the vault", json!(88)))
        .header(
            "Cache-Status",
            header(
                Type::String,
                "RFC 9211: whether it was held, and how long it will be fresh; else `fwd=` says why not: nothing was (`miss`), \
                    it was too old (`stale`), or the caller would not have it (`request`)",
                json!("sidekey; hit; ttl=212"),
            ),
        )
        .header("Sidekey-Vault", header(Type::String, "The vault that holds it", json!("pay-prod")))
        .header(
            "Sidekey-Incomplete",
            header(
                Type::String,
                "The vaults that could not be asked whether they hold it too, with the reason",
                json!("hr-prod;reason=firewall"),
            ),
        )
}

/// One response for each status; those of several routes are described once.
fn problems(sets: Sets) -> Responses {
    let named = |(status, codes): (String, Vec<Code>)| {
        let reference = Ref::from_response_name(name(&status, &codes));
        (status, RefOr::Ref(reference))
    };
    by_status(sets).into_iter().map(named).collect()
}

/// `404.secret_not_found.vault_not_found`.
fn name(status: &str, codes: &[Code]) -> String {
    codes.iter().fold(status.to_owned(), |name, code| name + "." + code.as_str())
}

fn by_status(sets: Sets) -> BTreeMap<String, Vec<Code>> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in sets.iter().copied().flatten() {
        by_status.entry(code.status().as_str().to_owned()).or_default().push(*code);
        if *code == Code::BadHost {
            by_status.entry("421".to_owned()).or_default().push(*code);
        }
    }
    by_status
}

/// With an example for each code.
fn problem(status: &str, codes: &[Code]) -> Response {
    let examples = codes.iter().map(|code| {
        let value = json!({
            "type": format!("urn:sidekey:problem:{code}"),
            "title": code.title(),
            "status": status.parse::<u16>().unwrap_or_default(),
            "code": code.as_str(),
            "detail": "what and where, in plain words",
        });
        (code.as_str(), ExampleBuilder::new().summary(code.title()).value(Some(value)).build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ProblemDocument")))
        .examples_from_iter(examples)
        .build();
    let words: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut response = ResponseBuilder::new()
        .description(words.join(", "))
        .content(MEDIA_TYPE, content)
        .header("Sidekey-Request-Id", header(Type::String, "Finds the failure in the log", json!("5f0c1a2b-1c")));
    response = match status {
        "401" => response
            .header("WWW-Authenticate", header(Type::String, "How to authenticate", json!("Bearer realm=\"sidekey\""))),
        "405" => response.header("Allow", header(Type::String, "The methods that are served", json!("GET,HEAD"))),
        "503" => {
            response.header("Retry-After", header(Type::Integer, "Seconds until it is worth asking again", json!(5)))
        }
        _ => response,
    };
    response.build()
}

fn header(kind: Type, description: &str, example: serde_json::Value) -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(kind).build()))
        .description(Some(description))
        .example(Some(example))
        .build()
}

/// What the routes' annotations say.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    use utoipa::OpenApi as _;
    utoipa_axum::router::OpenApiRouter::with_openapi(Base::openapi()).merge(super::routes::described()).into_openapi()
}

mod tests {
    use super::*;
    use crate::api::DOCUMENT;

    #[test]
    fn the_document_that_is_served_is_that_of_the_annotations() {
        let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("WRITE_OPENAPI").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.json");
            std::fs::write(path, &made).unwrap();
        } else {
            assert!(made == DOCUMENT, "written anew by: WRITE_OPENAPI=1 cargo test --lib openapi");
        }
    }
}
