//! What a request may be answered: a value, or one of the problems of its route, each described once.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::IntoResponses;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr};

use crate::api::problem::{Code, MEDIA_TYPE};

type Responses = BTreeMap<String, RefOr<Response>>;

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

/// Types that annotations name, each for problems alone.
macro_rules! of_problems {
    ($($(#[$about:meta])* $name:ident: $sets:expr;)*) => {
        $(
            $(#[$about])*
            pub(in crate::api) struct $name;

            impl IntoResponses for $name {
                fn responses() -> Responses {
                    problems($sets)
                }
            }
        )*

        /// The problems of every route.
        const SETS: &[Sets] = &[$($sets,)* VALUE_SETS];
    };
}

of_problems! {
    /// What any route may answer instead.
    CommonResponses: &[COMMON];
    /// What a route may answer that looks at one vault.
    LookupResponses: &[COMMON, LOOKUP];
    /// What a search may answer instead of hits.
    SearchResponses: &[COMMON, &[Code::VaultNotFound]];
    /// What a watch may answer instead of events.
    WatchResponses: &[COMMON, &[Code::VaultNotFound, Code::Overloaded]];
    /// What a resolve may answer instead of values.
    ResolveResponses: &[COMMON, LOOKUP, VALUE, RESOLVE];
    /// What a route may answer instead of credentials of AWS.
    AwsResponses: &[COMMON, LOOKUP, VALUE, &[Code::NotFound]];
}

/// What a route that gives a value may answer, the value included.
pub(in crate::api) struct ValueResponses;

const VALUE_SETS: Sets = &[COMMON, LOOKUP, VALUE];

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

/// Every response that routes refer to, by its name.
pub(super) fn all_problems() -> impl Iterator<Item = (String, RefOr<Response>)> {
    let all = SETS.iter().flat_map(|sets| by_status(sets));
    all.map(|(status, codes)| (name(&status, &codes), problem(&status, &codes).into()))
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
