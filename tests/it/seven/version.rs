//! Who asks for a version gets that version or an error, whether the vault is named or not.
use super::{azure, get, get_json};

#[test]
fn a_version_is_honoured_in_a_get_and_in_a_get_from_whichever_vault_has_it() {
    // Both vaults hold the name: a version belongs to one secret only.
    let azure = azure(
        r#"
[[vault]]
name = "alpha"
subscription = "first"
[[vault.secret]]
name = "db-password"
versions = [{ value = "older", created = "-30d" }]
value = "newer"
[[vault]]
name = "beta"
subscription = "second"
[[vault.secret]]
name = "db-password"
value = "another"
"#,
    );
    let (_serving, _) = azure.serve("");
    let versions = get(&azure, "/v1/vaults/alpha/secrets/db-password/versions").json();
    let versions: Vec<_> = versions["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["version"].as_str().unwrap().to_owned())
        .collect();
    let [newer, older] = versions.as_slice() else { panic!("{versions:?}") };

    assert_eq!(get(&azure, "/v1/vaults/alpha/secrets/db-password").body, "newer");
    for (version, value) in [(older, "older"), (newer, "newer")] {
        for path in [
            format!("/v1/vaults/alpha/secrets/db-password/versions/{version}"),
            format!("/v1/secrets/db-password?version={version}"),
        ] {
            let answer = get_json(&azure, &path).json();
            assert_eq!((&answer["value"], &answer["version"]), (&value.into(), &version.as_str().into()), "{path}");
        }
        for line in ["get alpha db-password", "get db-password"] {
            let run = azure.ask(&format!("{line} --version {version}"));
            assert_eq!((run.code, run.text()), (0, value), "{line}: {}", run.err);
            let run = azure.direct(&format!("{line} --version {version}"));
            assert_eq!((run.code, run.text()), (0, value), "{line}: {}", run.err);
        }
    }

    // A version that is not there is no reason to give another.
    let unknown = "0".repeat(32);
    for path in [
        format!("/v1/vaults/alpha/secrets/db-password/versions/{unknown}"),
        format!("/v1/secrets/db-password?version={unknown}"),
    ] {
        assert_eq!(get(&azure, &path).problem().1, "version-not-found", "{path}");
    }
    for line in ["get alpha db-password", "get db-password"] {
        let run = azure.ask(&format!("{line} --version {unknown}"));
        assert_eq!((run.code, run.text()), (1, ""), "{line}: {}", run.err);
    }
}
