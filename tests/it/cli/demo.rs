//! The first thing that a newcomer runs.
use std::path::Path;
use std::process::{Command, Stdio};

use super::process::{Run, Staying, command, finish};

/// The commands that the demo prints, each with the line that says what it shows.
fn printed(greeting: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = greeting.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("# ")?.to_owned(), pair[1].to_owned())));
    pairs.collect()
}

/// As it would be pasted into a shell.
fn paste(line: &str) -> Run {
    finish(Command::new("sh").args(["-c", line]).stdin(Stdio::null()))
}

#[test]
fn every_command_that_the_demo_prints_works_as_printed_and_nothing_outlives_it() {
    let mut demo = Staying::start(command(["demo"]));
    let greeting = demo.read_until("ready");
    let commands = printed(&greeting);
    assert!(commands.len() >= 10, "{greeting}");
    assert!(greeting.starts_with("sidekey demo: 10 vaults, of which 7 could be listed, 298 secrets;"), "{greeting}");
    let run = |about: &str| {
        let (_, line) = commands.iter().find(|(what, _)| what.contains(about)).unwrap_or_else(|| panic!("{about}"));
        paste(line)
    };

    for way in ["curl over the socket", "over TCP"] {
        let run = run(way);
        assert_eq!((run.code, run.text()), (0, "Autumn-2026-staple\n"), "{way}: {}", run.err);
    }
    assert_eq!(run("as JSON").json()["version"].as_str().map(str::len), Some(32));

    let held = run("Where is redis-password");
    assert_eq!(held.code, 0);
    for vault in ["orders-prod", "pay-dev", "pay-prod", "platform-shared"] {
        assert!(held.text().contains(vault), "{}", held.text());
    }
    // It is there too, behind a firewall: the answer says that it cannot know.
    assert!(held.err.contains("legacy-shared: firewall: "), "{}", held.err);
    let disabled = run("Only the disabled ones");
    assert_eq!(disabled.text().lines().count(), 2, "{}", disabled.text());
    assert!(disabled.text().contains("pay-dev"));

    let ambiguous = run("an error with the candidates");
    assert_eq!((ambiguous.code, ambiguous.text()), (1, ""));
    assert!(ambiguous.err.contains("secret://orders-prod/redis-password, secret://pay-dev/redis-password"));

    let expiring = run("What expires within 30 days");
    let names: Vec<_> = expiring.text().lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names[..2], ["lake-sas-token", "stripe-api-key"], "{}", expiring.text());
    assert!(!expiring.text().contains("cdn-purge-token"), "what has expired is asked for by --expired");

    let vaults = run("Which vaults could not be asked");
    let line = |vault: &str| vaults.text().lines().find(|line| line.starts_with(vault)).unwrap_or_default().to_owned();
    assert!(line("legacy-shared").contains("firewall: "), "{}", vaults.text());
    assert!(line("reports-dev").contains("throttled: "), "{}", vaults.text());
    assert!(line("fabrikam-billing").contains("foreign-tenant: "), "{}", vaults.text());
    assert!(line("pay-prod").ends_with("ok"), "{}", vaults.text());

    assert_eq!(run("One field").text(), "demo-paypal");
    let pem = run("as PEM");
    assert!(pem.text().starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.text().contains("BEGIN CERTIFICATE"));

    let started = run("A program whose environment");
    assert_eq!((started.code, started.text()), (0, "postgres://app:Autumn-2026-staple@db/shop\n"), "{}", started.err);

    let doctor = run("What is missing");
    assert_eq!(doctor.code, 77, "{}", doctor.err);
    for told in [
        "sign-in: ok as client-secret",
        "by Resource Graph; 3 subscriptions",
        "az keyvault set-policy --name data-shared --spn 5ec2e7aa-0000-4000-8000-000000051de0 --secret-permissions get list",
        "az keyvault network-rule add --name legacy-shared",
        "not asked: it belongs to tenant b41b72d0",
    ] {
        assert!(doctor.text().contains(told), "{told}: {}", doctor.text());
    }

    let socket = commands[0].1.split_whitespace().nth(3).unwrap().to_owned();
    let folder = Path::new(&socket).parent().unwrap();
    assert_eq!(super::process::mode(folder), 0o700);
    assert!(folder.join("ca.pem").exists());
    assert_eq!(demo.stop(), Some(0));
    assert!(!folder.exists(), "its socket, token and certificate are gone with it");
}
