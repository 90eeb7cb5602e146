//! Every subscription is searched, by whichever way there is, and what Resource Manager does not show is united with it.
use sidekey::emulator::{Effect, Endpoint, Fault, Respond};

use super::{azure, get};

const VAULTS: &str = r#"
[[vault]]
name = "alpha"
subscription = "first"
[[vault.secret]]
name = "redis-of-alpha"
[[vault]]
name = "beta"
subscription = "second"
[[vault.secret]]
name = "redis-of-beta"
[[vault]]
name = "gamma"
subscription = "second"
hidden = true
[[vault.secret]]
name = "redis-of-gamma"
value = "hidden"
"#;

#[test]
fn all_subscriptions_are_searched_and_a_vault_that_is_not_shown_is_united_with_them() {
    let azure = azure(VAULTS);
    azure.configure_source("", "vaults = [\"gamma\"]");
    let control = azure.emulator.control();
    let refused = || Effect::Respond(Respond::status(403));
    // By Resource Graph; subscription by subscription; and where Resource Manager shows nothing at all.
    for (closed, found) in [
        (vec![], vec!["alpha", "beta", "gamma"]),
        (vec![Endpoint::Graph], vec!["alpha", "beta", "gamma"]),
        (vec![Endpoint::Graph, Endpoint::Subscriptions, Endpoint::Vaults], vec!["gamma"]),
    ] {
        control.clear_faults();
        for endpoint in &closed {
            control.fault(Fault::new(refused()).on(*endpoint));
        }
        let (_serving, _) = azure.serve("");
        let answer = get(&azure, "/v1/search?q=redis").json();
        let of = |hit: &serde_json::Value| hit["vault"].as_str().unwrap().to_owned();
        let mut vaults: Vec<_> = answer["hits"].as_array().unwrap().iter().map(of).collect();
        vaults.sort();
        assert_eq!(vaults, found, "without {closed:?}");
        // What kept it from seeing every subscription is told, never taken for 'there are none'.
        assert_eq!(answer["complete"], found.len() == 3, "without {closed:?}: {answer}");
        assert_eq!(get(&azure, "/v1/secrets/redis-of-gamma").body, "hidden", "without {closed:?}");
    }
}
