//! The OpenAPI 3.1 document: what routes share, as types that their annotations name. It is made of these in a test alone,
//! which holds `document.json` to it, so that a process that starts makes nothing of it and carries nothing to make it with.
//! After a change: `WRITE_OPENAPI=1 cargo test --lib openapi`.

mod parameters;
mod responses;

pub(super) use parameters::*;
pub(super) use responses::*;

use super::model;

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
        document.components.get_or_insert_default().responses.extend(all_problems());
    }
}

/// What the routes' annotations say.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    use utoipa::OpenApi as _;
    utoipa_axum::router::OpenApiRouter::with_openapi(Base::openapi()).merge(super::routes::described()).into_openapi()
}

mod tests {
    use super::*;

    #[test]
    fn the_document_is_that_of_the_annotations() {
        let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("WRITE_OPENAPI").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi/document.json");
            std::fs::write(path, &made).unwrap();
        } else {
            assert!(made == include_str!("document.json"), "written anew by: WRITE_OPENAPI=1 cargo test --lib openapi");
        }
    }
}
