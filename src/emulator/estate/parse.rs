//! The file's shape: which keys there are, what they default to, and what must agree with what.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use time::OffsetDateTime;

use super::section::{Faults, Section};
use super::{
    App, Budget, Challenge, Cloud, Estate, EstateFault, Federated, Firewall, Grant, Graph, Managed, PageEnd, Paging,
    Right, Scope, Secret, SecretVersion, Subscription, Tenant, Value, Vault,
};
use crate::secret::SecretName;

/// Key Vault's own, and what the newest text of its 401 says.
const CHALLENGE_TEXT: &str = "AKV10000: Request is missing a Bearer or PoP token.";
const CLOUDS: [(&str, Cloud); 3] =
    [("public", Cloud::Public), ("us-government", Cloud::UsGovernment), ("china", Cloud::China)];
const RIGHTS: [Right; 6] = [Right::Get, Right::List, Right::Set, Right::Delete, Right::Recover, Right::Purge];

pub(super) fn estate(text: &str, now: OffsetDateTime) -> Result<Estate, Vec<EstateFault>> {
    let faults = Faults::default();
    let (document, broken) = toml::de::DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        for error in broken {
            faults.add(text, error.span().map_or(0, |span| span.start), String::new(), error.message().to_owned());
        }
        return Err(faults.into_sorted());
    }
    let span = document.span();
    let estate = {
        let root = Section::new(text, &faults, String::new(), span, document.get_ref());
        Reading { now }.estate(root)
    };
    let faults = faults.into_sorted();
    if faults.is_empty() { Ok(estate) } else { Err(faults) }
}

struct Reading {
    now: OffsetDateTime,
}

impl Reading {
    fn estate(&self, mut root: Section<'_>) -> Estate {
        let token_lifetime = Duration::from_secs(root.number("token_lifetime_s").unwrap_or(3599).into());
        let latency = Duration::from_millis(root.number("latency_ms").unwrap_or(0).into());
        let budget = budget(root.section("budget"));
        let challenge = challenge(root.section("challenge"));
        let arm = root.section("arm").map_or_else(
            || paging_default(50, PageEnd::Absent),
            |mut section| {
                let paging = paging(&mut section, 50, PageEnd::Absent);
                section.finish();
                paging
            },
        );
        let graph = graph(root.section("graph"));
        let tenants: Vec<_> = root.sections("tenant").into_iter().map(tenant).collect();
        let apps: Vec<_> = root.sections("app").into_iter().map(|section| self.app(section, &tenants)).collect();
        let subscriptions: Vec<_> =
            root.sections("subscription").into_iter().map(|section| subscription(section, &tenants)).collect();
        let mut names = BTreeSet::new();
        let mut vaults = Vec::new();
        for section in root.sections("vault") {
            vaults.extend(self.vaults(section, &tenants, &subscriptions, &mut names));
        }
        let grants = root.sections("grant").into_iter().map(|section| grant(section, &apps)).collect();
        if tenants.is_empty() {
            root.fault("tenant", "is missing: an estate has at least one [[tenant]]");
        }
        root.finish();
        Estate {
            now: self.now,
            token_lifetime,
            latency,
            budget,
            challenge,
            arm,
            graph,
            tenants,
            apps,
            subscriptions,
            vaults,
            grants,
        }
    }

    fn app(&self, mut section: Section<'_>, tenants: &[Tenant]) -> App {
        let name = section.required("name");
        let tenant = tenant_of(&mut section, tenants);
        let id = section.required("id");
        let object_id = section.text("object_id").unwrap_or_else(|| derived_uuid(&format!("object of {id}")));
        let mut secrets = Vec::new();
        for mut item in section.sections("secret") {
            secrets.push((item.required("value"), item.when("expires", self.now)));
            item.finish();
        }
        let mut certificates = Vec::new();
        for source in section.words("certificates").unwrap_or_default() {
            match pem::<CertificateDer<'_>>(&source) {
                Ok(certificate) => certificates.push(certificate.to_vec()),
                Err(reason) => section.fault("certificates", reason),
            }
        }
        let federated = section.sections("federated").into_iter().map(federated).collect();
        let managed = section.choice("managed_identity", &[("system", Managed::System), ("user", Managed::User)]);
        section.finish();
        App { name, tenant, id, object_id, secrets, certificates, federated, managed }
    }

    /// One vault, or as many as its `count` says.
    fn vaults(
        &self,
        mut section: Section<'_>,
        tenants: &[Tenant],
        subscriptions: &[Subscription],
        names: &mut BTreeSet<String>,
    ) -> Vec<Vault> {
        let pattern = section.required("name");
        let subscription = section.required("subscription");
        let found = subscriptions.iter().find(|known| known.id == subscription || known.name == subscription);
        if found.is_none() && !subscription.is_empty() {
            section.fault("subscription", format!("{subscription:?} is no [[subscription]]'s id or name"));
        }
        let home = found.map(|found| found.tenant.clone()).unwrap_or_default();
        let tenant = if section.has("tenant") { tenant_of(&mut section, tenants) } else { home.clone() };
        let cloud = tenants.iter().find(|known| known.id == home).map_or(Cloud::Public, |tenant| tenant.cloud);
        let vault = Vault {
            name: String::new(),
            subscription: found.map(|found| found.id.clone()).unwrap_or_default(),
            resource_group: section.text("resource_group").unwrap_or_else(|| "default".to_owned()),
            location: section.text("location").unwrap_or_else(|| "westeurope".to_owned()),
            tenant,
            cloud,
            rbac: section.choice("access", &[("rbac", true), ("policy", false)]).unwrap_or(true),
            firewall: section
                .choice(
                    "firewall",
                    &[("open", Firewall::Open), ("closed", Firewall::Closed), ("private", Firewall::Private)],
                )
                .unwrap_or(Firewall::Open),
            hidden: section.flag("hidden").unwrap_or(false),
            throttled: section.flag("throttled").unwrap_or(false),
            recovery_level: section.text("recovery_level").unwrap_or_else(|| "Recoverable+Purgeable".to_owned()),
            recoverable_days: match section.number("recoverable_days") {
                Some(0) => None,
                Some(days) => Some(days),
                None => Some(90),
            },
            tags: section.map("tags"),
            paging: paging(&mut section, 25, PageEnd::Null),
            secrets: self.secrets(&mut section),
        };
        let wanted: Vec<String> = match section.number("count") {
            None => vec![pattern.to_ascii_lowercase()],
            Some(count) => {
                if !pattern.contains("{}") {
                    section.fault("name", "must have {} where the number goes, as there is a count");
                }
                (0..count).map(|at| pattern.to_ascii_lowercase().replacen("{}", &at.to_string(), 1)).collect()
            }
        };
        for name in &wanted {
            if let Some(reason) = bad_vault_name(name) {
                section.fault("name", format!("{name:?} {reason}"));
                break;
            }
            if !names.insert(name.clone()) {
                section.fault("name", format!("{name:?} is taken: vault names are unique in all of Azure"));
                break;
            }
        }
        section.finish();
        wanted.into_iter().map(|name| Vault { name, ..vault.clone() }).collect()
    }

    fn secrets(&self, section: &mut Section<'_>) -> Vec<Secret> {
        let mut secrets: Vec<_> = section.sections("secret").into_iter().filter_map(|item| self.secret(item)).collect();
        for item in section.sections("bulk") {
            secrets.extend(self.bulk(item));
        }
        let mut seen = BTreeSet::new();
        for secret in &secrets {
            if !seen.insert(&secret.name) {
                section.fault("secret", format!("{} is there twice; use versions", secret.name));
            }
        }
        secrets
    }

    fn secret(&self, mut section: Section<'_>) -> Option<Secret> {
        let spelling = section.required("name");
        let name = name_of(&section, &spelling);
        let deleted = section.flag("deleted").unwrap_or(false);
        let attributes = self.attributes(&mut section);
        let mut versions = Vec::new();
        for mut item in section.sections("versions") {
            let mut version = self.attributes(&mut item);
            version.value = value_of(&mut item);
            item.finish();
            if version.content_type.is_none() {
                version.content_type.clone_from(&attributes.content_type);
            }
            if version.tags.is_empty() {
                version.tags.clone_from(&attributes.tags);
            }
            versions.push(version);
        }
        let own = value_of(&mut section);
        if versions.is_empty() || section.has("value") {
            versions.push(SecretVersion { value: own, ..attributes });
        }
        section.finish();
        Some(Secret { name: name?, spelling, versions, deleted })
    }

    fn bulk(&self, mut section: Section<'_>) -> Vec<Secret> {
        let pattern = section.required("pattern");
        let count = section.number("count").unwrap_or(0);
        let version = self.attributes(&mut section);
        if !pattern.contains("{}") {
            section.fault("pattern", "must have {} where the number goes");
        }
        let named = (0..count).map_while(|at| {
            let spelling = pattern.replacen("{}", &at.to_string(), 1);
            let name = name_of_key(&section, "pattern", &spelling)?;
            Some(Secret { name, spelling, versions: vec![version.clone()], deleted: false })
        });
        let secrets = named.collect();
        section.finish();
        secrets
    }

    fn attributes(&self, section: &mut Section<'_>) -> SecretVersion {
        SecretVersion {
            value: Value::Generated,
            enabled: section.flag("enabled").unwrap_or(true),
            expires: section.when("expires", self.now),
            not_before: section.when("not_before", self.now),
            created: section.when("created", self.now),
            content_type: section.text("content_type"),
            tags: section.map("tags"),
        }
    }
}

fn name_of(section: &Section<'_>, spelling: &str) -> Option<SecretName> {
    if spelling.is_empty() { None } else { name_of_key(section, "name", spelling) }
}

fn name_of_key(section: &Section<'_>, key: &str, spelling: &str) -> Option<SecretName> {
    spelling.parse().map_err(|error| section.fault(key, format!("{error}"))).ok()
}

/// Without a `value` or `certificate`, one is made up.
fn value_of(section: &mut Section<'_>) -> Value {
    let text = section.text("value").map(Value::Text);
    let certificate = section.text("certificate").map(Value::Certificate);
    if text.is_some() && certificate.is_some() {
        section.fault("certificate", "stands beside a value; a secret has one or the other");
    }
    text.or(certificate).unwrap_or(Value::Generated)
}

fn budget(section: Option<Section<'_>>) -> Budget {
    let (mut transactions, mut window) = (4000, 10);
    if let Some(mut section) = section {
        transactions = section.number("transactions").unwrap_or(transactions).max(1);
        window = section.number("window_s").unwrap_or(window).max(1);
        section.finish();
    }
    Budget { transactions, window: Duration::from_secs(window.into()) }
}

fn challenge(section: Option<Section<'_>>) -> Challenge {
    let mut challenge = Challenge { authority_host: None, text: CHALLENGE_TEXT.to_owned() };
    if let Some(mut section) = section {
        challenge.authority_host = section.text("authority_host");
        challenge.text = section.text("text").unwrap_or(challenge.text);
        section.finish();
    }
    challenge
}

fn graph(section: Option<Section<'_>>) -> Graph {
    let mut graph = Graph { page_size: 1000, numeric_booleans: false, quota: 15 };
    if let Some(mut section) = section {
        graph.page_size = section.number("page_size").map_or(graph.page_size, |size| size.clamp(1, 1000) as usize);
        graph.numeric_booleans = section.flag("numeric_booleans").unwrap_or(false);
        graph.quota = section.number("quota").unwrap_or(graph.quota);
        section.finish();
    }
    graph
}

fn paging_default(page_size: usize, end: PageEnd) -> Paging {
    Paging { page_size, empty_pages: 0, pages: Vec::new(), end }
}

fn paging(section: &mut Section<'_>, most: usize, end: PageEnd) -> Paging {
    Paging {
        page_size: section.number("page_size").map_or(most, |size| (size as usize).clamp(1, most)),
        empty_pages: section.number("empty_pages").unwrap_or(0) as usize,
        pages: section.numbers("pages").unwrap_or_default().into_iter().map(|size| size as usize).collect(),
        end: section.choice("end", &[("absent", PageEnd::Absent), ("null", PageEnd::Null)]).unwrap_or(end),
    }
}

fn tenant(mut section: Section<'_>) -> Tenant {
    let tenant = Tenant {
        id: section.required("id"),
        domain: section.text("domain"),
        cloud: section.choice("cloud", &CLOUDS).unwrap_or(Cloud::Public),
    };
    section.finish();
    tenant
}

/// The id of the tenant that `tenant` names by id or domain; without the key, the first.
fn tenant_of(section: &mut Section<'_>, tenants: &[Tenant]) -> String {
    let Some(wanted) = section.text("tenant") else {
        return tenants.first().map(|tenant| tenant.id.clone()).unwrap_or_default();
    };
    let found = tenants.iter().find(|tenant| tenant.id == wanted || tenant.domain.as_ref() == Some(&wanted));
    if found.is_none() {
        section.fault("tenant", format!("{wanted:?} is no [[tenant]]'s id or domain"));
    }
    found.map(|tenant| tenant.id.clone()).unwrap_or_default()
}

fn federated(mut section: Section<'_>) -> Federated {
    let federated = Federated {
        issuer: section.required("issuer"),
        subject: section.required("subject"),
        audience: section.text("audience").unwrap_or_else(|| "api://AzureADTokenExchange".to_owned()),
        public_key: section.text("public_key").and_then(|source| {
            let key = pem::<SubjectPublicKeyInfoDer<'_>>(&source);
            key.map(|key| key.to_vec()).map_err(|reason| section.fault("public_key", reason)).ok()
        }),
    };
    section.finish();
    federated
}

fn subscription(mut section: Section<'_>, tenants: &[Tenant]) -> Subscription {
    let subscription = Subscription {
        id: section.required("id"),
        name: section.required("name"),
        tenant: tenant_of(&mut section, tenants),
        state: section.text("state").unwrap_or_else(|| "Enabled".to_owned()),
    };
    section.finish();
    subscription
}

fn grant(mut section: Section<'_>, apps: &[App]) -> Grant {
    let app = section.required("app");
    if !app.is_empty() && !apps.iter().any(|known| known.name == app) {
        section.fault("app", format!("{app:?} is no [[app]]'s name"));
    }
    let subscriptions = section.words("subscriptions");
    let vaults = section.words("vaults");
    let secrets = section.words("secrets");
    let rights = section.words("rights").map(|words| rights(&section, &words));
    for (key, globs) in [("vaults", &vaults), ("secrets", &secrets)] {
        for glob in globs.iter().flatten() {
            if let Err(error) = globset::Glob::new(glob) {
                section.fault(key, format!("{glob:?} is no glob: {}", error.kind()));
            }
        }
    }
    let scope = match (subscriptions, vaults) {
        (Some(subscriptions), None) => Scope::Read { subscriptions },
        (None, Some(vaults)) => {
            Scope::Use { vaults, secrets, rights: rights.unwrap_or_else(|| vec![Right::Get, Right::List]) }
        }
        (None, None) | (Some(_), Some(_)) => {
            section.fault("vaults", "a grant covers either subscriptions (to see them) or vaults (to use them)");
            Scope::Read { subscriptions: Vec::new() }
        }
    };
    section.finish();
    Grant { app, scope }
}

fn rights(section: &Section<'_>, words: &[String]) -> Vec<Right> {
    let mut rights = Vec::new();
    for word in words {
        match RIGHTS.iter().find(|right| right.word() == word) {
            Some(right) => rights.push(*right),
            None if word == "all" => rights.extend(RIGHTS),
            None => {
                let known = RIGHTS.map(Right::word).join(", ");
                section.fault("rights", format!("{word:?} is no right; there are {known} and all"));
            }
        }
    }
    rights
}

/// Inline PEM, or a path to it.
fn pem<T: PemObject>(source: &str) -> Result<T, String> {
    if source.contains("-----BEGIN") {
        return T::from_pem_slice(source.as_bytes()).map_err(|error| format!("is no such PEM: {error}"));
    }
    T::from_pem_file(source).map_err(|error| format!("{source:?} cannot be read as PEM: {error}"))
}

/// 3 to 24 letters, digits and single dashes, a letter first, no dash last
/// (<https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>).
fn bad_vault_name(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !(3..=24).contains(&name.len()) {
        Some("must have 3 to 24 characters")
    } else if !name.bytes().all(allowed) {
        Some("may have letters, digits and '-' only")
    } else if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || name.ends_with('-') || name.contains("--")
    {
        Some("must start with a letter and have no '-' doubled or last")
    } else {
        None
    }
}

/// An id that is the same in every run.
fn derived_uuid(seed: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    super::super::uuid(hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
}

/// A value that is the same in every run and looks like one.
pub(in crate::emulator) fn generated(seed: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    STANDARD.encode(&hash.as_ref()[..24])
}
