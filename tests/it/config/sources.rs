//! Who signs in: one credential, from one place.
use std::fs;

use sidekey::config::{Config, Inputs, Vars};
use sidekey::vaults::azure::{Cloud, ConfiguredVault, Identity};

use super::{faults, inputs, parse};

fn with(vars: &[(&str, &str)]) -> Inputs {
    Inputs { vars: vars.iter().copied().collect::<Vars>(), uid: 1000, ..Inputs::default() }
}

const IDS: [(&str, &str); 2] = [("AZURE_TENANT_ID", "contoso.example"), ("AZURE_CLIENT_ID", "app")];

#[test]
fn without_any_credential_the_fault_names_what_to_set() {
    let told = faults("", &with(&[]));
    assert_eq!(told.len(), 1, "{told:?}");
    for variable in [
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "SIDEKEY_SOURCE_MANAGED_IDENTITY=true",
    ] {
        assert!(told[0].contains(variable), "{told:?}");
    }
    let told = faults("", &with(&[("AZURE_CLIENT_SECRET", "canary")]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("AZURE_TENANT_ID") && told[1].contains("AZURE_CLIENT_ID"), "{told:?}");
}

#[test]
fn two_credentials_are_a_fault_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "s").unwrap();
    let path = file.to_str().unwrap();
    let told = faults("", &inputs(&[("AZURE_CLIENT_CERTIFICATE_PATH", path)]));
    assert_eq!(
        told,
        [
            "AZURE_CLIENT_SECRET: source: exactly one credential is needed; set are AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH"
        ]
    );
    let text = format!("[[source]]\nclient_secret_file = {path:?}\nmanaged_identity = true\n");
    let told = faults(&text, &with(&IDS));
    assert_eq!(
        told,
        ["sidekey.toml:1:1: source: exactly one credential is needed; set are client_secret_file, managed_identity"]
    );
}

#[test]
fn every_identity_can_be_had_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    fs::write(&file, "x").unwrap();
    let path = file.to_str().unwrap();
    let identity = |more: &[(&str, &str)]| {
        let vars: Vec<_> = IDS.iter().chain(more).copied().collect();
        Config::parse(None, "", &with(&vars)).unwrap().sources.remove(0).identity
    };
    assert!(
        matches!(identity(&[("AZURE_CLIENT_SECRET", "s")]), Identity::ClientSecret { tenant, .. } if tenant == "contoso.example")
    );
    let certificate = identity(&[("AZURE_CLIENT_CERTIFICATE_PATH", path), ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "p")]);
    assert!(matches!(certificate, Identity::Certificate { password: Some(_), .. }));
    assert!(
        matches!(identity(&[("AZURE_FEDERATED_TOKEN_FILE", path)]), Identity::FederatedToken { file: f, .. } if f == file)
    );
    let imds = identity(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:40342")]);
    assert!(matches!(imds, Identity::ManagedIdentity { client: Some(c), endpoint: Some(_) } if c == "app"));
    assert!(matches!(
        identity(&[("IDENTITY_ENDPOINT", "http://127.0.0.1:41")]),
        Identity::ManagedIdentity { endpoint: None, .. }
    ));
    assert!(matches!(identity(&[("SIDEKEY_SOURCE_AZURE_CLI", "true")]), Identity::AzureCli { tenant: Some(_) }));
    assert!(matches!(identity(&[("SIDEKEY_SOURCE_MANAGED_IDENTITY", "1")]), Identity::ManagedIdentity { .. }));
}

#[test]
fn a_platforms_own_variables_do_not_contend_with_a_credential_that_somebody_set() {
    let config = parse("", &inputs(&[("IDENTITY_ENDPOINT", "http://127.0.0.1:41")])).unwrap();
    assert!(matches!(config.sources[0].identity, Identity::ClientSecret { .. }));
}

#[test]
fn the_authority_that_workload_identity_sets_names_the_whole_cloud() {
    for host in ["https://login.microsoftonline.us/", "login.microsoftonline.us"] {
        let config = parse("", &inputs(&[("AZURE_AUTHORITY_HOST", host)])).unwrap();
        assert_eq!(config.sources[0].cloud, Cloud::us_government());
    }
    let told = faults("", &inputs(&[("AZURE_AUTHORITY_HOST", "http://canary")]));
    assert!(
        told[0].starts_with("AZURE_AUTHORITY_HOST: expected an https URL") && !told[0].contains("canary"),
        "{told:?}"
    );
}

#[test]
fn clouds_are_named_and_a_custom_one_is_told_whole() {
    let china = parse("[[source]]\ncloud = \"china\"\n", &inputs(&[])).unwrap();
    assert_eq!(china.sources[0].cloud, Cloud::china());
    let told = faults("[[source]]\ncloud = \"custom\"\nauthority_host = \"http://login.local\"\n", &inputs(&[]));
    assert_eq!(
        told,
        [
            "sidekey.toml:1:1: source.resource_manager: must be set where cloud is \"custom\"",
            "sidekey.toml:1:1: source.vault_suffixes: must be set where cloud is \"custom\"",
            "sidekey.toml:3:18: source.authority_host: expected an https URL without a user, query or fragment",
        ]
    );
    let told = faults("[[source]]\nvault_suffixes = [\".evil.example\"]\n", &inputs(&[]));
    assert_eq!(told, ["sidekey.toml:2:18: source.vault_suffixes: goes with cloud = \"custom\" only"]);
}

#[test]
fn a_vault_host_outside_the_suffixes_never_gets_a_token() {
    let text = "[[source]]\nvaults = [\"pay-prod\", \"https://x.vault.azure.net\", \"https://x.vault.azure.net.evil.example\", \"https://a.b.vault.azure.net\", \"https://u:p@x.vault.azure.net\", \"http://x.vault.azure.net\"]\n";
    let expected = "source.vaults: entry N: expected a vault's name, or an https URL of a host under .vault.azure.net";
    let told = faults(text, &inputs(&[]));
    let wanted: Vec<_> =
        (3..=6).map(|n| format!("sidekey.toml:2:10: {}", expected.replace('N', &n.to_string()))).collect();
    assert_eq!(told, wanted);
    let good = parse("[[source]]\nvaults = [\"pay-prod\", \"https://x.vault.azure.net/\"]\n", &inputs(&[])).unwrap();
    assert!(matches!(good.sources[0].vaults.as_slice(), [ConfiguredVault::Name(_), ConfiguredVault::Uri(_)]));
}

#[test]
fn a_client_secret_in_the_file_is_refused_with_the_place_where_it_belongs() {
    let told = faults("[[source]]\nclient_secret = \"canary\"\n", &inputs(&[]));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("sidekey.toml:2:17: source.client_secret: ") && told[0].contains("client_secret_file"),
        "{told:?}"
    );
    assert!(!told[0].contains("canary"));
}

#[test]
fn several_sources_have_names_of_their_own_and_credentials_of_their_own() {
    let told = faults(
        "[[source]]\nname = \"a\"\nazure_cli = true\n[[source]]\nname = \"A\"\nazure_cli = true\n[[source]]\nname = \"b\"\n",
        &inputs(&[]),
    );
    assert_eq!(
        told,
        [
            "sidekey.toml:4:1: source[2].name: another source has that name already",
            "sidekey.toml:7:1: source[3]: no credential: set one of client_secret_file, client_certificate_file, \
             federated_token_file, managed_identity, azure_cli",
        ]
    );
    let told = faults(
        "[[source]]\nname = \"a\"\nazure_cli = true\n[[source]]\nname = \"b\"\nazure_cli = true\n",
        &inputs(&[("SIDEKEY_SOURCE_CLOUD", "china")]),
    );
    assert_eq!(told, ["SIDEKEY_SOURCE_CLOUD: no such setting where there are several sources: set it in the file"]);
}

#[test]
fn paths_in_the_file_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "s").unwrap();
    let file = folder.path().join("sidekey.toml");
    fs::write(&file, "[[source]]\nclient_secret_file = \"secret\"\nca_file = \"missing.pem\"\n").unwrap();
    let error = Config::load(&Inputs { file: Some(file.clone()), ..with(&IDS) }).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}:3:11: source.ca_file: the file cannot be read: no such file or directory", file.display())
    );
    fs::write(folder.path().join("missing.pem"), "c").unwrap();
    let config = Config::load(&Inputs { file: Some(file), ..with(&IDS) }).unwrap();
    assert_eq!(config.sources[0].extra_ca, Some(folder.path().join("missing.pem")));
}

#[test]
fn names_are_reached_elsewhere_only_if_they_and_the_address_make_sense() {
    let config = parse("[[source]]\nresolve = { \"*.vault.azure.net\" = \"127.0.0.1:8443\" }\n", &inputs(&[])).unwrap();
    assert_eq!(config.sources[0].resolve, [("*.vault.azure.net".to_owned(), "127.0.0.1:8443".parse().unwrap())]);
    let by_variable =
        parse("", &inputs(&[("SIDEKEY_SOURCE_RESOLVE", "a.example=127.0.0.1:1, *.b.example=127.0.0.1:2")])).unwrap();
    assert_eq!(by_variable.sources[0].resolve.len(), 2);
    let told =
        faults("[[source]]\nresolve = { \"a b\" = \"127.0.0.1:1\", \"c.example\" = \"canary\" }\n", &inputs(&[]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(!told.concat().contains("canary"));
}
