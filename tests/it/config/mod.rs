//! A configuration is right as a whole, or every fault in it is told by key and place.
mod audit;
mod aws;
mod clients;
mod credential;
mod sources;

use std::path::Path;
use std::time::Duration;

use sidekey::config::{Config, Faults, Flag, Inputs, Vars};

/// Enough to sign in, so that a test about something else has no fault of its own.
const AZURE: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555"),
    ("AZURE_CLIENT_ID", "app"),
    ("AZURE_CLIENT_SECRET", "hunter2-from-a-variable"),
];

fn inputs(more: &[(&str, &str)]) -> Inputs {
    let vars: Vars = AZURE.iter().chain(more).copied().collect();
    Inputs { vars, uid: 1000, ..Inputs::default() }
}

fn parse(text: &str, inputs: &Inputs) -> Result<Config, Faults> {
    Config::parse(Some(Path::new("sidekey.toml")), text, inputs)
}

fn faults(text: &str, inputs: &Inputs) -> Vec<String> {
    match parse(text, inputs) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_fault_is_told_once_however_often_its_setting_matters() {
    let told = faults("[listen]\nsocket = 5\n", &inputs(&[]));
    assert_eq!(told, ["sidekey.toml:2:10: listen.socket: expected text in quotes, found a number"]);
    let told = faults("[listen]\nsocket = \"off\"\n", &inputs(&[]));
    assert_eq!(told, ["sidekey.toml:2:10: listen.socket: is off and listen.tcp is not set: nobody could ask"]);
}

#[test]
fn all_faults_in_one_file_are_told_with_their_places_and_none_with_a_value() {
    let text = "\
[listen]
tcp = \"0.0.0.0:7733\"

[cache]
tttl = \"5m\"
max_bytes = true
negative_ttl = \"canary-1\"

[limits]
retries = 1000000007

[search]
order = [\"pay\", \"canary/2\"]
";
    let told = faults(text, &inputs(&[]));
    assert_eq!(
        told,
        [
            "sidekey.toml:2:7: listen.tcp: must be a loopback address, 127.0.0.1 or [::1]: other addresses need TLS, as listen.tls has it",
            "sidekey.toml:5:1: cache.tttl: no such key; did you mean 'ttl'?",
            "sidekey.toml:6:13: cache.max_bytes: expected a size such as \"64MiB\", found true or false",
            "sidekey.toml:7:16: cache.negative_ttl: expected a duration such as \"30s\" or \"5m\"",
            "sidekey.toml:10:11: limits.retries: must be at most 10",
            "sidekey.toml:13:9: search.order: entry 2: expected a vault's name, or source:vault",
        ]
    );
    for value in ["0.0.0.0:7733", "canary", "1000000007"] {
        assert!(!told.concat().contains(value), "{value} is a value");
    }
}

#[test]
fn broken_syntax_is_told_by_its_place_without_its_text_and_hides_no_other_fault() {
    let told = faults("[cache]\nttl = canary-secret\nmax_entries = \"many\"\n", &inputs(&[]));
    assert!(told[0].starts_with("sidekey.toml:2:"), "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("sidekey.toml:3:15: cache.max_entries: ")), "{told:?}");
    assert!(!told.concat().contains("canary"), "{told:?}");
    // What cannot be read may hold what seems to be missing.
    assert!(!told.concat().contains("no credential"), "{told:?}");
    let twice = faults("[cache]\nttl = \"5m\"\nttl = \"6m\"\n", &inputs(&[]));
    assert!(twice[0].starts_with("sidekey.toml:3:1: "), "{twice:?}");
}

#[test]
fn what_is_not_loopback_needs_tls_and_tls_its_files_and_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "x").unwrap();
        path.display().to_string()
    };
    let (cert, key) = (file("cert"), file("key"));
    let tls =
        format!("tcp = \"0.0.0.0:7733\"\nmetrics = \"0.0.0.0:9733\"\ntls = {{ cert = \"{cert}\", key = \"{key}\"");
    let config = parse(&format!("[listen]\n{tls} }}\n"), &inputs(&[])).unwrap();
    assert_eq!(config.listen.metrics, Some("0.0.0.0:9733".parse().unwrap()));
    assert!(config.listen.takes_token() && !config.listen.tls.unwrap().certificate_required);
    let with_ca = format!("[listen]\n{tls}, client_ca = \"{cert}\" }}\n");
    let config = parse(&with_ca, &inputs(&[])).unwrap();
    assert!(!config.listen.takes_token() && config.listen.tls.unwrap().certificate_required);
    let config = parse(&with_ca, &inputs(&[("SIDEKEY_LISTEN_TOKEN_FILE", "/t")])).unwrap();
    assert!(config.listen.takes_token() && !config.listen.tls.unwrap().certificate_required);
    let with_list = format!("[listen]\n{tls}, client_ca = \"{cert}\", client_crl = \"{key}\" }}\n");
    let config = parse(&with_list, &inputs(&[])).unwrap();
    assert_eq!(config.listen.tls.unwrap().client_crl, Some(key.clone().into()));
    let alone = faults(&with_list.replace(&format!("client_ca = \"{cert}\", "), ""), &inputs(&[]));
    assert!(
        alone.len() == 1
            && alone[0].ends_with("listen.tls.client_crl: needs client_ca, whose certificates it is about")
    );
    let by_variable =
        [("SIDEKEY_LISTEN_TCP", "10.0.0.1:1"), ("SIDEKEY_LISTEN_TLS_CERT", &cert), ("SIDEKEY_LISTEN_TLS_KEY", &key)];
    assert!(parse("", &inputs(&by_variable)).unwrap().listen.tls.is_some());

    for (text, told) in [
        (
            "tcp = \"10.0.0.1:1\"",
            vec![
                "sidekey.toml:2:7: listen.tcp: must be a loopback address, 127.0.0.1 or [::1]: other addresses need TLS, as listen.tls has it",
            ],
        ),
        (
            "tls = {}",
            vec![
                "sidekey.toml:2:7: listen.tls.cert: is missing: TLS needs a cert and a key",
                "sidekey.toml:2:7: listen.tls.key: is missing: TLS needs a cert and a key",
                "sidekey.toml:2:7: listen.tls: needs listen.tcp, the address that is to speak TLS",
            ],
        ),
        (
            "tcp = \"127.0.0.1:1\"\nmetrics = \"0.0.0.0:1\"",
            vec!["sidekey.toml:3:11: listen.metrics: must have another port than listen.tcp"],
        ),
        (
            "metrics = \"f\"",
            vec!["sidekey.toml:2:11: listen.metrics: expected an address and a port such as \"127.0.0.1:7733\""],
        ),
    ] {
        assert_eq!(faults(&format!("[listen]\n{text}\n"), &inputs(&[])), told, "{text}");
    }
    let told = faults("[listen]\ntcp = \"0.0.0.0:1\"\ntls = { cert = \"/none\", key = \"/none\" }\n", &inputs(&[]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("sidekey.toml:3:16: listen.tls.cert: the file cannot be read: "), "{told:?}");
}

#[test]
fn a_snapshot_needs_both_its_files_and_its_key_somewhere_else() {
    let text = "[cache]\nsnapshot = { file = \"kept/snapshot\", key_file = \"/run/secrets/key\" }\n";
    let files = parse(text, &inputs(&[])).unwrap().snapshot.unwrap();
    assert_eq!((files.file.to_str(), files.key_file.to_str()), (Some("kept/snapshot"), Some("/run/secrets/key")));
    let by_variable = [("SIDEKEY_CACHE_SNAPSHOT_FILE", "/a/f"), ("SIDEKEY_CACHE_SNAPSHOT_KEY_FILE", "/b/k")];
    assert_eq!(parse("", &inputs(&by_variable)).unwrap().snapshot.unwrap().key_file.to_str(), Some("/b/k"));
    assert_eq!(parse("[cache]\nttl = \"1m\"\n", &inputs(&[])).unwrap().snapshot, None);
    for (table, told) in [
        ("{ file = \"f\" }", "cache.snapshot.key_file: is missing"),
        ("{ key_file = \"f\" }", "cache.snapshot.file: is missing"),
        ("{}", "cache.snapshot.file: is missing"),
        ("{ file = \"/a/f\", key_file = \"/a/k\" }", "cache.snapshot.key_file: must be in another folder"),
        ("{ file = \"/a/f\", key_file = \"/b/k\", max_age = \"1h\" }", "cache.snapshot.max_age: no such key"),
        ("\"f\"", "cache.snapshot: expected a table"),
    ] {
        let faults = faults(&format!("[cache]\nsnapshot = {table}\n"), &inputs(&[]));
        assert!(faults.iter().any(|fault| fault.contains(told)), "{table}: {faults:?}");
    }
}

#[test]
fn a_variable_stands_over_the_file_and_a_flag_over_both() {
    let text = "[cache]\nttl = \"1m\"\nnegative_ttl = \"7s\"\n[listen]\ntcp = \"127.0.0.1:1\"\nsocket = \"/a\"\n";
    let mut inputs =
        inputs(&[("SIDEKEY_CACHE_TTL", "2m"), ("SIDEKEY_LISTEN_TCP", "127.0.0.1:2"), ("SIDEKEY_LISTEN_SOCKET", "/b")]);
    inputs.flags.push(Flag { key: "listen.tcp", flag: "--tcp", value: "[::1]:3".to_owned() });
    let config = parse(text, &inputs).unwrap();
    assert_eq!(config.broker.cache.ttl, Duration::from_secs(120));
    assert_eq!(config.broker.cache.negative_ttl, Duration::from_secs(7));
    assert_eq!(config.listen.tcp, Some("[::1]:3".parse().unwrap()));
    assert_eq!(config.listen.socket.unwrap().path, Path::new("/b"));
}

#[test]
fn a_fault_of_a_variable_or_flag_is_told_by_its_own_name() {
    let mut inputs = inputs(&[("SIDEKEY_CACHE_TTL", "canary"), ("SIDEKEY_CACHE_TLT", "canary")]);
    inputs.flags.push(Flag { key: "listen.tcp", flag: "--tcp", value: "canary".to_owned() });
    assert_eq!(
        faults("", &inputs),
        [
            "SIDEKEY_CACHE_TLT: no such setting; did you mean 'SIDEKEY_CACHE_TTL'?",
            "SIDEKEY_CACHE_TTL: cache.ttl: expected a duration such as \"30s\" or \"5m\"",
            "--tcp: listen.tcp: expected an address and a port such as \"127.0.0.1:7733\"",
        ]
    );
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_of_our_name_are_not_ours() {
    let links = [
        ("SIDEKEY_SERVICE_HOST", "10.0.0.1"),
        ("SIDEKEY_SERVICE_PORT_HTTP", "80"),
        ("SIDEKEY_PORT", "tcp://10.0.0.1:80"),
        ("SIDEKEY_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(faults("", &inputs(&links)), Vec::<String>::new());
}

#[test]
fn nothing_but_the_three_variables_is_needed() {
    let config = parse("", &inputs(&[("XDG_RUNTIME_DIR", "/run/user/1000")])).unwrap();
    assert_eq!(config.listen.socket.as_ref().unwrap().path, Path::new("/run/user/1000/sidekey/sidekey.sock"));
    assert_eq!(config.listen.tcp, None);
    assert_eq!(config.sources.len(), 1);
    let root = parse("", &Inputs { uid: 0, ..inputs(&[]) }).unwrap();
    assert_eq!(root.listen.socket.unwrap().path, Path::new("/run/sidekey/sidekey.sock"));
}

#[test]
fn the_socket_can_be_switched_off_and_never_opened_to_everybody() {
    let config = parse("[listen]\nsocket = \"off\"\ntcp = \"127.0.0.1:0\"\n", &inputs(&[])).unwrap();
    assert_eq!(config.listen.socket, None);
    let told = faults("[listen]\nmode = \"0666\"\n", &inputs(&[]));
    assert_eq!(told, ["sidekey.toml:2:8: listen.mode: must not open the socket to all users: at most \"0770\""]);
    let told = faults("[listen]\nsocket = \"off\"\n", &inputs(&[]));
    assert_eq!(told, ["sidekey.toml:2:10: listen.socket: is off and listen.tcp is not set: nobody could ask"]);
}

#[test]
fn a_secret_in_the_environment_is_not_in_what_is_printed_of_a_configuration() {
    let inputs = inputs(&[]);
    let config = parse("", &inputs).unwrap();
    assert!(!format!("{config:?}{inputs:?}").contains("hunter2"));
}

#[test]
fn the_example_tells_the_defaults_and_every_key_in_it_is_one() {
    let example = include_str!("../../../deploy/sidekey.toml");
    let inputs = inputs(&[("XDG_RUNTIME_DIR", "/run/user/1000")]);
    let (as_it_is, nothing) = (parse(example, &inputs).unwrap(), parse("", &inputs).unwrap());
    assert_eq!((as_it_is.listen, as_it_is.log), (nothing.listen.clone(), nothing.log.clone()));

    // With its settings switched on, but for those that are examples or exclude others.
    let examples = [
        "group",
        "tcp",
        "tls",
        "metrics",
        "socket",
        "token_file",
        "order",
        "prefetch",
        "subscriptions",
        "include",
        "exclude",
        "tenant_id",
    ];
    let exclusive =
        ["authority_host", "resource_manager", "vault_suffixes", "managed_identity", "azure_cli", "certificate"];
    let setting = regex::Regex::new(r"^# (?:[a-z_]+ = |\[\[)").unwrap();
    let switched_on: Vec<_> = example
        .lines()
        .filter(|line| setting.is_match(line))
        .chain(example.lines().filter(|line| line.starts_with('[')))
        .filter(|line| !line.ends_with("…\"") && !line.contains("_file = \""))
        .filter(|line| !examples.iter().chain(&exclusive).any(|key| line.starts_with(&format!("# {key} "))))
        .collect();
    assert!(switched_on.len() > 20, "{switched_on:?}");
    // In the example's own order.
    let text: String = example
        .lines()
        .filter(|line| switched_on.contains(line))
        .map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = parse(&text, &inputs).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    assert_eq!(config.broker, nothing.broker);
    assert_eq!(config.budget, nothing.budget);
    assert_eq!(config.log, nothing.log);
    assert_eq!(config.sources[0].wire, nothing.sources[0].wire);
    assert_eq!(config.catalog.listing_interval, nothing.catalog.listing_interval);
    assert_eq!(config.catalog.discovery_interval, nothing.catalog.discovery_interval);
}
