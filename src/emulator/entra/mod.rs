//! Microsoft Entra: discovery documents and the token endpoint, with its errors as they are on the wire.

mod assertion;
mod discovery;
mod error;
mod imds;

use std::collections::HashMap;

use hyper::Method;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

pub(super) use imds::answer as imds;

use super::answer::Answer;
use super::calls::Endpoint;
use super::estate::{App, Cloud, Tenant};
use super::request::Request;
use super::world::{LOCAL_DOMAIN, World};
use error::Refusal;

/// The hosts that Entra answers on, over all clouds.
pub(super) const HOSTS: [&str; 7] = [
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "sts.windows.net",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
];

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// From this lifetime on, Entra tells when to renew.
const LONG_LIVED: u64 = 7200;

pub(super) fn endpoint(request: &Request) -> Endpoint {
    match request.segments()[..] {
        [_, "oauth2", "v2.0", "token"] | [_, "oauth2", "token"] => Endpoint::Token,
        [_, "v2.0", ".well-known", "openid-configuration"]
        | [_, ".well-known", "openid-configuration"]
        | [_, "discovery", ..] => Endpoint::Openid,
        _ => Endpoint::Elsewhere,
    }
}

pub(super) fn answer(world: &World, request: &Request) -> Answer {
    match (request.method.clone(), &request.segments()[..]) {
        (Method::POST, [tenant, "oauth2", "v2.0", "token"] | [tenant, "oauth2", "token"]) => {
            token(world, request, tenant).unwrap_or_else(|refusal| refusal.answer(request))
        }
        (Method::GET, [_, "discovery", "instance"]) => discovery::instances(request),
        (Method::GET, [_, "discovery", "v2.0", "keys"]) => Answer::ok(json!({"keys": []})),
        (
            Method::GET,
            [tenant, "v2.0", ".well-known", "openid-configuration"] | [tenant, ".well-known", "openid-configuration"],
        ) => match tenant_of(world, request, tenant) {
            Ok(tenant) => discovery::openid(request, tenant),
            Err(refusal) => refusal.answer(request),
        },
        _ => Answer::error(hyper::StatusCode::NOT_FOUND, "NotFound", "Entra has no such path here."),
    }
}

fn token(world: &World, request: &Request, tenant: &str) -> Result<Answer, Refusal> {
    let form = request.form();
    let field = |name: &'static str| form.get(name).map(String::as_str);
    match field("grant_type") {
        Some("client_credentials") => {}
        Some(other) => return Err(Refusal::grant_type(other)),
        None => return Err(Refusal::missing("grant_type")),
    }
    let tenant = tenant_of(world, request, tenant)?;
    let client = field("client_id").ok_or_else(|| Refusal::missing("client_id"))?;
    let app = world
        .apps
        .iter()
        .find(|app| app.id.eq_ignore_ascii_case(client) && app.tenant == tenant.id)
        .ok_or_else(|| Refusal::unknown_app(client, tenant))?;
    prove(app, tenant, &form)?;
    let audience = audience(tenant, &form)?;
    let lifetime = world.token_lifetime.as_secs();
    let mut body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": world.tokens.issue(&app.name, &tenant.id, &audience, world.token_lifetime),
    });
    if lifetime >= LONG_LIVED {
        body["refresh_in"] = json!(lifetime / 2);
    }
    Ok(Answer::ok(body).with("cache-control", "no-store, no-cache").with("pragma", "no-cache"))
}

/// The tenant by id or domain; it must live in the cloud of the host that was asked.
fn tenant_of<'w>(world: &'w World, request: &Request, name: &str) -> Result<&'w Tenant, Refusal> {
    let cloud = match request.host.as_str() {
        "login.microsoftonline.us" => Some(Cloud::UsGovernment),
        "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => Some(Cloud::China),
        host if HOSTS.contains(&host) => Some(Cloud::Public),
        _ => None,
    };
    let found = world.tenant(name).filter(|tenant| cloud.is_none_or(|cloud| tenant.cloud == cloud));
    found.ok_or_else(|| Refusal::unknown_tenant(name))
}

/// Whether the caller is the app: by client secret or assertion.
fn prove(app: &App, tenant: &Tenant, form: &HashMap<String, String>) -> Result<(), Refusal> {
    if let Some(given) = form.get("client_secret") {
        let known = app.secrets.iter().find(|(secret, _)| bool::from(secret.as_bytes().ct_eq(given.as_bytes())));
        return match known {
            None => Err(Refusal::wrong_secret(app)),
            Some((_, Some(expires))) if *expires <= OffsetDateTime::now_utc() => Err(Refusal::expired_secret(app)),
            Some(_) => Ok(()),
        };
    }
    match (form.get("client_assertion_type").map(String::as_str), form.get("client_assertion")) {
        (Some(JWT_BEARER), Some(assertion)) => assertion::check(app, tenant, assertion),
        _ => Err(Refusal::no_credential()),
    }
}

/// The resource that a token is asked for: `scope=RESOURCE/.default`, or `resource=` on the older endpoint.
fn audience(tenant: &Tenant, form: &HashMap<String, String>) -> Result<String, Refusal> {
    let resource = match (form.get("scope"), form.get("resource")) {
        (Some(scope), _) => {
            let mut resources = scope.split(' ').filter_map(|scope| scope.strip_suffix("/.default"));
            resources.next().ok_or_else(|| Refusal::bad_scope(scope))?
        }
        (None, Some(resource)) => resource,
        (None, None) => return Err(Refusal::missing("scope")),
    };
    known_resource(resource).ok_or_else(|| Refusal::unknown_resource(resource, tenant))
}

/// A resource that a service of the emulator stands for. As in Entra, what was asked for is the audience as it stands,
/// a slash at its end included.
fn known_resource(resource: &str) -> Option<String> {
    let url = url::Url::parse(resource).ok().filter(|url| url.scheme() == "https")?;
    let host = url.host_str()?;
    let of_cloud = |cloud: Cloud| host == cloud.vault_domain() || host == cloud.resource_manager();
    let local = host == LOCAL_DOMAIN || host == "localhost" || host == "127.0.0.1";
    let older = host == "management.core.windows.net";
    (Cloud::ALL.into_iter().any(of_cloud) || local || older).then(|| resource.to_owned())
}
