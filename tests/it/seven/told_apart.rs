//! A missing secret, a refused identity, a missing right, a throttled vault, a broken vault and a name without an address
//! call for different acts. None of the last five is 'not found'.
use sidekey::emulator::{Effect, Fault, Respond};

use super::{azure, get};

/// A vault for each failure, as some of them close a whole vault for a while.
const VAULTS: [&str; 6] = ["well", "signed-out", "forbidding", "busy", "broken", "down"];

/// No name under it ever has an address (RFC 6761, 6.4).
const NOWHERE: &str = ".vault.invalid";

#[test]
fn a_refusal_a_limit_an_outage_and_a_name_without_address_are_never_not_found() {
    let one = |name| format!("[[vault]]\nname = \"{name}\"\nsubscription = \"first\"\n");
    let azure = azure(&VAULTS.map(one).concat());
    azure.configure_source(
        "[limits]\nretries = 0\n",
        &format!(
            "cloud = \"custom\"\nauthority_host = \"https://login.microsoftonline.com\"\n\
             resource_manager = \"https://management.azure.com\"\n\
             vault_suffixes = [\".vault.azure.net\", \"{NOWHERE}\"]\nvaults = [\"https://lost{NOWHERE}\"]\n"
        ),
    );
    let control = azure.emulator.control();
    for (vault, status, inner) in [
        ("signed-out", 401, "AKV10032"),
        ("forbidding", 403, "ForbiddenByRbac"),
        ("busy", 429, ""),
        ("broken", 500, ""),
        ("down", 503, ""),
    ] {
        let innererror = (!inner.is_empty()).then(|| inner.to_owned());
        control.fault(Fault::new(Effect::Respond(Respond { status, innererror, ..Respond::default() })).vault(vault));
    }
    let (_serving, _) = azure.serve("");

    for (vault, status, code, reason, exit, words) in [
        ("well", 404, "secret-not-found", "", 1, "has no secret db-password"),
        ("signed-out", 502, "sign-in-failed", "sign-in-failed", 77, "sign"),
        ("forbidding", 502, "vault-denied", "denied-by-rbac", 77, "role"),
        ("busy", 503, "vault-throttled", "throttled", 69, "throttles"),
        ("broken", 503, "vault-unavailable", "server-error", 69, "server error"),
        ("down", 503, "vault-unavailable", "server-error", 69, "server error"),
        ("lost", 503, "vault-unavailable", "dns-failure", 69, "does not resolve"),
    ] {
        let told = get(&azure, &format!("/v1/vaults/{vault}/secrets/db-password")).problem();
        assert_eq!(told, (status, code.to_owned(), reason.to_owned()), "{vault}");
        let run = azure.ask(&format!("get {vault} db-password"));
        assert_eq!((run.code, run.text()), (exit, ""), "{vault}: {}", run.err);
        assert!(run.err.contains(words), "{vault} does not say {words:?}: {}", run.err);
        assert_eq!(run.err.contains("no secret") || run.err.contains("not found"), exit == 1, "{vault}: {}", run.err);
    }

    // Nor where no vault is named: it may be in any of those that did not answer.
    let anywhere = get(&azure, "/v1/secrets/db-password");
    assert_eq!(anywhere.problem().1, "incomplete", "{}", anywhere.body);
    for vault in VAULTS.iter().skip(1).chain(&["lost"]) {
        assert!(anywhere.body.contains(vault), "{vault} is passed over in silence: {}", anywhere.body);
    }
    let run = azure.ask("get db-password");
    assert_eq!((run.code, run.err.contains("no secret")), (69, false), "{}", run.err);
}
