//! `[[client]]`: what is not said right lets nobody in.

use std::path::Path;

use sidekey::access::Client;

use super::{faults, inputs, parse};

#[test]
fn clients_are_read_with_their_patterns_and_their_files_beside_the_configuration() {
    let text = "\
[listen]
tcp = \"127.0.0.1:0\"
[[client]]
name = \"orders\"
uid = 1001
gid = 50
token_file = \"tokens/orders\"
read = [\"pay-prod/orders-*\", \"secret://shared/*\"]
list = [\"*/*\"]
[[client]]
name = \"ops.2\"
certificate = \"spiffe://prod/ops\"
";
    let config = super::Config::parse(Some(Path::new("/etc/sidekey/sidekey.toml")), text, &inputs(&[])).unwrap();
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let orders = Client {
        name: "orders".to_owned(),
        uid: Some(1001),
        gid: Some(50),
        token_file: Some("/etc/sidekey/tokens/orders".into()),
        certificate: None,
        read: patterns(&["pay-prod/orders-*", "secret://shared/*"]),
        list: patterns(&["*/*"]),
    };
    let certificate = Some("spiffe://prod/ops".to_owned());
    let ops = Client { name: "ops.2".to_owned(), certificate, ..Client::default() };
    assert_eq!(config.access.clients, [orders, ops]);
    assert_eq!(config.access.token_file, None, "tokens are the clients'");
    let without = parse("[listen]\ntcp = \"127.0.0.1:0\"\n", &inputs(&[])).unwrap().access;
    assert!(without.clients.is_empty() && without.token_file.is_some());
    assert_eq!(parse("", &inputs(&[])).unwrap().access.token_file, None, "nobody comes over TCP");
}

#[test]
fn every_fault_of_a_client_is_told_with_its_place() {
    let text = "\
[listen]
token_file = \"token\"
[[client]]
name = \"a\"
[[client]]
uid = 65534
[[client]]
name = \"a\"
gid = 4294967295
certificate = \"*.internal\"
token = \"canary\"
[[client]]
name = \"with space\"
uid = \"canary\"
token_file = \"t\"
read = [\"pay\", \"pay/[\"]
reads = []
[[client]]
name = \"b\"
uid = 1
token_file = \"t\"
certificate = \"b.internal\"
";
    let told = faults(text, &inputs(&[]));
    for (line, key, what) in [
        (2, "listen.token_file", "name the file in a [[client]]"),
        (3, "client[1]", "nothing says who it is"),
        (5, "client[2].name", "must be set"),
        (6, "client[2].uid", "it is nobody"),
        (8, "client[3].name", "another client has that name"),
        (9, "client[3].gid", "expected the number"),
        (10, "client[3].certificate", "without '*'"),
        (11, "client[3].token", "does not belong here"),
        (13, "client[4].name", "expected at most 63"),
        (14, "client[4].uid", "expected a whole number"),
        (16, "client[4].read", "entry 1"),
        (16, "client[4].read", "entry 2"),
        (17, "client[4].reads", "did you mean 'read'"),
        (21, "client[5].token_file", "another client has that file"),
        (22, "client[5].certificate", "cannot stand beside uid"),
    ] {
        let start = format!("sidekey.toml:{line}:");
        let fits =
            |fault: &&String| fault.starts_with(&start) && fault.contains(&format!(" {key}: ")) && fault.contains(what);
        assert_eq!(told.iter().filter(fits).count(), 1, "{line} {key} {what}: {told:#?}");
    }
    assert_eq!(told.len(), 15, "{told:#?}");
    assert!(!told.concat().contains("canary"), "{told:#?}");
}
