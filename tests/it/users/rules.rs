use super::{House, privileges, user, user_in};

const GROUP: u32 = 64_242;

#[test]
fn the_sockets_mode_lets_its_group_in_and_nobody_else() {
    let Some(house) = House::new(&format!("mode = \"0660\"\ngroup = \"{GROUP}\""), "") else { return };
    let _sidecar = house.serve();
    house.gives(&user_in(1001, GROUP));
    house.gives(&user(GROUP));
    house.is_closed_to(&user(1001));
    house.is_closed_to(&user_in(1001, GROUP + 1));
    // To connect is to write.
    house.open_socket(0o664);
    house.is_closed_to(&user(1001));
    house.open_socket(0o662);
    house.gives(&user(1001));
}

#[test]
fn a_rule_about_a_user_goes_by_the_effective_user_and_by_no_other() {
    let Some(house) = House::new("", &client("uid = 1001")) else { return };
    let _sidecar = house.serve();
    house.gives(&user(1001));
    house.turns_away(&user(1002));
    house.turns_away(&user_in(1002, 1001));
    // Whoever runs the sidecar has no right by that.
    house.denies(&[]);
    house.turns_away(&user(65_534));
    house.gives(&privileges("--ruid 1002 --euid 1001 --regid 1002 --clear-groups"));
    house.denies(&privileges("--ruid 1001 --euid 1002 --regid 1001 --clear-groups"));
}

#[test]
fn a_rule_about_a_group_counts_every_group_of_the_process() {
    let Some(house) = House::new("", &client(&format!("gid = {GROUP}"))) else { return };
    let _sidecar = house.serve();
    house.gives(&user(GROUP));
    house.gives(&user_in(1001, GROUP));
    let many: Vec<_> = (1..200).map(|other| (70_000 + other).to_string()).chain([GROUP.to_string()]).collect();
    house.gives(&privileges(&format!("--reuid 1001 --regid 1001 --groups {}", many.join(","))));
    house.denies(&user(1001));
    house.denies(&user_in(1001, GROUP + 1));
    house.denies(&user_in(GROUP - 1, 65_534));
    // A user's number is no group's.
    house.denies(&privileges(&format!("--reuid {GROUP} --regid 1001 --clear-groups")));
}

#[test]
fn a_rule_about_both_wants_both() {
    let Some(house) = House::new("", &client(&format!("uid = 1001\ngid = {GROUP}"))) else { return };
    let _sidecar = house.serve();
    house.gives(&user_in(1001, GROUP));
    house.denies(&user(1001));
    house.denies(&user_in(1002, GROUP));
}

/// A rule that gives what everybody asks for.
pub(super) fn client(who: &str) -> String {
    format!("[[client]]\nname = \"orders\"\n{who}\nread = [\"pay-prod/db-*\"]\n")
}
