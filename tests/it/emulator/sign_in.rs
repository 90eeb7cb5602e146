use serde_json::Value;

use super::support::{ARM, FOREIGN, KEY_VAULT, Lab, READER, TENANT};

fn refusal(body: &Value) -> (String, i64, String) {
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    (text("error"), body["error_codes"][0].as_i64().unwrap(), text("error_description"))
}

#[tokio::test]
async fn a_client_secret_gives_a_token() {
    let lab = Lab::new();
    let reply = lab.sign_in(READER, "right", KEY_VAULT).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 3599);
    assert!(body["access_token"].as_str().unwrap().len() > 20);
}

#[tokio::test]
async fn every_refusal_of_entra_has_its_code_and_line_breaks_in_its_text() {
    let lab = Lab::new();
    let stranger = "aaaaaaaa-0000-4000-8000-00000000dead";
    let cases = [
        (lab.sign_in(READER, "wrong", KEY_VAULT).await, 401, "invalid_client", 7_000_215),
        (lab.sign_in(READER, "old", KEY_VAULT).await, 401, "invalid_client", 7_000_222),
        (lab.sign_in(stranger, "right", KEY_VAULT).await, 400, "unauthorized_client", 700_016),
        (lab.sign_in(READER, "right", "https://nothing.example/.default").await, 400, "invalid_resource", 500_011),
        (lab.sign_in(READER, "right", "https://vault.azure.net").await, 400, "invalid_scope", 1_002_012),
    ];
    for (reply, status, error, code) in cases {
        assert_eq!(reply.status, status, "{}", reply.text);
        let told = refusal(&reply.json());
        assert_eq!((told.0.as_str(), told.1), (error, code));
        assert!(told.2.starts_with(&format!("AADSTS{code}: ")) && told.2.contains("\r\nTrace ID: "), "{}", told.2);
    }
    let elsewhere = format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", "no-such-tenant");
    let reply = lab.form(&elsewhere, &[("grant_type", "client_credentials"), ("client_id", READER)]).await;
    assert_eq!((reply.status.as_u16(), refusal(&reply.json()).1), (400, 90_002));
    let abroad = format!("https://login.microsoftonline.com/{FOREIGN}/oauth2/v2.0/token");
    let reply = lab.form(&abroad, &[("grant_type", "client_credentials"), ("client_id", READER)]).await;
    assert_eq!(refusal(&reply.json()).1, 700_016, "an app is known in its own tenant only");
}

#[tokio::test]
async fn a_tenant_is_known_by_its_domain_and_in_its_own_cloud_only() {
    let lab = Lab::new();
    let fields =
        [("grant_type", "client_credentials"), ("client_id", READER), ("client_secret", "right"), ("scope", ARM)];
    let url = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token";
    assert_eq!(lab.form(url, &fields).await.status, 200);
    let url = format!("https://login.microsoftonline.us/{TENANT}/oauth2/v2.0/token");
    assert_eq!(refusal(&lab.form(&url, &fields).await.json()).1, 90_002);
}
