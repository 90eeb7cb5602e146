//! How `render` ends that is told to.

use std::process::{Command, Stdio};

use super::House;
use crate::cli::process::{SIDEKEY, Staying, command, finish};

#[test]
fn told_to_end_while_it_watches_it_ends_in_order_and_leaves_no_command_behind() {
    let house = House::new();
    let (_serving, _) = house.azure.serve("");
    let (template, out) = (house.write("t.j2", "{{ secret('pay-prod/db-password') }}"), house.at("a.out"));
    let socket = house.azure.socket();
    let render = |more: &[&str]| {
        let args = ["render", "--addr", &socket, "-t", &template, "-o", &out];
        let mut watching = Staying::start(command(args.iter().chain(more)));
        watching.read_until("begun");
        let code = watching.stop();
        // Whoever is left holds it open.
        (code, watching.rest())
    };
    let hangs = "sleep 1000 & echo begun; wait";
    assert_eq!(render(&["--watch", "--on-change", hangs]), (Some(0), String::new()));
    std::fs::remove_file(&out).unwrap();
    assert_eq!(render(&["--on-change", hangs]), (Some(74), String::new()), "what was to be run was not");
}

#[test]
fn as_the_first_process_it_ends_when_it_is_told_to() {
    let house = House::new();
    let (_serving, _) = house.azure.serve("");
    let (template, out) = (house.write("t.j2", "{{ secret('pay-prod/db-password') }}"), house.at("a.out"));
    let apart = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
    let mut first = Command::new("unshare");
    first.args(apart).arg(SIDEKEY).args(["render", "--addr", &house.azure.socket(), "-t", &template, "-o", &out]);
    // The kernel gives it no signal that it does not take itself.
    first.args(["--watch", "--on-change", "kill -TERM 1"]);
    let run = finish(first.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()));
    if run.err.contains("unshare: ") {
        eprintln!("not shown: a pid namespace ({})", run.err.trim());
        return;
    }
    assert_eq!(run.code, 0, "{}", run.err);
}
