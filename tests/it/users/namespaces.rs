use super::rules::client;
use super::{House, then_unshare, user};
use crate::cli::process::sidekey;

#[test]
fn the_root_of_another_user_namespace_is_the_user_that_it_is_outside() {
    let Some(house) = House::new("", &client("uid = 1001")) else { return };
    let _sidecar = house.serve();
    house.gives(&then_unshare(user(1001), "--user --map-root-user"));
    house.gives(&then_unshare(user(1001), "--user --map-user=4711"));
    // What it calls itself in there counts for nothing.
    house.denies(&then_unshare(user(1002), "--user --map-user=1001 --map-group=1001"));
    house.denies(&then_unshare(user(1002), "--user"));
}

#[test]
fn inner_root_is_not_outer_root() {
    let Some(house) = House::new("", &client("uid = 0")) else { return };
    let _sidecar = house.serve();
    house.gives(&[]);
    house.denies(&then_unshare(user(1001), "--user --map-root-user"));
}

#[test]
fn who_has_no_number_in_the_sidecars_own_namespace_is_nobody() {
    let Some(house) = House::new("", &(client("uid = 0") + &another("uid = 1001"))) else { return };
    // It knows one user, 0; every other one is shown to it as 65534.
    let _sidecar = house.serve_as(&then_unshare(Vec::new(), "--user --map-root-user"));
    house.gives(&[]);
    house.denies(&user(1001));
    house.denies(&user(65_534));
    house.denies(&then_unshare(user(1001), "--user --map-root-user"));
}

#[test]
fn nobody_can_be_granted_anything() {
    for who in ["uid = 65534", "gid = 65534"] {
        let Some(house) = House::new("", &client(who)) else { return };
        let run = sidekey(["check", "--config", &house.azure.config()]);
        assert_eq!(run.code, 78, "{run:?}");
        assert!(run.err.contains("nobody"), "{run:?}");
    }
}

#[test]
fn a_peer_is_known_whatever_pid_namespace_it_is_in() {
    let Some(house) = House::new("", &client("uid = 1001")) else { return };
    let apart = "--pid --fork --kill-child";
    {
        // As in a pod: to the sidecar, in its own namespace, every peer's pid is 0.
        let _sidecar = house.serve_as(&then_unshare(Vec::new(), apart));
        house.gives(&user(1001));
        house.denies(&user(1002));
        let sibling = then_unshare(Vec::new(), apart);
        house.gives(&[sibling.clone(), user(1001)].concat());
        house.denies(&[sibling, user(1002)].concat());
        house.denies(&then_unshare(Vec::new(), apart));
    }
    // The other way round it sees the pid, and does not care. In a house of its own: the other one ends when it will.
    let Some(house) = House::new("", &client("uid = 1001")) else { return };
    let _sidecar = house.serve();
    house.gives(&then_unshare(user(1001), &format!("--user --map-root-user {apart}")));
    house.denies(&then_unshare(user(1002), &format!("--user --map-root-user {apart}")));
}

fn another(who: &str) -> String {
    client(who).replace("orders", "invoices")
}
