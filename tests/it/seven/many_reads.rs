//! One token for many reads, vaults asked side by side, a limit to every wait, and an exit code that tells of failure.
use std::time::Duration;

use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::emulator::{Effect, Endpoint, Fault};
use sidekey::vaults::VaultInfo;
use tokio::time::Instant;

use super::{azure, get};
use crate::catalog::estate::{Act, Round, Scripted, ScriptedSource};

const VAULTS: &str = r#"
[[vault]]
name = "alpha"
subscription = "first"
[[vault.bulk]]
pattern = "filler-{}"
count = 20
[[vault]]
name = "beta"
subscription = "second"
[[vault.bulk]]
pattern = "filler-{}"
count = 20
"#;

#[test]
fn many_reads_of_many_vaults_take_one_token() {
    let azure = azure(VAULTS);
    let (_serving, _) = azure.serve("");
    for number in 0..20 {
        for vault in ["alpha", "beta"] {
            assert_eq!(get(&azure, &format!("/v1/vaults/{vault}/secrets/filler-{number}")).status, 200);
        }
    }
    let calls = azure.emulator.control().calls();
    assert_eq!((calls.vault("alpha", Endpoint::Get), calls.vault("beta", Endpoint::Get)), (20, 20));
    assert_eq!(calls.endpoint(Endpoint::Token), 2, "one for Resource Manager, one for all vaults");
}

#[tokio::test(start_paused = true)]
async fn twenty_vaults_take_as_long_as_one() {
    let each = Duration::from_millis(500);
    let vault = |number| {
        let info = VaultInfo::new("s".parse().unwrap(), format!("vault-{number}").parse().unwrap());
        Scripted::of(info, Act::TellAfter(each, Vec::new()))
    };
    let round = Round { vaults: (0..20).map(vault).collect(), ..Round::default() };
    let catalog = Catalog::new(vec![ScriptedSource::new("s", round)], CatalogOptions::default());
    let began = Instant::now();
    catalog.refresh(None).await;
    assert_eq!(catalog.progress().borrow().listed, 20);
    // By the paused clock, which nothing but these waits moves.
    assert!(began.elapsed() < each * 2, "{:?}", began.elapsed());
}

#[test]
fn no_listing_waits_for_another_to_end() {
    let azure = azure(VAULTS);
    azure.configure("[limits]\nattempt_timeout = \"30s\"\ncall_timeout = \"5m\"\n");
    let control = azure.emulator.control();
    // No listing is ever answered: two of them are begun only if neither waits for the other's end.
    control.fault(Fault::new(Effect::Hang).on(Endpoint::List));
    let config = azure.config();
    let searching = crate::cli::process::command(["search", "filler", "--direct", "--config", &config]);
    let searching = crate::cli::process::Staying::start(searching);
    let begun = |vault| control.calls().vault(vault, Endpoint::List);
    while begun("alpha") == 0 || begun("beta") == 0 {
        assert!(begun("alpha") < 2 && begun("beta") < 2, "one was given up before the other was begun");
        std::thread::yield_now();
    }
    drop(searching);
}

#[test]
fn whatever_never_answers_is_given_up_with_words_and_an_exit_code() {
    let azure = azure(VAULTS);
    azure.configure("[limits]\nattempt_timeout = \"300ms\"\ncall_timeout = \"500ms\"\nread_timeout = \"1s\"\n");
    let control = azure.emulator.control();
    let (_serving, _) = azure.serve("");
    control.fault(Fault::new(Effect::Hang).on(Endpoint::Get));
    let cold = get(&azure, "/v1/vaults/alpha/secrets/filler-1");
    assert_eq!(cold.problem(), (504, "vault-timeout".into(), "timed-out".into()));

    for (hanging, line) in [
        (vec![Endpoint::Get], "get alpha filler-1"),
        (vec![Endpoint::Token], "get alpha filler-1"),
        (vec![Endpoint::Graph, Endpoint::Subscriptions], "get alpha filler-1"),
        (vec![Endpoint::Graph, Endpoint::Vaults], "get alpha filler-1"),
        (vec![Endpoint::List], "get filler-1"),
        (vec![Endpoint::List], "list alpha"),
        (vec![Endpoint::List], "search absent"),
    ] {
        control.clear_faults();
        for endpoint in &hanging {
            control.fault(Fault::new(Effect::Hang).on(*endpoint));
        }
        let run = azure.direct(line);
        assert_eq!(run.code, 69, "{line}, while {hanging:?} hangs: {run:?}");
        assert!(run.err.contains("time"), "{line}, while {hanging:?} hangs: {}", run.err);
    }
}

#[test]
fn no_failure_ends_with_exit_code_0() {
    let azure = azure(VAULTS);
    for line in ["get alpha absent", "get absent", "get nowhere filler-1", "get filler-1", "list nowhere"] {
        let run = azure.direct(line);
        assert_eq!((run.code, run.text()), (1, ""), "{line}: {}", run.err);
    }
    azure.sign_in_with("wrong");
    for line in ["get alpha filler-1", "get filler-1", "search filler", "list", "list alpha", "vaults"] {
        let run = azure.direct(line);
        assert_eq!(run.code, 77, "{line}: {run:?}");
    }
}
