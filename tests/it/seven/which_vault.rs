//! An answer says which vault it is from, and where several hold the name there is no answer but their names.
use super::{azure, get, get_json};

const VAULTS: &str = r#"
[[vault]]
name = "alpha"
subscription = "first"
[[vault.secret]]
name = "only-here"
value = "one"
[[vault.secret]]
name = "twice"
value = "of alpha"
[[vault]]
name = "beta"
subscription = "second"
[[vault.secret]]
name = "twice"
value = "of beta"
"#;

#[test]
fn an_answer_names_its_vault_and_several_are_an_error_with_the_candidates() {
    let azure = azure(VAULTS);
    let (_serving, _) = azure.serve("");

    let plain = get(&azure, "/v1/secrets/only-here");
    assert_eq!((plain.body.as_str(), plain.header("sidekey-vault")), ("one", Some("alpha")));
    let json = get_json(&azure, "/v1/secrets/only-here").json();
    assert_eq!((&json["vault"], &json["reference"]), (&"alpha".into(), &"secret://alpha/only-here".into()));
    assert_eq!(azure.ask("get only-here --json").json()["vault"], "alpha");
    let found = azure.ask("search only-here").json();
    assert_eq!((&found["hits"][0]["vault"], found["hits"].as_array().unwrap().len()), (&"alpha".into(), 1));

    let candidates = ["secret://alpha/twice", "secret://beta/twice"];
    let several = get(&azure, "/v1/secrets/twice");
    assert_eq!((several.status, several.problem().1.as_str()), (409, "ambiguous"));
    assert_eq!(several.json()["candidates"], serde_json::json!(candidates));
    assert!(!several.body.contains("of alpha") && !several.body.contains("of beta"), "{}", several.body);
    for run in [azure.ask("get twice"), azure.direct("get twice")] {
        assert_eq!((run.code, run.text()), (1, ""), "{}", run.err);
        assert!(candidates.iter().all(|candidate| run.err.contains(candidate)), "{}", run.err);
    }
    // Any of the candidates is an address that can be asked for.
    assert_eq!(azure.ask("get secret://beta/twice").text(), "of beta");
}

#[test]
fn which_vault_wins_is_decided_by_the_configuration_and_by_nothing_else() {
    let azure = azure(VAULTS);
    azure.configure("[search]\norder = [\"beta\"]\n");
    let (_serving, _) = azure.serve("");
    let answer = get(&azure, "/v1/secrets/twice");
    assert_eq!((answer.body.as_str(), answer.header("sidekey-vault")), ("of beta", Some("beta")));
}
