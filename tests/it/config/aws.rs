//! `[[aws]]`: what is not said right is told, and never as it was said.

use std::time::Duration;

use super::{faults, inputs, parse};

#[test]
fn credentials_of_aws_are_read_with_their_references() {
    let text = "\
[[aws]]
name = \"backup\"
access_key_id = \"secret://pay/id\"
secret_access_key = \"secret://pay/s3#/key\"
[[aws]]
name = \"other\"
access_key_id = \"@Microsoft.KeyVault(VaultName=pay;SecretName=id)\"
secret_access_key = \"secret://*/key\"
session_token = \"secret://pay/token\"
lifetime = \"30m\"
";
    let config = parse(text, &inputs(&[])).unwrap();
    let told: Vec<_> = config.aws.iter().map(|profile| (profile.name.as_str(), profile.lifetime)).collect();
    assert_eq!(told, [("backup", Duration::from_mins(6)), ("other", Duration::from_mins(30))]);
    let references: Vec<_> = config.aws[1].references().values().map(ToString::to_string).collect();
    assert_eq!(references, ["secret://pay/id", "secret://*/key", "secret://pay/token"]);
}

#[test]
fn every_fault_of_credentials_of_aws_is_told_with_its_place() {
    let text = "\
[[aws]]
name = \"a\"
access_key_id = \"AKIACANARY\"
lifetime = \"13h\"
[[aws]]
name = \"a\"
access_key_id = \"secret://pay/id\"
secret_access_key = \"secret://pay/key\"
token = \"canary\"
[[aws]]
name = \"..\"
access_key = \"secret://pay/id\"
";
    let told = faults(text, &inputs(&[])).join("\n");
    for expected in [
        "3:17: aws[1].access_key_id: expected a reference such as \"secret://pay-prod/db-password\"",
        "aws[1].secret_access_key: must be set",
        "4:12: aws[1].lifetime: must be at most \"12h\"",
        "9:9: aws[2].token: is session_token here",
        "11:8: aws[3].name: must not begin with a '.'",
        "12:1: aws[3].access_key: no such key; did you mean 'access_key_id'?",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
    assert!(!told.to_lowercase().contains("canary"), "{told}");
}
