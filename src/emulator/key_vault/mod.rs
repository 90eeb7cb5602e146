//! A vault's data plane: the challenge, who gets through, and the routes.

mod bundle;
mod deleted;
mod gate;
mod list;
mod secrets;

use hyper::{Method, StatusCode};

use super::answer::Answer;
use super::calls::{Endpoint, Target};
use super::estate::{App, Right};
use super::request::Request;
use super::world::{VaultState, World};
use crate::secret::{SecretName, Version};

/// The service's version, which every answer tells.
const SERVICE_VERSION: &str = "1.9.2500.1";
/// The versions of the API that the data plane has had since soft delete; of 2026 any.
const VERSIONS: [&str; 8] = ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"];

/// One call of an identity that got through, to a vault.
struct Call<'w> {
    world: &'w World,
    vault: &'w VaultState,
    app: &'w App,
    request: &'w Request,
}

/// What a path means.
enum Route {
    Secret(Endpoint, String, Option<String>),
    Whole(Endpoint),
    Unknown,
}

pub(super) fn target(vault: &VaultState, request: &Request) -> Target {
    let (endpoint, secret) = match route(request) {
        Route::Whole(Endpoint::Health) => (Endpoint::Health, None),
        _ if request.bearer().is_none() => (Endpoint::Challenge, None),
        Route::Secret(endpoint, name, _) => (endpoint, Some(name.to_ascii_lowercase())),
        Route::Whole(endpoint) => (endpoint, None),
        Route::Unknown => (Endpoint::Elsewhere, None),
    };
    Target { endpoint, vault: Some(vault.facts.name.clone()), secret }
}

pub(super) fn answer(world: &World, vault: &VaultState, request: &Request) -> Answer {
    let answer = match gate::enter(world, vault, request) {
        _ if matches!(route(request), Route::Whole(Endpoint::Health)) => Answer::text(StatusCode::OK, "OK\r\n"),
        Err(refused) => *refused,
        Ok(app) => Call { world, vault, app, request }.answer().unwrap_or_else(|refused| *refused),
    };
    answer
        .with("cache-control", "no-cache")
        .with("pragma", "no-cache")
        .with("x-content-type-options", "nosniff")
        .with("x-ms-keyvault-region", &vault.facts.location)
        .with("x-ms-keyvault-service-version", SERVICE_VERSION)
        .with("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=203.0.113.7;act_addr_fam=InterNetwork;")
        .with("x-ms-request-id", super::random_uuid())
}

impl Call<'_> {
    fn answer(&self) -> Result<Answer, Box<Answer>> {
        self.check_api_version()?;
        let (endpoint, name, version) = match route(self.request) {
            Route::Secret(endpoint, name, version) => (endpoint, name, version),
            Route::Whole(endpoint) => (endpoint, String::new(), None),
            Route::Unknown => return Err(not_a_route()),
        };
        let right = match endpoint {
            Endpoint::Get => Right::Get,
            Endpoint::List | Endpoint::Versions | Endpoint::ListDeleted => Right::List,
            Endpoint::GetDeleted => Right::Get,
            Endpoint::Set | Endpoint::Update => Right::Set,
            Endpoint::Delete => Right::Delete,
            Endpoint::Recover => Right::Recover,
            Endpoint::Purge => Right::Purge,
            Endpoint::Token
            | Endpoint::Openid
            | Endpoint::Imds
            | Endpoint::Subscriptions
            | Endpoint::Vaults
            | Endpoint::Graph
            | Endpoint::Challenge
            | Endpoint::Health
            | Endpoint::Elsewhere => return Err(not_a_route()),
        };
        if endpoint == Endpoint::List || endpoint == Endpoint::ListDeleted {
            gate::permit(self, None, right)?;
            return if endpoint == Endpoint::List { list::secrets(self) } else { list::deleted(self) };
        }
        let name: SecretName = name.parse().map_err(|_| bad_parameter("secret-name"))?;
        let version: Option<Version> = match version {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| bad_parameter("secret-version"))?),
        };
        gate::permit(self, Some(&name), right)?;
        match right {
            Right::Get if endpoint == Endpoint::GetDeleted => deleted::get(self, &name),
            Right::Get => secrets::get(self, &name, version.as_ref()),
            Right::List => list::versions(self, &name),
            Right::Set if endpoint == Endpoint::Update => secrets::update(self, &name, version.as_ref()),
            Right::Set => secrets::set(self, &name),
            Right::Delete => secrets::delete(self, &name),
            Right::Recover => deleted::recover(self, &name),
            Right::Purge => deleted::purge(self, &name),
        }
    }

    fn check_api_version(&self) -> Result<(), Box<Answer>> {
        match self.request.query("api-version") {
            Some(version) if VERSIONS.contains(&version) || version.starts_with("2026-") => Ok(()),
            Some(_) => Err(Box::new(Answer::error(
                StatusCode::BAD_REQUEST,
                "BadParameter",
                "The specified version (api-version) is not recognized. Consider using the latest supported version.",
            ))),
            None => {
                Err(Box::new(Answer::error(StatusCode::BAD_REQUEST, "BadParameter", "api-version must be specified")))
            }
        }
    }
}

fn route(request: &Request) -> Route {
    let secret = |endpoint, name: &str| Route::Secret(endpoint, name.to_owned(), None);
    let version =
        |endpoint, name: &str, version: &str| Route::Secret(endpoint, name.to_owned(), Some(version.to_owned()));
    match (&request.method, &request.segments()[..]) {
        (&Method::GET, ["healthstatus"]) => Route::Whole(Endpoint::Health),
        (&Method::GET, ["secrets"]) => Route::Whole(Endpoint::List),
        (&Method::GET, ["secrets", name, "versions"]) => secret(Endpoint::Versions, name),
        (&Method::GET, ["secrets", name]) => secret(Endpoint::Get, name),
        (&Method::GET, ["secrets", name, id]) => version(Endpoint::Get, name, id),
        (&Method::PUT, ["secrets", name]) => secret(Endpoint::Set, name),
        (&Method::PATCH, ["secrets", name]) => secret(Endpoint::Update, name),
        (&Method::PATCH, ["secrets", name, id]) => version(Endpoint::Update, name, id),
        (&Method::DELETE, ["secrets", name]) => secret(Endpoint::Delete, name),
        (&Method::GET, ["deletedsecrets"]) => Route::Whole(Endpoint::ListDeleted),
        (&Method::GET, ["deletedsecrets", name]) => secret(Endpoint::GetDeleted, name),
        (&Method::POST, ["deletedsecrets", name, "recover"]) => secret(Endpoint::Recover, name),
        (&Method::DELETE, ["deletedsecrets", name]) => secret(Endpoint::Purge, name),
        _ => Route::Unknown,
    }
}

fn not_a_route() -> Box<Answer> {
    Box::new(Answer::error(StatusCode::NOT_FOUND, "NotFound", "The emulated vault has no such operation."))
}

fn bad_parameter(what: &str) -> Box<Answer> {
    Box::new(Answer::error(
        StatusCode::BAD_REQUEST,
        "BadParameter",
        format!("The request URI contains an invalid name: the {what} does not match its pattern."),
    ))
}

fn not_found(spelling: &str, version: Option<&Version>) -> Box<Answer> {
    let which = version.map_or_else(|| spelling.to_owned(), |version| format!("{spelling}/{version}"));
    Box::new(Answer::error(
        StatusCode::NOT_FOUND,
        "SecretNotFound",
        format!(
            "A secret with (name/id) {which} was not found in this key vault. If you recently deleted this secret you \
             may be able to recover it using the correct recovery command. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125182"
        ),
    ))
}
