//! The routes: parse, ask the broker, answer. What they have in common is in the modules beside this one.

mod aws;
mod catalog;
mod health;
mod resolve;
pub(super) mod secrets;
mod together;
pub(super) mod watch;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{MethodRouter, get, post};

use super::State;
use super::path::parts;
use super::problem::{Code, Problem};
use crate::secret::SecretName;
use secrets::Place;

/// Where clients of AWS ask for their credentials.
pub(super) const AWS: &str = "/v1/aws/credentials/{profile}";

/// All of them.
pub(super) fn all() -> Router<State> {
    let router = served().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.fallback(nowhere)
}

/// What is served where. The OpenAPI document describes these and no others, which a test holds.
fn served() -> [(&'static str, MethodRouter<State>); 14] {
    [
        ("/v1/secrets/{name}", get(secrets::anywhere)),
        ("/v1/vaults/{vault}/secrets/{name}", get(secrets::current)),
        ("/v1/vaults/{vault}/secrets/{name}/versions/{version}", get(secrets::version)),
        ("/v1/vaults/{vault}/secrets/{name}/versions", get(catalog::versions)),
        ("/v1/vaults", get(catalog::vaults)),
        ("/v1/vaults/{vault}/secrets", get(catalog::secrets)),
        ("/v1/search", get(catalog::search)),
        ("/v1/resolve", post(resolve::resolve)),
        (AWS, get(aws::credentials)),
        ("/v1/watch", get(watch::watch)),
        ("/livez", get(health::livez)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", get(health::openapi)),
    ]
}

/// The same as they are described.
#[cfg(test)]
pub(super) fn described() -> utoipa_axum::router::OpenApiRouter<State> {
    use utoipa_axum::routes;
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(secrets::anywhere))
        .routes(routes!(secrets::current))
        .routes(routes!(secrets::version))
        .routes(routes!(catalog::versions))
        .routes(routes!(catalog::vaults))
        .routes(routes!(catalog::secrets))
        .routes(routes!(catalog::search))
        .routes(routes!(resolve::resolve))
        .routes(routes!(aws::credentials))
        .routes(routes!(watch::watch))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
}

/// The route that a path leads to, as its pattern: what metrics may tell of it.
pub(super) fn pattern(path: &str) -> &'static str {
    // Asked most.
    if let Some(place) = Place::of(path) {
        return place.pattern();
    }
    if path.ends_with('/') || path.contains("//") {
        return "none";
    }
    let mut parts = parts(path.strip_prefix('/').unwrap_or(path));
    let parts = [(); 8].map(|()| parts.next());
    match parts {
        [Some("v1"), Some("vaults"), None, ..] => "/v1/vaults",
        [Some("v1"), Some("vaults"), Some(_), Some("secrets"), None, ..] => "/v1/vaults/{vault}/secrets",
        [Some("v1"), Some("vaults"), Some(_), Some("secrets"), Some(_), Some("versions"), None, ..] => {
            "/v1/vaults/{vault}/secrets/{name}/versions"
        }
        [Some("v1"), Some("search"), None, ..] => "/v1/search",
        [Some("v1"), Some("resolve"), None, ..] => "/v1/resolve",
        [Some("v1"), Some("watch"), None, ..] => "/v1/watch",
        [Some("v1"), Some("aws"), Some("credentials"), Some(_), None, ..] => AWS,
        [Some("livez"), None, ..] => "/livez",
        [Some("readyz"), None, ..] => "/readyz",
        [Some("metrics"), None, ..] => "/metrics",
        [Some("openapi.json"), None, ..] => "/openapi.json",
        _ => "none",
    }
}

async fn nowhere(uri: Uri) -> Problem {
    unserved(uri.path())
}

/// Nothing is served there. A name with a slash in it, or none, is told apart from a path that is simply wrong.
fn unserved(path: &str) -> Problem {
    if let Some(rest) = path.strip_prefix("/v1/secrets/")
        && let Err(error) = rest.parse::<SecretName>()
    {
        return Problem::new(Code::BadReference, format!("in the path: {error}"));
    }
    Problem::new(Code::NotFound, "nothing is served at this path; /openapi.json tells what is")
}

/// The path is served, the method is not; the router adds `Allow`.
pub(super) async fn not_allowed(method: Method) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not served at this path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_for_metrics_and_places_past_the_router_are_the_routers_own() {
        for (path, _) in served() {
            let asked = path.replace(['{', '}'], "");
            assert_eq!(pattern(&asked), path);
            let gives_values = path.ends_with("{name}") || path.ends_with("{version}");
            assert_eq!(Place::of(&asked).map(|place| place.pattern()), gives_values.then_some(path));
            for other in [format!("{asked}/"), format!("/{asked}"), format!("{asked}/more/and/more")] {
                assert_eq!((pattern(&other), Place::of(&other).is_none()), ("none", true), "{other}");
            }
        }
    }
}
