//! `[audit]`.

use std::path::PathBuf;

use sidekey::access::audit::{AuditOptions, Place};
use sidekey::config::Config;

use super::{faults, inputs};

/// What a source needs, so that nothing else is a fault.
const SIGNS_IN: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", "72f988bf-0000-4000-8000-00000000c0de"),
    ("AZURE_CLIENT_ID", "5ec2e7aa-0000-4000-8000-000000051de0"),
    ("AZURE_CLIENT_SECRET", "s"),
];

fn audit(text: &str, variables: &[(&str, &str)]) -> Option<AuditOptions> {
    let variables: Vec<_> = SIGNS_IN.iter().chain(variables).copied().collect();
    Config::parse(None, text, &inputs(&variables)).unwrap_or_else(|faults| panic!("{faults}")).audit
}

#[test]
fn it_is_off_unless_a_file_is_named_and_has_defaults_then() {
    assert_eq!(audit("", &[]), None);
    assert_eq!(audit("[audit]\nrequired = false\n", &[]), None);
    let path = PathBuf::from("/var/log/audit.log");
    let place = Place::File { path: path.clone(), max_size: 64 << 20, keep: 5 };
    let expected = AuditOptions { place, required: false, hash_names: None };
    assert_eq!(audit("[audit]\nfile = \"/var/log/audit.log\"\n", &[]), Some(expected));
    let all = "[audit]\nfile = \"/var/log/audit.log\"\nrequired = true\nmax_size = \"0B\"\nkeep = 2\nhash_names = { key_file = \"/k/key\" }\n";
    let place = Place::File { path, max_size: 0, keep: 2 };
    let expected = AuditOptions { place, required: true, hash_names: Some("/k/key".into()) };
    assert_eq!(audit(all, &[]), Some(expected));
    let variables = [("SIDEKEY_AUDIT_FILE", "stderr"), ("SIDEKEY_AUDIT_HASH_NAMES_KEY_FILE", "/k/key")];
    let expected = AuditOptions { place: Place::Stderr, required: false, hash_names: Some("/k/key".into()) };
    assert_eq!(audit("", &variables), Some(expected));
}

#[test]
fn what_would_do_nothing_or_harm_is_a_fault() {
    for (text, fault) in [
        ("required = true", ":2:12: audit.required: does nothing without audit.file"),
        ("hash_names = { key_file = \"k/k\" }", "audit.hash_names: does nothing without audit.file"),
        ("file = \"a\"\nmax_size = \"1KiB\"", ":3:12: audit.max_size: must be at least \"64KiB\""),
        ("file = \"a\"\nkeep = 0", ":3:8: audit.keep: must be at least 1"),
        ("file = \"a\"\nkeep = 1001", ":3:8: audit.keep: must be at most 1000"),
        ("file = \"a\"\nhash_names = {}", "audit.hash_names.key_file: is missing"),
        ("file = \"l/a\"\nhash_names = { key_file = \"l/k\" }", "audit.hash_names.key_file: must be in another folder"),
        ("file = \"a\"\nhash_names = true", "audit.hash_names: expected a table"),
        ("flie = \"a\"", ":2:1: audit.flie: no such key; did you mean 'file'?"),
    ] {
        let told = faults(&format!("[audit]\n{text}\n"), &inputs(&SIGNS_IN));
        assert!(told.len() == 1 && told[0].contains(fault), "{text}: {told:?}");
    }
}
