//! `[[credential]]`: what is not said right gives nobody anything.

use super::{faults, inputs, parse};

#[test]
fn what_units_are_given_is_read_with_the_socket_for_root_alone() {
    let text = "\
[listen]
credentials = \"/run/sidekey/credentials.sock\"
[[credential]]
unit = \"orders.service\"
id = \"db-password\"
ref = \"secret://pay/db\"
[[credential]]
unit = \"orders@*.service\"
id = \"db-password\"
ref = \"secret://pay/db#/user\"
required = false
";
    let config = parse(text, &inputs(&[])).unwrap();
    assert_eq!(config.listen.credentials.unwrap().mode, 0o600);
    let told: Vec<_> = config.credentials.iter().map(|rule| (rule.unit.glob().glob(), rule.required)).collect();
    assert_eq!(told, [("orders.service", true), ("orders@*.service", false)]);
    assert!(config.credentials[1].unit.is_match("orders@7.service"));
    assert!(parse("", &inputs(&[])).unwrap().listen.credentials.is_none());
}

#[test]
fn every_fault_of_a_credential_is_told_with_its_place() {
    let text = "\
[listen]
socket = \"/run/sidekey/s.sock\"
credentials = \"/run/sidekey/s.sock\"
[[credential]]
unit = \"orders\"
id = \"a/b\"
ref = \"canary\"
[[credential]]
unit = \"orders.service\"
id = \"db\"
ref = \"secret://pay/db\"
[[credential]]
unit = \"orders.service\"
id = \"db\"
reference = \"secret://pay/db\"
";
    let told = faults(text, &inputs(&[])).join("\n");
    for expected in [
        ":3:15: listen.credentials: must be another path than listen.socket",
        ":5:8: credential[1].unit: expected a unit's name with its type",
        ":6:6: credential[1].id: expected a credential's name",
        ":7:7: credential[1].ref: expected a reference",
        ":14:6: credential[3].id: another [[credential]] is for the same unit and id",
        "credential[3].ref: must be set",
        ":15:1: credential[3].reference: no such key",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
    assert!(!told.contains("canary"), "{told}");
    let told = faults("[[credential]]\nunit = \"a.service\"\nid = \"b\"\nref = \"secret://a/b\"\n", &inputs(&[]));
    assert!(told[0].contains("credential[1]: needs listen.credentials"), "{told:?}");
}
