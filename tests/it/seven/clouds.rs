//! The other clouds' vaults are found and read: under their suffix, signed in at their authority, for their scope.
use serde_json::json;

use crate::azure::stage::{Asked, Reply, SECRET, Stage, TENANT, VERSION, usual};
use crate::cli::process::{Run, sidekey};

/// Signs in at the stage, which knows every cloud's names, and reads one secret.
async fn read(stage: &Stage, cloud: &str) -> Run {
    let to = stage.address();
    std::fs::write(stage.path("client-secret"), SECRET).unwrap();
    let hosts = [
        "login.microsoftonline.us",
        "*.usgovcloudapi.net",
        "login.chinacloudapi.cn",
        "management.chinacloudapi.cn",
        "*.vault.azure.cn",
        "*.private.example",
    ];
    let resolve = hosts.map(|host| format!("\"{host}\" = \"{to}\"")).join(", ");
    let text = format!(
        "[[source]]\ntenant_id = \"{TENANT}\"\nclient_id = \"app-1\"\nclient_secret_file = \"client-secret\"\n\
         ca_file = \"ca.pem\"\nresolve = {{ {resolve} }}\n{cloud}\n"
    );
    let file = stage.path("sidekey.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let run = move || sidekey(["get", "pay", "db-password", "--direct", "--config", &file]);
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A cloud with one vault `pay`, which Resource Graph shows.
fn answer(asked: &Asked, suffix: &str) -> Reply {
    let host = format!("pay.{suffix}");
    if asked.host.starts_with("management.") {
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/pay";
        let row =
            json!({ "id": id, "vaultUri": format!("https://{host}/"), "vaultTenant": TENANT, "tenantId": TENANT });
        return Reply::json(200, &json!({ "data": [row], "count": 1, "resultTruncated": "false" }));
    }
    if asked.host == host && asked.authorization.is_none() {
        let authority = format!("https://login.elsewhere.example/{TENANT}");
        return Reply::challenge_of(&format!(r#"Bearer authorization="{authority}", resource="https://{suffix}""#));
    }
    if asked.host == host { Reply::secret(&host, "db-password", VERSION, "its value") } else { usual(asked) }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clouds_are_signed_in_to_at_their_own_authority_for_their_own_scope() {
    let private = "cloud = \"custom\"\nauthority_host = \"https://login.private.example\"\n\
                   resource_manager = \"https://management.private.example\"\n\
                   vault_suffixes = [\".vault.private.example\"]";
    for (cloud, authority, manager, suffix) in [
        ("cloud = \"china\"", "login.chinacloudapi.cn", "management.chinacloudapi.cn", "vault.azure.cn"),
        (
            "cloud = \"us-government\"",
            "login.microsoftonline.us",
            "management.usgovcloudapi.net",
            "vault.usgovcloudapi.net",
        ),
        (private, "login.private.example", "management.private.example", "vault.private.example"),
    ] {
        let stage = Stage::bare(move |asked| answer(asked, suffix)).await;
        let run = read(&stage, cloud).await;
        assert_eq!((run.code, run.text()), (0, "its value"), "{suffix}: {}", run.err);

        let asked = stage.asked();
        let mut scopes: Vec<_> = asked.iter().filter_map(|asked| asked.field("scope")).collect();
        scopes.sort();
        let mut wanted = [format!("https://{manager}/.default"), format!("https://{suffix}/.default")];
        wanted.sort();
        assert_eq!(scopes, wanted);
        let host = format!("pay.{suffix}");
        for one in &asked {
            assert!([authority, manager, &host].contains(&one.host.as_str()), "{} was asked", one.host);
        }
    }
}
