//! `[[source]]`: one identity in one cloud. Without any, one Azure source from the `AZURE_…` variables that Microsoft's
//! own SDKs read.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

use super::fault::Place;
use super::identity::identity;
use super::kinds::{https, https_only, interval, pairs, text, texts};
use super::reader::{At, Reader, Section};
use crate::secret::{SourceName, VaultName};
use crate::vaults::azure::{AzureSettings, Cloud, ConfiguredVault, WireLimits};

/// Keys that are no settings, with what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "client_secret",
        "a client secret does not belong here: name a file that holds it in client_secret_file, or set AZURE_CLIENT_SECRET",
    ),
    (
        "client_certificate_password",
        "a password does not belong here: name a file that holds it in client_certificate_password_file, or set AZURE_CLIENT_CERTIFICATE_PASSWORD",
    ),
];

/// All sources of the file, or the one of the environment; and how often they are to look for new vaults, if told.
pub(super) fn sources<'r>(
    reader: &'r Reader<'r>,
    tables: &[(&'r DeTable<'r>, Range<usize>)],
    wire: &WireLimits,
) -> (Vec<AzureSettings>, Option<Duration>) {
    const VARIABLES: &str = "SIDEKEY_SOURCE_";
    let sources: Vec<_> = match tables {
        [] => vec![source(reader, Section::new(reader, "source", Some(VARIABLES), None), true, wire)],
        [only] => vec![source(reader, Section::new(reader, "source", Some(VARIABLES), Some(only.clone())), true, wire)],
        several => {
            for name in reader.vars.names().filter(|name| name.starts_with(VARIABLES)) {
                reader.know_variable(name);
                let what = "no such setting where there are several sources: set it in the file";
                reader.fault(Place::Variable(name.to_owned()), "", what);
            }
            let section = |at, table| Section::new(reader, format!("source[{}]", at + 1), None, Some(table));
            several
                .iter()
                .enumerate()
                .map(|(at, table)| source(reader, section(at, table.clone()), false, wire))
                .collect()
        }
    };
    let mut seen = Vec::<&SourceName>::new();
    for ((source, _), (at, (_, span))) in sources.iter().zip(tables.iter().enumerate()) {
        let Some(source) = source else { continue };
        if seen.contains(&&source.name) {
            let key = format!("source[{}].name", at + 1);
            reader.fault(reader.place(span.start), key, "another source has that name already");
        }
        seen.push(&source.name);
    }
    let often = sources.iter().filter_map(|(_, interval)| *interval).min();
    (sources.into_iter().filter_map(|(source, _)| source).collect(), often)
}

fn source<'r>(
    reader: &'r Reader<'r>,
    section: Section<'r>,
    alone: bool,
    wire: &WireLimits,
) -> (Option<AzureSettings>, Option<Duration>) {
    if let Some(kind) = section.read("kind", text).filter(|kind| kind.value != "azure") {
        section.fault_at(kind.place, "kind", "this version knows \"azure\" only");
    }
    let name: Option<SourceName> = match section.read("name", text) {
        Some(name) => match name.value.parse() {
            Ok(parsed) => Some(parsed),
            Err(_) => {
                section.fault_at(name.place, "name", "expected 1 to 63 letters, digits, '-' or '_'");
                None
            }
        },
        None if alone => Some("azure".parse().expect("a source name")),
        None => {
            section.fault_of_absent("name", "must be set where there are several sources");
            None
        }
    };
    let cloud = cloud(reader, &section, alone);
    let identity = identity(reader, &section, alone);
    let known_cloud = cloud.clone().unwrap_or_else(Cloud::public);
    // Every key is read, whatever is wrong with others, so that one fault hides no other.
    let subscriptions = subscriptions(&section);
    let vaults = vaults(&section, &known_cloud);
    let (include, exclude) = (globs(&section, "include"), globs(&section, "exclude"));
    let extra_ca = section.readable_file("ca_file").map(|at| at.value);
    let resolve = resolve(&section);
    let interval = section.read("discovery_interval", interval).map(|at| at.value);
    section.finish(ELSEWHERE);
    let settings = || {
        Some(AzureSettings {
            name: name?,
            identity: identity?,
            cloud: cloud?,
            subscriptions,
            vaults,
            include,
            exclude,
            extra_ca,
            resolve,
            wire: wire.clone(),
        })
    };
    (settings(), interval)
}

fn cloud<'r>(reader: &'r Reader<'r>, section: &Section<'r>, alone: bool) -> Option<Cloud> {
    let name = section.read("cloud", text);
    let authority = section.read("authority_host", https);
    let manager = section.read("resource_manager", https);
    let suffixes = section.read("vault_suffixes", suffixes);
    let custom = name.as_ref().is_some_and(|name| name.value == "custom");
    if custom {
        for key in ["authority_host", "resource_manager", "vault_suffixes"] {
            if !section.is_set(key) {
                section.fault_of_absent(key, "must be set where cloud is \"custom\"");
            }
        }
        return Some(Cloud {
            authority_host: authority?.value,
            resource_manager: manager?.value,
            vault_suffixes: suffixes?.value,
        });
    }
    let stray = [
        ("authority_host", authority.map(|at| at.place)),
        ("resource_manager", manager.map(|at| at.place)),
        ("vault_suffixes", suffixes.map(|at| at.place)),
    ];
    for (key, place) in stray {
        if let Some(place) = place {
            section.fault_at(place, key, "goes with cloud = \"custom\" only");
        }
    }
    match name {
        Some(At { value, place }) => match value.as_str() {
            "public" => Some(Cloud::public()),
            "us-government" => Some(Cloud::us_government()),
            "china" => Some(Cloud::china()),
            _ => {
                section.fault_at(place, "cloud", "expected \"public\", \"us-government\", \"china\" or \"custom\"");
                None
            }
        },
        None if alone => cloud_of_environment(reader),
        None => Some(Cloud::public()),
    }
}

/// `AZURE_AUTHORITY_HOST`, as workload identity's webhook sets it: one of the known clouds' names the whole cloud.
fn cloud_of_environment(reader: &Reader<'_>) -> Option<Cloud> {
    const VARIABLE: &str = "AZURE_AUTHORITY_HOST";
    let Some(value) = reader.vars.get(VARIABLE) else { return Some(Cloud::public()) };
    // The SDKs take it without a scheme too.
    let with_scheme = if value.contains("://") { value.to_owned() } else { format!("https://{value}") };
    let url = Url::parse(&with_scheme).map_err(|_| "expected an https URL".to_owned()).and_then(https_only);
    let authority = match url {
        Ok(url) => url,
        Err(what) => {
            reader.fault(Place::Variable(VARIABLE.to_owned()), "", what);
            return None;
        }
    };
    let known = [Cloud::public(), Cloud::us_government(), Cloud::china()];
    let cloud = known.into_iter().find(|cloud| cloud.authority_host.host_str() == authority.host_str());
    Some(cloud.unwrap_or_else(|| Cloud { authority_host: authority, ..Cloud::public() }))
}

fn suffixes(raw: super::kinds::Raw<'_>) -> Result<Vec<String>, String> {
    let list = texts(raw)?;
    for (at, suffix) in list.iter().enumerate() {
        let labels = suffix.strip_prefix('.').unwrap_or_default();
        if labels.is_empty() || !labels.split('.').all(is_label) || !labels.contains('.') {
            return Err(format!(
                "entry {}: expected a domain that begins with a dot, such as \".vault.azure.net\"",
                at + 1
            ));
        }
    }
    if list.is_empty() { Err("must have an entry".to_owned()) } else { Ok(list) }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn subscriptions(section: &Section<'_>) -> Vec<String> {
    checked(section, "subscriptions", "expected a subscription's id", |id| {
        id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-').then(|| id.to_ascii_lowercase())
    })
}

fn vaults(section: &Section<'_>, cloud: &Cloud) -> Vec<ConfiguredVault> {
    let expected =
        format!("expected a vault's name, or an https URL of a host under {}", cloud.vault_suffixes.join(", "));
    checked(section, "vaults", &expected, |text| {
        if !text.contains("://") {
            let name = text.parse::<VaultName>().ok()?;
            return (!text.contains(':')).then_some(ConfiguredVault::Name(name));
        }
        let url = https_only(Url::parse(text).ok()?).ok()?;
        let host = url.host_str()?.to_ascii_lowercase();
        let label = cloud.vault_suffixes.iter().find_map(|suffix| host.strip_suffix(suffix.as_str()))?;
        (is_label(label) && matches!(url.path(), "" | "/")).then_some(ConfiguredVault::Uri(url))
    })
}

fn globs(section: &Section<'_>, key: &'static str) -> Vec<String> {
    checked(section, key, "expected a glob on vault names such as \"pay-*\"", |glob| {
        globset::Glob::new(glob).is_ok().then(|| glob.to_owned())
    })
}

fn resolve(section: &Section<'_>) -> Vec<(String, SocketAddr)> {
    let Some(At { value, place }) = section.read("resolve", pairs) else { return Vec::new() };
    let mut resolved = Vec::new();
    for (at, (host, address)) in value.into_iter().enumerate() {
        let bare = host.strip_prefix("*.").unwrap_or(&host);
        if !bare.split('.').all(is_label) {
            let what = format!("entry {}: expected a host name or \"*.domain\" before the address", at + 1);
            section.fault_at(place.clone(), "resolve", what);
        } else if let Ok(address) = address.parse() {
            resolved.push((host.to_ascii_lowercase(), address));
        } else {
            let what = format!("entry {}: expected an address and a port such as \"127.0.0.1:8443\"", at + 1);
            section.fault_at(place.clone(), "resolve", what);
        }
    }
    resolved
}

/// A list of which each entry must pass; each that does not is told by its number.
fn checked<T>(section: &Section<'_>, key: &'static str, expected: &str, check: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let Some(At { value, place }) = section.read(key, texts) else { return Vec::new() };
    let mut passed = Vec::new();
    for (at, text) in value.iter().enumerate() {
        match check(text) {
            Some(item) => passed.push(item),
            None => section.fault_at(place.clone(), key, format!("entry {}: {expected}", at + 1)),
        }
    }
    passed
}
