//! Host and path to service, and what is done to every request: counting, delay, faults.

use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Response, StatusCode};

use super::answer::{Answer, Body};
use super::calls::{Endpoint, Target};
use super::estate::Cloud;
use super::request::Request;
use super::server::Cut;
use super::world::{VaultHost, World};
use super::{arm, control, entra, inject, key_vault};

const PLAIN_HELP: &str = "This is the sidekey emulator of Azure. Over plain HTTP it serves the machine's identity only \
(GET /metadata/identity/oauth2/token); Entra, Resource Manager and the vaults are on this port over HTTPS, by host \
name.\n";
const HOST_HELP: &str = "The sidekey emulator of Azure has no such host. It serves login.microsoftonline.com, \
management.azure.com, NAME.vault.azure.net and their like of the other clouds, NAME.vault.localhost, and localhost for \
Entra and Resource Manager.\n";

/// Answers one request; an error cuts the connection.
pub(super) async fn answer(
    world: Arc<World>,
    request: hyper::Request<Incoming>,
    tls: bool,
    cut: Cut,
) -> io::Result<Response<Body>> {
    let request = match Request::read(request).await {
        Ok(request) => request,
        Err(reason) => return Ok(Answer::text(StatusCode::BAD_REQUEST, reason).into_response()),
    };
    if request.path.first().is_some_and(|first| first == "_emulator") {
        return Ok(control::answer(&world, &request).into_response());
    }
    let service = Service::of(&world, &request, tls);
    let target = service.target(&request);
    let answering = world.calls.begin(&target);
    if target.endpoint == Endpoint::Elsewhere && matches!(service, Service::NoHost) && request.bearer().is_some() {
        world.calls.leaked_token();
    }
    let latency = world.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let effect = world.faults.strike(&target);
    let answer = || service.answer(&world, &request);
    let response = inject::apply(effect, answer, &request, &cut).await;
    if let Ok(response) = &response {
        world.calls.status(response.status().as_u16());
    }
    drop(answering);
    response
}

/// The service that a request is for.
enum Service<'w> {
    Imds,
    Entra,
    Arm(Option<Cloud>),
    Vault(&'w super::world::VaultState),
    /// No vault of that name.
    NoVault,
    NoHost,
    Plain,
}

impl<'w> Service<'w> {
    fn of(world: &'w World, request: &Request, tls: bool) -> Self {
        let first = request.path.first().map(String::as_str).unwrap_or_default();
        if first == "metadata" {
            return Self::Imds;
        }
        if !tls {
            return Self::Plain;
        }
        match world.vault_of_host(&request.host) {
            VaultHost::Vault(vault) => return Self::Vault(vault),
            VaultHost::Unknown => return Self::NoVault,
            VaultHost::NoVault => {}
        }
        let host = request.host.as_str();
        if entra::HOSTS.contains(&host) {
            return Self::Entra;
        }
        if let Some(cloud) = Cloud::ALL.into_iter().find(|cloud| cloud.resource_manager() == host) {
            return Self::Arm(Some(cloud));
        }
        match host {
            "localhost" | "127.0.0.1" | "[::1]" => match first {
                "subscriptions" | "providers" => Self::Arm(None),
                _ => Self::Entra,
            },
            _ => Self::NoHost,
        }
    }

    fn target(&self, request: &Request) -> Target {
        match self {
            Self::Imds => Target::of(Endpoint::Imds),
            Self::Entra => Target::of(entra::endpoint(request)),
            Self::Arm(_) => Target::of(arm::endpoint(request)),
            Self::Vault(vault) => key_vault::target(vault, request),
            Self::NoVault | Self::NoHost | Self::Plain => Target::of(Endpoint::Elsewhere),
        }
    }

    fn answer(&self, world: &World, request: &Request) -> Answer {
        match self {
            Self::Imds => entra::imds(world, request),
            Self::Entra => entra::answer(world, request),
            Self::Arm(cloud) => arm::answer(world, *cloud, request),
            Self::Vault(vault) => key_vault::answer(world, vault, request),
            Self::NoVault => {
                Answer::text(StatusCode::MISDIRECTED_REQUEST, "The estate has no vault of that name in this cloud.\n")
            }
            Self::NoHost => Answer::text(StatusCode::MISDIRECTED_REQUEST, HOST_HELP),
            Self::Plain => Answer::text(StatusCode::NOT_FOUND, PLAIN_HELP),
        }
    }
}
