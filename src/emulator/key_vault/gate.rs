//! Who gets through to a vault: the token, the budget, the firewall, the rights. In this order, so that a refusal by
//! the firewall can name the caller, as the real one does.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use hyper::header::AUTHORIZATION;

use super::Call;
use crate::emulator::answer::Answer;
use crate::emulator::estate::{App, Firewall, Right};
use crate::emulator::request::Request;
use crate::emulator::token::{Rejected, Token};
use crate::emulator::world::{LOCAL_DOMAIN, VaultState, World};
use crate::secret::SecretName;

/// How long a vault that is throttled for good says to wait, in seconds.
const THROTTLED_FOR: u64 = 10;
/// From the range for documentation (RFC 5737): what a refusal names as the caller's address.
const CALLER_ADDRESS: &str = "203.0.113.7";

/// The identity behind a call, if its token is good and the vault has time for it and lets its address in.
pub(super) fn enter<'w>(world: &'w World, vault: &VaultState, request: &Request) -> Result<&'w App, Box<Answer>> {
    let refused = |message: String| Err(Box::new(challenge(world, vault, request, message)));
    let Some(bearer) = request.bearer() else {
        return refused(match request.headers.contains_key(AUTHORIZATION) {
            true => "AKV10001: The Authorization header is not a Bearer or PoP token.".to_owned(),
            false => world.challenge.text.clone(),
        });
    };
    let token = match world.tokens.look_up(bearer) {
        Ok(token) => token,
        Err(Rejected::Expired) => return refused("[TokenExpired] Error validating token: 'IDX10223'.".to_owned()),
        Err(Rejected::Unknown | Rejected::Revoked) => {
            return refused("[BearerReadAccessTokenFailed] Error validating token: 'IDX10511'.".to_owned());
        }
    };
    let audience = audience(vault, request);
    if token.audience != audience {
        return refused(format!("AKV10022: Invalid audience. Expected {audience}, found: {}.", token.audience));
    }
    if token.tenant != vault.facts.tenant {
        return refused(format!(
            "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{}/, found https://sts.windows.net/{}/.",
            vault.facts.tenant, token.tenant
        ));
    }
    let Some(app) = world.app(&token.app) else {
        return refused("[BearerReadAccessTokenFailed] Error validating token: 'S2S12005'.".to_owned());
    };
    has_time(vault)?;
    lets_in(vault, app, &token)?;
    Ok(app)
}

/// Whether an identity may do that; `None` for the vault's lists.
pub(super) fn permit(call: &Call<'_>, secret: Option<&SecretName>, right: Right) -> Result<(), Box<Answer>> {
    let Call { world, vault, app, .. } = call;
    let facts = &vault.facts;
    if world.rights.allow(&app.name, &facts.name, secret.map(SecretName::as_str), right) {
        return Ok(());
    }
    let caller = caller(app, &app.tenant);
    let (message, inner) = if facts.rbac {
        let resource = secret.map_or_else(String::new, |name| format!("/secrets/{name}"));
        let message = format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
             definitions were changed recently, please observe propagation time.\r\nCaller: {caller}\r\nAction: \
             '{}'\r\nResource: '{}{resource}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: \
             null \r\nVault: {};location={}\r\n",
            right.data_action(),
            vault.resource_id().to_ascii_lowercase(),
            facts.name,
            facts.location,
        );
        (message, "ForbiddenByRbac")
    } else {
        let message = format!(
            "The user, group or application '{caller}' does not have secrets {} permission on key vault \
             '{};location={}'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
            right.word(),
            facts.name,
            facts.location,
        );
        (message, "AccessDenied")
    };
    Err(Box::new(Answer::inner_error(StatusCode::FORBIDDEN, "Forbidden", message, inner)))
}

fn challenge(world: &World, vault: &VaultState, request: &Request, message: String) -> Answer {
    let authority = match &world.challenge.authority_host {
        Some(host) => host.clone(),
        None if is_local(request) => format!("localhost:{}", request.port),
        None => vault.facts.cloud.authority().to_owned(),
    };
    let challenge = format!(
        "Bearer authorization=\"https://{authority}/{}\", resource=\"{}\"",
        vault.facts.tenant,
        audience(vault, request)
    );
    Answer::error(StatusCode::UNAUTHORIZED, "Unauthorized", message).with("www-authenticate", challenge)
}

/// The resource that a token must be for, without a slash at its end.
fn audience(vault: &VaultState, request: &Request) -> String {
    let domain = if is_local(request) { LOCAL_DOMAIN } else { vault.facts.cloud.vault_domain() };
    format!("https://{domain}")
}

fn is_local(request: &Request) -> bool {
    request.host.ends_with(LOCAL_DOMAIN)
}

fn has_time(vault: &VaultState) -> Result<(), Box<Answer>> {
    let wait = if vault.throttled.load(Ordering::Relaxed) {
        THROTTLED_FOR
    } else if let Err(wait) = vault.bucket.take() {
        wait.as_secs() + 1
    } else {
        return Ok(());
    };
    let message = "Request was not processed because too many requests were received. Reason: \
                   VaultRequestTypeLimitReached";
    let answer =
        Answer::inner_error(StatusCode::TOO_MANY_REQUESTS, "Throttled", message, "VaultRequestTypeLimitReached");
    Err(Box::new(answer.with("retry-after", wait.to_string())))
}

fn lets_in(vault: &VaultState, app: &App, token: &Token) -> Result<(), Box<Answer>> {
    let caller = caller(app, &token.tenant);
    let place = format!("Vault: {};location={}", vault.facts.name, vault.facts.location);
    let (message, inner) = match vault.firewall() {
        Firewall::Open => return Ok(()),
        Firewall::Closed => (
            format!(
                "Client address is not authorized and caller is not a trusted service.\r\nClient address: \
                 {CALLER_ADDRESS}\r\nCaller: {caller}\r\n{place}"
            ),
            "ForbiddenByFirewall",
        ),
        Firewall::Private => (
            format!(
                "Public network access is disabled and request is not from a trusted service nor via an approved \
                 private link.\r\nCaller: {caller}\r\n{place}"
            ),
            "ForbiddenByConnection",
        ),
    };
    Err(Box::new(Answer::inner_error(StatusCode::FORBIDDEN, "Forbidden", message, inner)))
}

fn caller(app: &App, tenant: &str) -> String {
    format!("appid={};oid={};iss=https://sts.windows.net/{tenant}/", app.id, app.object_id)
}
