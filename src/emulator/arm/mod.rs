//! Azure Resource Manager: the subscriptions and vaults that an identity sees, in pages, and Resource Graph.

mod body;
mod graph;
mod query;

use std::sync::atomic::Ordering;

use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::calls::Endpoint;
use super::estate::{App, Cloud, PageEnd, Paging, Subscription};
use super::paging::{self, Mark};
use super::request::Request;
use super::token::{Rejected, Token};
use super::world::{VaultState, World};
use body::{subscription_body, vault_body};

/// What Resource Manager leaves as it is in a link's query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const MARK_START: &str = "ServiceBased,+";
const MARK_END: &str = "==";
/// Real ones take every published version; the emulator takes what looks like one.
const OLDEST_API: &str = "2014-01-01";

pub(super) fn endpoint(request: &Request) -> Endpoint {
    let lower: Vec<_> = request.path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<_> = lower.iter().map(String::as_str).collect();
    match lower[..] {
        ["subscriptions"] | ["subscriptions", _] => Endpoint::Subscriptions,
        ["subscriptions", _, "providers", "microsoft.keyvault", "vaults"]
        | ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.keyvault", "vaults"]
        | ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.keyvault", "vaults", _] => Endpoint::Vaults,
        ["providers", "microsoft.resourcegraph", "resources"] => Endpoint::Graph,
        _ => Endpoint::Elsewhere,
    }
}

pub(super) fn answer(world: &World, cloud: Option<Cloud>, request: &Request) -> Answer {
    let caller = match Caller::of(world, cloud, request) {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    if let Some(refused) = bad_api_version(request) {
        return refused;
    }
    let path: Vec<_> = request.path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match (request.method.clone(), &path[..]) {
        (Method::POST, ["providers", "microsoft.resourcegraph", "resources"]) => graph::answer(&caller, request),
        (Method::GET, ["subscriptions"]) => caller.subscriptions(),
        (Method::GET, ["subscriptions", id]) => match caller.subscription(id) {
            Ok(subscription) => Answer::ok(subscription_body(subscription)),
            Err(refused) => *refused,
        },
        (Method::GET, ["subscriptions", id, "providers", "microsoft.keyvault", "vaults"]) => {
            caller.vault_page(request, id, None)
        }
        (Method::GET, ["subscriptions", id, "resourcegroups", group, "providers", "microsoft.keyvault", "vaults"]) => {
            caller.vault_page(request, id, Some(group))
        }
        (
            Method::GET,
            ["subscriptions", id, "resourcegroups", group, "providers", "microsoft.keyvault", "vaults", name],
        ) => caller.vault(id, group, name),
        _ => Answer::error(
            StatusCode::NOT_FOUND,
            "InvalidResourceType",
            "The resource type could not be found in the namespace.",
        ),
    }
}

/// An identity whose token Resource Manager took.
pub(super) struct Caller<'w> {
    world: &'w World,
    cloud: Option<Cloud>,
    app: &'w App,
    token: Token,
}

impl<'w> Caller<'w> {
    fn of(world: &'w World, cloud: Option<Cloud>, request: &Request) -> Result<Self, Box<Answer>> {
        let Some(bearer) = request.bearer() else {
            let message = "Authentication failed. The 'Authorization' header is missing.";
            return Err(unauthorized("AuthenticationFailed", message, "missing 'Authorization' header."));
        };
        let token = world.tokens.look_up(bearer).map_err(|rejected| match rejected {
            Rejected::Expired => unauthorized(
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
                "the access token expired.",
            ),
            Rejected::Unknown | Rejected::Revoked => {
                unauthorized("InvalidAuthenticationToken", "The access token is invalid.", "invalid access token.")
            }
        })?;
        if !is_own_audience(cloud, request, &token.audience) {
            return Err(unauthorized(
                "InvalidAuthenticationTokenAudience",
                &format!(
                    "The access token has been obtained for wrong audience or resource '{}'. It should exactly match \
                     with one of the allowed audiences 'https://management.core.windows.net/', \
                     'https://management.azure.com/'.",
                    token.audience
                ),
                "invalid audience.",
            ));
        }
        let app = world.app(&token.app);
        let app =
            app.ok_or_else(|| unauthorized("InvalidAuthenticationToken", "The principal is gone.", "invalid."))?;
        Ok(Self { world, cloud, app, token })
    }

    /// The subscriptions it sees, in this cloud and of its tenant.
    fn seen(&self) -> Vec<&'w Subscription> {
        let in_cloud = |subscription: &Subscription| match (self.cloud, self.world.tenant(&subscription.tenant)) {
            (Some(cloud), Some(tenant)) => tenant.cloud == cloud,
            (None, _) | (Some(_), None) => true,
        };
        let all = self.world.subscriptions.iter();
        all.filter(|one| one.tenant == self.token.tenant && in_cloud(one))
            .filter(|one| self.world.rights.sees(&self.app.name, one))
            .collect()
    }

    fn subscriptions(&self) -> Answer {
        let seen = self.seen();
        let value: Vec<_> = seen.iter().map(|subscription| subscription_body(subscription)).collect();
        let count = json!({"type": "Total", "value": value.len()});
        Answer::ok(json!({"value": value, "count": count})).with("x-ms-ratelimit-remaining-tenant-reads", "11999")
    }

    fn subscription(&self, id: &str) -> Result<&'w Subscription, Box<Answer>> {
        let exists = self.world.subscriptions.iter().any(|one| one.id.eq_ignore_ascii_case(id));
        let seen = self.seen().into_iter().find(|one| one.id.eq_ignore_ascii_case(id));
        seen.ok_or_else(|| {
            Box::new(if exists {
                Answer::error(
                    StatusCode::FORBIDDEN,
                    "AuthorizationFailed",
                    format!(
                        "The client '{}' with object id '{}' does not have authorization to perform action \
                         'Microsoft.KeyVault/vaults/read' over scope '/subscriptions/{id}' or the scope is invalid. If \
                         access was recently granted, please refresh your credentials.",
                        self.app.id, self.app.object_id
                    ),
                )
            } else {
                Answer::error(
                    StatusCode::NOT_FOUND,
                    "SubscriptionNotFound",
                    format!("The subscription '{id}' could not be found."),
                )
            })
        })
    }

    /// The vaults it sees: those of its subscriptions that are not hidden. By name.
    fn vaults(&self) -> impl Iterator<Item = &'w VaultState> {
        let seen: Vec<_> = self.seen().into_iter().map(|subscription| subscription.id.clone()).collect();
        let all = self.world.vaults.values();
        all.filter(move |vault| !vault.hidden.load(Ordering::Relaxed) && seen.contains(&vault.facts.subscription))
    }

    fn vault(&self, subscription: &str, group: &str, name: &str) -> Answer {
        if let Err(refused) = self.subscription(subscription) {
            return *refused;
        }
        let found = self.vaults().find(|vault| {
            vault.facts.subscription.eq_ignore_ascii_case(subscription)
                && vault.facts.resource_group.eq_ignore_ascii_case(group)
                && vault.facts.name == name
        });
        match found {
            Some(vault) => Answer::ok(vault_body(vault)).with("x-ms-keyvault-service-version", "1.5.692.0"),
            None => Answer::error(
                StatusCode::NOT_FOUND,
                "ResourceNotFound",
                format!(
                    "The Resource 'Microsoft.KeyVault/vaults/{name}' under resource group '{group}' was not found. For \
                     more details please go to https://aka.ms/ARMResourceNotFoundFix"
                ),
            ),
        }
    }

    fn vault_page(&self, request: &Request, subscription: &str, group: Option<&str>) -> Answer {
        if let Err(refused) = self.subscription(subscription) {
            return *refused;
        }
        let mark = match request.query("$skiptoken").map(read_mark) {
            None => Mark::START,
            Some(Some(mark)) => mark,
            Some(None) => {
                return Answer::error(StatusCode::BAD_REQUEST, "InvalidSkipToken", "The skip token is not valid.");
            }
        };
        let asked = match request.query("$top").map(str::parse) {
            None => usize::MAX,
            Some(Ok(top)) if top > 0 => top,
            Some(_) => return Answer::error(StatusCode::BAD_REQUEST, "InvalidTop", "The value of $top is not valid."),
        };
        let paging: &Paging = &self.world.arm;
        let mut rest = self
            .vaults()
            .filter(|vault| vault.facts.subscription.eq_ignore_ascii_case(subscription))
            .filter(|vault| group.is_none_or(|group| vault.facts.resource_group.eq_ignore_ascii_case(group)))
            .filter(|vault| mark.after.as_ref().is_none_or(|after| vault.facts.name > *after))
            .peekable();
        let size = paging::size(paging, mark.page, asked);
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let goes_on = paging::goes_on(paging, mark.page, rest.peek().is_some());
        let after = page.last().map(|vault| vault.facts.name.clone()).or_else(|| mark.after.clone());
        let mut body = Map::new();
        body.insert("value".to_owned(), page.into_iter().map(vault_body).collect());
        if goes_on {
            let next = Mark { page: mark.page + 1, after };
            body.insert("nextLink".to_owned(), next_link(request, &next).into());
        } else if paging.end == PageEnd::Null {
            body.insert("nextLink".to_owned(), Value::Null);
        }
        Answer::ok(Value::Object(body)).with("x-ms-original-request-ids", super::random_uuid())
    }
}

/// As Resource Manager writes it: `$` and the mark percent-encoded, so that a client which decodes it first is lost.
fn next_link(request: &Request, mark: &Mark) -> String {
    let path = format!("/{}", request.path.join("/"));
    let mut query = String::new();
    if let Some(top) = request.query("$top") {
        query = format!("%24top={top}&");
    }
    let version = request.query("api-version").unwrap_or_default();
    // As the real ones, the mark has characters that mean something else where they are not encoded.
    let mark = format!("{MARK_START}{}{MARK_END}", mark.to_text());
    let mark = utf8_percent_encode(&mark, IN_QUERY);
    format!("{}{path}?{query}api-version={version}&%24skiptoken={mark}", request.origin())
}

fn read_mark(text: &str) -> Option<Mark> {
    Mark::from_text(text.strip_prefix(MARK_START)?.strip_suffix(MARK_END)?)
}

/// Resource Manager takes its audience with and without a slash, and the older one of the public cloud.
fn is_own_audience(cloud: Option<Cloud>, request: &Request, audience: &str) -> bool {
    let audience = audience.trim_end_matches('/');
    let of_cloud = |cloud: Cloud| audience == format!("https://{}", cloud.resource_manager());
    match cloud {
        Some(Cloud::Public) => of_cloud(Cloud::Public) || audience == "https://management.core.windows.net",
        Some(cloud) => of_cloud(cloud),
        None => audience == request.origin() || Cloud::ALL.into_iter().any(of_cloud),
    }
}

fn bad_api_version(request: &Request) -> Option<Answer> {
    match request.query("api-version") {
        None | Some("") => Some(Answer::error(
            StatusCode::BAD_REQUEST,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )),
        Some(version) => {
            let date = version.get(..10).unwrap_or_default();
            let plausible = date.len() == 10
                && date
                    .bytes()
                    .enumerate()
                    .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
                && date >= OLDEST_API;
            (!plausible).then(|| {
                Answer::error(
                    StatusCode::BAD_REQUEST,
                    "InvalidApiVersionParameter",
                    format!("The api-version '{version}' is invalid."),
                )
            })
        }
    }
}

fn unauthorized(code: &str, message: &str, because: &str) -> Box<Answer> {
    let challenge = format!(
        "Bearer authorization_uri=\"https://login.microsoftonline.com/\", error=\"invalid_token\", \
         error_description=\"The authentication failed because of {because}\""
    );
    Box::new(Answer::error(StatusCode::UNAUTHORIZED, code, message).with("www-authenticate", challenge))
}
