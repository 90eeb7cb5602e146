//! The file's small tables, each read whole, and what they have in common.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::section::Section;
use super::{
    App, Budget, Challenge, Cloud, Federated, Grant, Graph, PageEnd, Paging, Right, Scope, Subscription, Tenant,
};

/// Key Vault's own, and what the newest text of its 401 says.
const CHALLENGE_TEXT: &str = "AKV10000: Request is missing a Bearer or PoP token.";
const CLOUDS: [(&str, Cloud); 3] =
    [("public", Cloud::Public), ("us-government", Cloud::UsGovernment), ("china", Cloud::China)];
const RIGHTS: [Right; 6] = [Right::Get, Right::List, Right::Set, Right::Delete, Right::Recover, Right::Purge];

pub(super) fn budget(section: Option<Section<'_>>) -> Budget {
    let (mut transactions, mut window) = (4000, 10);
    if let Some(mut section) = section {
        transactions = section.number("transactions").unwrap_or(transactions).max(1);
        window = section.number("window_s").unwrap_or(window).max(1);
        section.finish();
    }
    Budget { transactions, window: Duration::from_secs(window.into()) }
}

pub(super) fn challenge(section: Option<Section<'_>>) -> Challenge {
    let mut challenge = Challenge { authority_host: None, text: CHALLENGE_TEXT.to_owned() };
    if let Some(mut section) = section {
        challenge.authority_host = section.text("authority_host");
        challenge.text = section.text("text").unwrap_or(challenge.text);
        section.finish();
    }
    challenge
}

pub(super) fn graph(section: Option<Section<'_>>) -> Graph {
    let mut graph = Graph { page_size: 1000, numeric_booleans: false, quota: 15 };
    if let Some(mut section) = section {
        graph.page_size = section.number("page_size").map_or(graph.page_size, |size| size.clamp(1, 1000) as usize);
        graph.numeric_booleans = section.flag("numeric_booleans").unwrap_or(false);
        graph.quota = section.number("quota").unwrap_or(graph.quota);
        section.finish();
    }
    graph
}

pub(super) fn paging_default(page_size: usize, end: PageEnd) -> Paging {
    Paging { page_size, empty_pages: 0, pages: Vec::new(), end }
}

pub(super) fn paging(section: &mut Section<'_>, most: usize, end: PageEnd) -> Paging {
    Paging {
        page_size: section.number("page_size").map_or(most, |size| (size as usize).clamp(1, most)),
        empty_pages: section.number("empty_pages").unwrap_or(0) as usize,
        pages: section.numbers("pages").unwrap_or_default().into_iter().map(|size| size as usize).collect(),
        end: section.choice("end", &[("absent", PageEnd::Absent), ("null", PageEnd::Null)]).unwrap_or(end),
    }
}

pub(super) fn tenant(mut section: Section<'_>) -> Tenant {
    let tenant = Tenant {
        id: section.required("id"),
        domain: section.text("domain"),
        cloud: section.choice("cloud", &CLOUDS).unwrap_or(Cloud::Public),
    };
    section.finish();
    tenant
}

/// The id of the tenant that `tenant` names by id or domain; without the key, the first.
pub(super) fn tenant_of(section: &mut Section<'_>, tenants: &[Tenant]) -> String {
    let Some(wanted) = section.text("tenant") else {
        return tenants.first().map(|tenant| tenant.id.clone()).unwrap_or_default();
    };
    let found = tenants.iter().find(|tenant| tenant.id == wanted || tenant.domain.as_ref() == Some(&wanted));
    if found.is_none() {
        section.fault("tenant", format!("{wanted:?} is no [[tenant]]'s id or domain"));
    }
    found.map(|tenant| tenant.id.clone()).unwrap_or_default()
}

pub(super) fn federated(mut section: Section<'_>) -> Federated {
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

pub(super) fn subscription(mut section: Section<'_>, tenants: &[Tenant]) -> Subscription {
    let subscription = Subscription {
        id: section.required("id"),
        name: section.required("name"),
        tenant: tenant_of(&mut section, tenants),
        state: section.text("state").unwrap_or_else(|| "Enabled".to_owned()),
    };
    section.finish();
    subscription
}

pub(super) fn grant(mut section: Section<'_>, apps: &[App]) -> Grant {
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
pub(super) fn pem<T: PemObject>(source: &str) -> Result<T, String> {
    if source.contains("-----BEGIN") {
        return T::from_pem_slice(source.as_bytes()).map_err(|error| format!("is no such PEM: {error}"));
    }
    T::from_pem_file(source).map_err(|error| format!("{source:?} cannot be read as PEM: {error}"))
}

/// 3 to 24 letters, digits and single dashes, a letter first, no dash last
/// (<https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>).
pub(super) fn bad_vault_name(name: &str) -> Option<&'static str> {
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
pub(super) fn derived_uuid(seed: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    super::super::uuid(hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
}

/// A value that is the same in every run and looks like one.
pub(in crate::emulator) fn generated(seed: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    STANDARD.encode(&hash.as_ref()[..24])
}
