//! Who signs in: exactly one credential for a source, from its own keys or, where it is the only source and has none,
//! from the `AZURE_…` variables. Two credentials are a fault: which of them is meant must not be guessed.

use std::path::PathBuf;

use url::Url;

use super::fault::{Place, cause};
use super::kinds::{text, yes_no};
use super::reader::{Reader, Section};
use crate::vaults::azure::{Credential, Identity};

const NOTHING_SET: &str = "no credential: set AZURE_TENANT_ID, AZURE_CLIENT_ID and one of AZURE_CLIENT_SECRET, \
     AZURE_CLIENT_CERTIFICATE_PATH, AZURE_FEDERATED_TOKEN_FILE; on a machine with a managed identity set \
     SIDEKEY_SOURCE_MANAGED_IDENTITY=true; on your own machine, after 'az login', SIDEKEY_SOURCE_AZURE_CLI=true";

/// Whether the environment holds a credential, so that a command may sign in by itself.
pub(super) fn in_environment(vars: &super::Vars) -> bool {
    VARIABLES.iter().chain(PLATFORM).chain(SETTINGS).any(|name| vars.is_set(name))
}

const VARIABLES: &[&str] = &["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"];
/// Set by platforms that give a managed identity, not by people: they count only where nothing else is set.
const PLATFORM: &[&str] = &["IDENTITY_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"];
/// A source's own keys, as variables.
const SETTINGS: &[&str] = &[
    "SIDEKEY_SOURCE_CLIENT_SECRET_FILE",
    "SIDEKEY_SOURCE_CLIENT_CERTIFICATE_FILE",
    "SIDEKEY_SOURCE_FEDERATED_TOKEN_FILE",
    "SIDEKEY_SOURCE_MANAGED_IDENTITY",
    "SIDEKEY_SOURCE_AZURE_CLI",
];

pub(super) fn identity<'r>(reader: &'r Reader<'r>, section: &Section<'r>, alone: bool) -> Option<Identity> {
    let tenant = id(reader, section, "tenant_id", "AZURE_TENANT_ID", alone);
    let client = id(reader, section, "client_id", "AZURE_CLIENT_ID", alone);
    let secret = section.readable_file("client_secret_file");
    let certificate = section.readable_file("client_certificate_file");
    let password = section.readable_file("client_certificate_password_file");
    let federated = section.readable_file("federated_token_file");
    let managed = section.read("managed_identity", yes_no).filter(|at| at.value);
    let cli = section.read("azure_cli", yes_no).filter(|at| at.value);

    let mut set: Vec<&str> = ["client_secret_file", "client_certificate_file", "federated_token_file"]
        .into_iter()
        .filter(|key| section.is_set(key))
        .collect();
    set.extend(managed.is_some().then_some("managed_identity"));
    set.extend(cli.is_some().then_some("azure_cli"));

    match set.as_slice() {
        [] if alone => return of_environment(reader, section, tenant, client),
        [] => {
            let what = "no credential: set one of client_secret_file, client_certificate_file, federated_token_file, \
                        managed_identity, azure_cli";
            section.fault_of_absent("", what);
            return None;
        }
        [_] => {}
        several => {
            let what = format!("exactly one credential is needed; set are {}", several.join(", "));
            section.fault_of_absent("", what);
            return None;
        }
    }
    if managed.is_some() {
        return Some(Identity::ManagedIdentity { client: client.value(), endpoint: imds(reader)? });
    }
    if cli.is_some() {
        return Some(Identity::AzureCli { tenant: tenant.value() });
    }
    let (tenant, client) = both(section, tenant, client)?;
    if let Some(file) = secret {
        return Some(Identity::ClientSecret { tenant, client, secret: Credential::File(file.value) });
    }
    if let Some(file) = certificate {
        let password = password.map(|at| Credential::File(at.value));
        return Some(Identity::Certificate { tenant, client, file: file.value, password });
    }
    // A file that cannot be read has been told already.
    federated.map(|file| Identity::FederatedToken { tenant, client, file: file.value })
}

fn of_environment<'r>(reader: &'r Reader<'r>, section: &Section<'r>, tenant: Id, client: Id) -> Option<Identity> {
    let set: Vec<_> = VARIABLES.iter().copied().filter(|name| reader.vars.is_set(name)).collect();
    let only = match set.as_slice() {
        [] if PLATFORM.iter().any(|name| reader.vars.get(name).is_some()) => {
            return Some(Identity::ManagedIdentity { client: client.value(), endpoint: imds(reader)? });
        }
        [] => {
            section.fault_of_absent("", NOTHING_SET);
            return None;
        }
        [only] => *only,
        several => {
            let what = format!("exactly one credential is needed; set are {}", several.join(", "));
            reader.fault(Place::Variable(several[0].to_owned()), "source", what);
            return None;
        }
    };
    let file = (only != "AZURE_CLIENT_SECRET").then(|| file_of(reader, only));
    let (tenant, client) = both(section, tenant, client)?;
    match file {
        None => Some(Identity::ClientSecret { tenant, client, secret: inline(reader, only)? }),
        Some(file) if only == "AZURE_CLIENT_CERTIFICATE_PATH" => {
            let password = inline(reader, "AZURE_CLIENT_CERTIFICATE_PASSWORD");
            Some(Identity::Certificate { tenant, client, file: file?, password })
        }
        Some(file) => Some(Identity::FederatedToken { tenant, client, file: file? }),
    }
}

/// A tenant's or client's id: absent, told to be malformed already, or good.
enum Id {
    Unset,
    Bad,
    Good(String),
}

impl Id {
    fn value(self) -> Option<String> {
        match self {
            Self::Good(id) => Some(id),
            Self::Unset | Self::Bad => None,
        }
    }
}

fn id<'r>(reader: &'r Reader<'r>, section: &Section<'r>, key: &'static str, variable: &str, alone: bool) -> Id {
    const EXPECTED: &str = "expected an id: letters, digits, '-' and '.' only";
    let good = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if section.is_set(key) {
        return match section.read(key, text) {
            Some(at) if good(&at.value) => Id::Good(at.value),
            Some(at) => {
                section.fault_at(at.place, key, EXPECTED);
                Id::Bad
            }
            None => Id::Bad,
        };
    }
    match reader.vars.get(variable).filter(|_| alone) {
        None => Id::Unset,
        Some(id) if good(id) => Id::Good(id.to_owned()),
        Some(_) => {
            reader.fault(Place::Variable(variable.to_owned()), "", EXPECTED);
            Id::Bad
        }
    }
}

fn both(section: &Section<'_>, tenant: Id, client: Id) -> Option<(String, String)> {
    for (id, key, variable) in [(&tenant, "tenant_id", "AZURE_TENANT_ID"), (&client, "client_id", "AZURE_CLIENT_ID")] {
        if matches!(id, Id::Unset) {
            let what = format!("must be set with this credential (key {key}, or variable {variable})");
            section.fault_of_absent(key, what);
        }
    }
    Some((tenant.value()?, client.value()?))
}

fn inline(reader: &Reader<'_>, variable: &str) -> Option<Credential> {
    reader.vars.secret(variable).map(Credential::Inline)
}

fn file_of(reader: &Reader<'_>, variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(reader.vars.get(variable)?);
    match std::fs::File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            let what = format!("the file cannot be read: {}", cause(&error));
            reader.fault(Place::Variable(variable.to_owned()), "", what);
            None
        }
    }
}

/// Where IMDS is, if not at its own address. `None` is a fault.
fn imds(reader: &Reader<'_>) -> Option<Option<Url>> {
    const VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
    let Some(value) = reader.vars.get(VARIABLE) else { return Some(None) };
    match Url::parse(value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Some(Some(url)),
        _ => {
            reader.fault(Place::Variable(VARIABLE.to_owned()), "", "expected an http URL");
            None
        }
    }
}
