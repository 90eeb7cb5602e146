//! `check`: every fault of the configuration, or what it comes to; with `--as`, what a client may do, and by which pattern.

use clap::Args;

use super::terminal::print;
use super::{Context, Exit, Failure};
use crate::access::audit::{AuditOptions, Place};
use crate::access::{Client, Verb};
use crate::api::AwsProfile;
use crate::config::Config;
use crate::credentials::Rule;
use crate::secret::Reference;
use crate::vaults::azure::{AzureSettings, ConfiguredVault, Credential, Identity};

/// Check the configuration: tell every fault with its place, or 'ok' and what the configuration comes to. With --as: what
/// that client may do with these secrets, and which pattern says so; from the configuration alone, whether or not they
/// exist. Ends with 77 if it may not read one of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey check --config sidekey.toml
  sidekey check --as orders secret://pay-prod/orders-db")]
pub struct Check {
    /// The name of a `[[client]]`; several, joined by '+', where the log shows them so
    #[arg(long = "as", value_name = "NAME")]
    client: Option<String>,
    /// Secrets: secret://VAULT/NAME, VAULT/NAME or NAME
    #[arg(value_name = "REFERENCE", requires = "client")]
    references: Vec<String>,
}

pub(super) fn run(args: &Check, context: &Context) -> Result<(), Failure> {
    let config = context.config(Vec::new())?;
    match &args.client {
        None => print(summary(&config).as_bytes()),
        Some(name) => explain(&config, name, &args.references),
    }
}

/// What a client may do, and by which pattern.
fn explain(config: &Config, name: &str, references: &[String]) -> Result<(), Failure> {
    let clients = named(&config.access.clients, name)?;
    let mut lines: Vec<_> = clients.iter().map(|client| told(client)).collect();
    let mut all = true;
    for text in references {
        let reference = Reference::parse_lenient(text);
        let reference = reference.map_err(|error| Failure::new(Exit::Usage, format!("a reference {error}")))?;
        lines.push(Reference { version: None, pointer: None, ..reference.clone() }.to_string());
        for verb in Verb::ALL {
            let granted = clients.iter().find_map(|client| {
                let pattern = client.granted_by(verb, reference.vault.as_ref(), &reference.name)?;
                Some(format!("granted to {} by {pattern}", client.name))
            });
            all &= verb != Verb::Read || granted.is_some();
            lines.push(format!("  {verb}  {}", granted.as_deref().unwrap_or("no: no pattern covers it")));
        }
    }
    print((lines.join("\n") + "\n").as_bytes())?;
    if all { Ok(()) } else { Err(Failure::new(Exit::Denied, "not all of it may be read")) }
}

fn named<'c>(clients: &'c [Client], names: &str) -> Result<Vec<&'c Client>, Failure> {
    let known = || match clients {
        [] => "no [[client]] is configured: whoever may connect may do everything".to_owned(),
        clients => format!("known are {}", clients.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    let unknown = |name: &str| Failure::new(Exit::Usage, format!("--as: no client {:?}; {}", name, known()));
    names
        .split('+')
        .map(|name| clients.iter().find(|client| client.name == name).ok_or_else(|| unknown(name)))
        .collect()
}

/// How a client is known, and what it is granted.
fn told(client: &Client) -> String {
    let Client { name, uid, gid, token_file, certificate, read, list } = client;
    let ways = [
        uid.map(|uid| format!("uid {uid}")),
        gid.map(|gid| format!("gid {gid}")),
        certificate.as_ref().map(|name| format!("certificate {name}")),
        token_file.as_ref().map(|file| format!("token in {}", file.display())),
    ];
    let ways: Vec<_> = ways.into_iter().flatten().collect();
    let patterns = |patterns: &[crate::rights::Pattern]| match patterns {
        [] => "nothing".to_owned(),
        patterns => patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    format!("client    {name}: {}; reads {}; lists {}", ways.join(" and "), patterns(read), patterns(list))
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
    let token = match &config.access.token_file {
        Some(file) => format!("token in {}", file.display()),
        None if listen.takes_token() => "for clients with a token_file".to_owned(),
        None => "for who has a client certificate".to_owned(),
    };
    lines.push(match (listen.tcp, &listen.tls) {
        (None, _) => "tcp       off".to_owned(),
        (Some(tcp), None) => format!("tcp       {tcp}, {token}"),
        (Some(tcp), Some(tls)) if tls.client_ca.is_some() && !tls.certificate_required => {
            format!("tcp       {tcp} with TLS, {token}; or a client certificate")
        }
        (Some(tcp), Some(_)) => format!("tcp       {tcp} with TLS, {token}"),
    });
    lines.push(match listen.metrics {
        Some(metrics) => format!("metrics   {metrics}"),
        None => "metrics   where the API is".to_owned(),
    });
    lines.extend(config.access.clients.iter().map(told));
    if let Some(socket) = &config.listen.credentials {
        lines.push(format!("systemd   {} (mode {:04o})", socket.path.display(), socket.mode));
    }
    lines.extend(config.credentials.iter().map(credential));
    lines.extend(config.aws.iter().map(aws));
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
    lines.push(format!("audit     {}", audit(config.audit.as_ref())));
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

/// Whether reads are recorded, where, and whether they must be.
pub(super) fn audit(options: Option<&AuditOptions>) -> String {
    let Some(AuditOptions { place, required, hash_names }) = options else { return "off".to_owned() };
    let mut text = match place {
        Place::Stderr => "on stderr".to_owned(),
        Place::File { path, max_size: 0, .. } => format!("in {}, not rotated", path.display()),
        Place::File { path, max_size, keep } => {
            let size = bytesize::ByteSize(*max_size).display().iec();
            format!("in {}, rotated at {size}, {keep} kept", path.display())
        }
    };
    text.push_str(if *required { "; a read that cannot be recorded is refused" } else { "; reads go on without it" });
    if let Some(key_file) = hash_names {
        text.push_str(&format!("; names hashed with the key in {}", key_file.display()));
    }
    text
}

fn credential(rule: &Rule) -> String {
    let Rule { unit, id, reference, required } = rule;
    let otherwise = if *required { "" } else { ", or an empty one" };
    format!("unit      {}: {id} from {reference}{otherwise}", unit.glob())
}

fn aws(profile: &AwsProfile) -> String {
    let AwsProfile { name, access_key_id, secret_access_key, session_token, lifetime } = profile;
    let token = session_token.as_ref().map_or_else(String::new, |token| format!(" and {token}"));
    let lifetime = humantime::format_duration(*lifetime);
    format!("aws       {name}: {access_key_id} with {secret_access_key}{token}, for {lifetime}")
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
