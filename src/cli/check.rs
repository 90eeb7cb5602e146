//! `check`: every fault of the configuration, or what it comes to.

use clap::Args;

use super::terminal::print;
use super::{Context, Failure};
use crate::config::Config;
use crate::vaults::azure::{AzureSettings, ConfiguredVault, Credential, Identity};

/// Check the configuration: tell every fault with its place, or 'ok' and what the configuration comes to.
#[derive(Debug, Args)]
pub struct Check {}

pub(super) fn run(_: &Check, context: &Context) -> Result<(), Failure> {
    let config = context.config(Vec::new())?;
    print(summary(&config).as_bytes())
}

/// What holds, without anything that is secret.
fn summary(config: &Config) -> String {
    let mut lines = vec!["ok".to_owned()];
    lines.push(match &config.file {
        Some(file) => format!("file      {}", file.display()),
        None => "file      none; variables and defaults".to_owned(),
    });
    match &config.listen.socket {
        Some(socket) => lines.push(format!("socket    {} (mode {:04o})", socket.path.display(), socket.mode)),
        None => lines.push("socket    off".to_owned()),
    }
    let listen = &config.listen;
    lines.push(match (listen.tcp, &listen.tls) {
        (None, _) => "tcp       off".to_owned(),
        (Some(tcp), None) => format!("tcp       {tcp}, token in {}", listen.token_file.display()),
        (Some(tcp), Some(tls)) => {
            let known_by = match (&tls.client_ca, listen.takes_token()) {
                (Some(_), false) => "a client certificate".to_owned(),
                (Some(_), true) => format!("a client certificate or the token in {}", listen.token_file.display()),
                (None, _) => format!("the token in {}", listen.token_file.display()),
            };
            format!("tcp       {tcp} with TLS, for who brings {known_by}")
        }
    });
    lines.push(match listen.metrics {
        Some(metrics) => format!("metrics   {metrics}"),
        None => "metrics   where the API is".to_owned(),
    });
    lines.extend(config.sources.iter().map(source));
    let cache = &config.broker.cache;
    lines.push(format!(
        "cache     ttl {}, stale up to {}, {} entries, {}; vaults listed every {}, looked for every {}",
        humantime::format_duration(cache.ttl),
        humantime::format_duration(cache.max_stale),
        cache.max_entries,
        bytesize::ByteSize(cache.max_bytes).display().iec(),
        humantime::format_duration(config.catalog.listing_interval),
        humantime::format_duration(config.catalog.discovery_interval),
    ));
    if !config.broker.prefetch.is_empty() {
        let declared: Vec<_> = config.broker.prefetch.iter().map(ToString::to_string).collect();
        lines.push(format!("prefetch  {}", declared.join(", ")));
    }
    if let Some(files) = &config.snapshot {
        lines.push(format!("snapshot  {}, sealed with the key in {}", files.file.display(), files.key_file.display()));
    }
    let budget = &config.budget;
    lines.push(format!(
        "limits    per vault {} calls a second, {} at once after a quiet time, {} under way",
        budget.reads_per_second, budget.burst, budget.calls_at_once
    ));
    if !config.broker.order.is_empty() {
        let order: Vec<_> = config.broker.order.iter().map(ToString::to_string).collect();
        lines.push(format!("order     {}", order.join(", ")));
    }
    lines.push(format!("log       {}{}", config.log.level, if config.log.json { ", as JSON" } else { "" }));
    lines.join("\n") + "\n"
}

fn source(settings: &AzureSettings) -> String {
    let mut text = format!("source    {}: {}", settings.name, identity(&settings.identity));
    text.push_str(&format!(", {}", settings.cloud.authority_host.host_str().unwrap_or_default()));
    if !settings.subscriptions.is_empty() {
        text.push_str(&format!(", {} subscriptions", settings.subscriptions.len()));
    }
    if !settings.vaults.is_empty() {
        let named: Vec<_> = settings
            .vaults
            .iter()
            .map(|vault| match vault {
                ConfiguredVault::Name(name) => name.to_string(),
                ConfiguredVault::Uri(uri) => uri.to_string(),
            })
            .collect();
        text.push_str(&format!(", vaults {}", named.join(" ")));
    }
    text
}

/// Who signs in, and by what means.
pub(super) fn identity(identity: &Identity) -> String {
    match identity {
        Identity::ClientSecret { tenant, client, secret } => {
            let from = match secret {
                Credential::Inline(_) => "a client secret".to_owned(),
                Credential::File(file) => format!("the client secret in {}", file.display()),
            };
            format!("application {client} of tenant {tenant}, by {from}")
        }
        Identity::Certificate { tenant, client, file, .. } => {
            format!("application {client} of tenant {tenant}, by the certificate in {}", file.display())
        }
        Identity::FederatedToken { tenant, client, file } => {
            format!("application {client} of tenant {tenant}, by the token in {}", file.display())
        }
        Identity::ManagedIdentity { client: Some(client), .. } => format!("managed identity {client}"),
        Identity::ManagedIdentity { client: None, .. } => "this machine's managed identity".to_owned(),
        Identity::AzureCli { .. } => "whoever is signed in to the Azure CLI".to_owned(),
    }
}
