//! Clients on the command line: what they may do, and what becomes of a change.

use std::fs;

use rustix::process::Signal;

use super::process::{Azure, sidekey};

/// A configuration with these clients, which have their tokens.
fn configure(azure: &Azure, clients: &str) {
    azure.only("pay-prod", clients);
    let text = fs::read_to_string(azure.config()).unwrap().replace("token_file = \"token\"\n", "");
    fs::write(azure.config(), text).unwrap();
}

#[test]
fn check_explains_what_a_client_may_do_from_the_configuration_alone() {
    let azure = Azure::demo();
    configure(
        &azure,
        "[[client]]\nname = \"orders\"\nuid = 1001\nread = [\"shared/*\", \"pay-prod/orders-*\"]\n\
         [[client]]\nname = \"ops\"\ngid = 5\nread = [\"*/root\"]\nlist = [\"*/*\"]",
    );
    let config = azure.config();
    let check = |words: &[&str]| sidekey(["check", "--config", &config].iter().chain(words));
    let run =
        check(&["--as", "orders", "secret://pay-prod/orders-db", "shared/x@0123456789abcdef0123456789abcdef", "x"]);
    assert_eq!(run.code, 0, "{run:?}");
    for line in [
        "client    orders: uid 1001; reads shared/*, pay-prod/orders-*; lists nothing",
        "secret://pay-prod/orders-db",
        "  read  granted to orders by pay-prod/orders-*",
        "  list  no: no pattern covers it",
        "  read  granted to orders by shared/*",
        "secret://*/x",
    ] {
        assert!(run.text().lines().any(|told| told == line), "{line}: {}", run.text());
    }
    let run = check(&["--as", "orders", "shared/x", "other:shared/x"]);
    assert_eq!(run.code, 77, "{run:?}");
    assert!(
        run.text()
            .ends_with("secret://other:shared/x\n  read  no: no pattern covers it\n  list  no: no pattern covers it\n")
    );
    let run = check(&["--as", "orders+ops", "any/root"]);
    assert_eq!(run.code, 0);
    assert!(run.text().contains("  list  granted to ops by */*"), "{}", run.text());
    let run = check(&["--as", "order", "any/root"]);
    assert!(run.code == 64 && run.err.contains("known are orders, ops"), "{run:?}");
    assert_eq!(check(&["any/root"]).code, 64);
    assert!(check(&[]).text().contains("client    ops: gid 5; reads */root; lists */*"));
}

#[test]
fn a_reload_takes_new_clients_in_and_one_with_a_fault_changes_nothing() {
    let azure = Azure::demo();
    let uid = rustix::process::geteuid().as_raw();
    let of = |uid: u32, read: &str| format!("[[client]]\nname = \"app\"\nuid = {uid}\nread = [{read:?}]\n");
    configure(&azure, &of(uid, "pay-prod/db-*"));
    let (mut serving, told) = azure.begin("serve");
    told.until("first round done");
    let get = |name: &str| azure.ask(&format!("get pay-prod {name}")).code;
    assert_eq!((get("db-password"), get("stripe-api-key"), get("none")), (0, 77, 77));
    assert_eq!(azure.ask("search db").json()["hits"], serde_json::json!([]), "nothing is granted to be listed");
    configure(&azure, &of(uid, "pay-prod/none"));
    serving.signal(Signal::HUP);
    told.until("the new configuration is in force");
    assert_eq!((get("db-password"), get("none")), (77, 1));
    configure(&azure, &of(65_534, "*/*"));
    serving.signal(Signal::HUP);
    assert!(told.until("stays in force").contains("client[1].uid"));
    assert_eq!(get("db-password"), 77);
    // Whoever is no client is heard by nobody, but that our own user may ask whether it is well.
    configure(&azure, &of(uid + 1, "*/*"));
    serving.signal(Signal::HUP);
    told.until("the new configuration is in force");
    assert_eq!((get("db-password"), azure.ask("healthcheck").code), (77, 0));
    configure(&azure, "");
    serving.signal(Signal::HUP);
    told.until("the new configuration is in force");
    assert_eq!(get("db-password"), 0);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn a_second_factor_is_sent_on_the_socket_by_who_has_it() {
    let azure = Azure::demo();
    let uid = rustix::process::geteuid().as_raw();
    let client = format!("[[client]]\nname = \"app\"\nuid = {uid}\ntoken_file = \"factor\"\nread = [\"*/*\"]\n");
    configure(&azure, &client);
    let (_serving, told) = azure.begin("serve");
    told.until("first round done");
    assert_eq!(azure.ask("get pay-prod db-password").code, 77);
    let file = azure.path("factor").display().to_string();
    assert_eq!(azure.ask(&format!("get pay-prod db-password --token-file {file}")).text(), "Autumn-2026-staple");
}
