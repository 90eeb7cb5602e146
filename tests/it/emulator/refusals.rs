use reqwest::Method;
use serde_json::json;
use sidekey::emulator::{Change, Firewall, Right};

use super::support::{API, ARM, ESTATE, KEY_VAULT, Lab, Reply};

const NOBODY: &str = "aaaaaaaa-0000-4000-8000-000000000002";

async fn read(lab: &Lab, vault: &str, name: &str, token: &str) -> Reply {
    lab.get(&format!("https://{vault}.vault.azure.net/secrets/{name}?{API}"), token).await
}

fn message(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_refusal_of_a_vault_has_the_code_that_tells_it_apart() {
    let lab = Lab::new();
    let (reader, nobody) = (lab.token(KEY_VAULT).await, lab.token_of(NOBODY, KEY_VAULT).await);
    let cases = [
        (read(&lab, "alpha", "db-password", &nobody).await, 403, "ForbiddenByRbac", "\r\nAction: "),
        (read(&lab, "policies", "a", &nobody).await, 403, "AccessDenied", "does not have secrets get permission"),
        (read(&lab, "walled", "a", &reader).await, 403, "ForbiddenByFirewall", "\r\nClient address: "),
        (read(&lab, "private", "a", &reader).await, 403, "ForbiddenByConnection", "\r\nVault: private"),
        (read(&lab, "alpha", "disabled-one", &reader).await, 403, "SecretDisabled", "disabled secret"),
        (read(&lab, "alpha", "absent", &reader).await, 404, "SecretNotFound", "absent was not found"),
        (read(&lab, "busy", "a", &reader).await, 429, "VaultRequestTypeLimitReached", "too many requests"),
        (read(&lab, "foreign", "a", &reader).await, 401, "Unauthorized", "AKV10032: "),
        (read(&lab, "alpha", "a", &lab.token(ARM).await).await, 401, "Unauthorized", "AKV10022: "),
        (read(&lab, "alpha", "a", "made.up").await, 401, "Unauthorized", "Error validating token"),
        (read(&lab, "alpha", "a_b", &reader).await, 400, "BadParameter", "secret-name"),
    ];
    for (reply, status, code, text) in cases {
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{}", reply.text);
        assert!(message(&reply).contains(text), "{}", reply.text);
        assert_eq!(status == 401, reply.header("www-authenticate").starts_with("Bearer authorization="));
        assert_eq!(status == 429, !reply.header("retry-after").is_empty());
    }
}

#[tokio::test]
async fn a_slash_at_the_audiences_end_is_another_audience() {
    let lab = Lab::new();
    let token = lab.token("https://vault.azure.net//.default").await;
    let reply = read(&lab, "alpha", "db-password", &token).await;
    assert!(message(&reply).ends_with("found: https://vault.azure.net/."), "{}", reply.text);
}

#[tokio::test]
async fn a_token_past_its_time_or_revoked_is_challenged_again() {
    let lab = Lab::of(&format!("token_lifetime_s = 0\n{ESTATE}"));
    let reply = read(&lab, "alpha", "db-password", &lab.token(KEY_VAULT).await).await;
    assert!(reply.status == 401 && message(&reply).contains("[TokenExpired]"), "{}", reply.text);

    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    assert_eq!(read(&lab, "alpha", "db-password", &token).await.status, 200);
    lab.control().change(Change::RevokeTokens { app: Some("reader".into()) }).unwrap();
    assert_eq!(read(&lab, "alpha", "db-password", &token).await.status, 401);
    assert_eq!(read(&lab, "alpha", "db-password", &lab.token(KEY_VAULT).await).await.status, 200);
}

#[tokio::test]
async fn rights_are_given_and_taken_by_verb_and_vault() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    let list = format!("https://alpha.vault.azure.net/secrets?{API}");
    let revoke = |rights| Change::Revoke { app: "reader".into(), vault: "alpha".into(), rights };
    lab.control().change(revoke(Some(vec![Right::Get]))).unwrap();
    assert_eq!(read(&lab, "alpha", "db-password", &token).await.code(), "ForbiddenByRbac");
    assert_eq!(lab.get(&list, &token).await.status, 200);
    lab.control().change(revoke(None)).unwrap();
    assert_eq!(lab.get(&list, &token).await.status, 403);
    assert_eq!(read(&lab, "policies", "a", &token).await.status, 404, "other vaults are as they were");
    let grant = Change::Grant { app: "reader".into(), vault: "alpha".into(), rights: vec![Right::Get] };
    lab.control().change(grant).unwrap();
    assert_eq!(read(&lab, "alpha", "db-password", &token).await.status, 200);
    assert_eq!(lab.get(&list, &token).await.status, 403);
}

#[tokio::test]
async fn a_right_on_some_secrets_reads_them_and_lists_nothing() {
    let narrowed = ESTATE.replace("vaults = [\"*\"]", "vaults = [\"alpha\"]\nsecrets = [\"db-*\"]");
    let lab = Lab::of(&narrowed);
    let token = lab.token(KEY_VAULT).await;
    assert_eq!(read(&lab, "alpha", "db-password", &token).await.status, 200);
    assert_eq!(read(&lab, "alpha", "filler-1", &token).await.status, 403);
    assert_eq!(lab.get(&format!("https://alpha.vault.azure.net/secrets?{API}"), &token).await.status, 403);
}

#[tokio::test]
async fn a_vault_has_its_own_budget_and_tells_when_to_come_back() {
    let lab = Lab::of(&format!("{ESTATE}\n[budget]\ntransactions = 3\nwindow_s = 3600\n"));
    let token = lab.token(KEY_VAULT).await;
    for _ in 0..3 {
        assert_eq!(read(&lab, "alpha", "db-password", &token).await.status, 200);
    }
    let reply = read(&lab, "alpha", "db-password", &token).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (429, Some("Throttled")));
    assert!((1..=1201).contains(&reply.header("retry-after").parse::<u32>().unwrap()), "one comes back in 1200 s");
    assert_eq!(read(&lab, "policies", "a", &token).await.status, 404, "another vault's budget is its own");
}

#[tokio::test]
async fn a_firewall_can_be_moved_while_it_runs() {
    let lab = Lab::new();
    let token = lab.token(KEY_VAULT).await;
    for (to, status) in [(Firewall::Closed, 403), (Firewall::Open, 200)] {
        lab.control().change(Change::Firewall { vault: "alpha".into(), to }).unwrap();
        assert_eq!(read(&lab, "alpha", "db-password", &token).await.status, status);
    }
}

#[tokio::test]
async fn who_has_no_role_sees_nothing_in_resource_manager() {
    let lab = Lab::new();
    let token = lab.token_of(NOBODY, ARM).await;
    let subscriptions = lab.get("https://management.azure.com/subscriptions?api-version=2022-12-01", &token).await;
    assert_eq!((subscriptions.status.as_u16(), &subscriptions.json()["value"]), (200, &json!([])));
    let graph = "https://management.azure.com/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";
    let rows = lab.send(Method::POST, graph, Some(&token), Some(json!({"query": "resources"}))).await.unwrap();
    assert_eq!((rows.status.as_u16(), &rows.json()["data"]), (200, &json!([])));
    let id = "aaaa0000-0000-4000-8000-00000000000a";
    let some = json!({"query": "resources", "subscriptions": [id]});
    assert_eq!(lab.send(Method::POST, graph, Some(&token), Some(some)).await.unwrap().status, 403);
    let vaults = "https://management.azure.com/subscriptions/".to_owned();
    let vaults = format!("{vaults}{id}/providers/Microsoft.KeyVault/vaults?api-version=2026-02-01");
    assert_eq!(lab.get(&vaults, &token).await.code(), "AuthorizationFailed");
}

#[tokio::test]
async fn resource_manager_refuses_what_it_refuses() {
    let lab = Lab::new();
    let token = lab.token(ARM).await;
    let url = "https://management.azure.com/subscriptions";
    assert_eq!(lab.get(url, &token).await.code(), "MissingApiVersionParameter");
    assert_eq!(lab.get(&format!("{url}?api-version=soon"), &token).await.code(), "InvalidApiVersionParameter");
    let url = format!("{url}?api-version=2022-12-01");
    assert_eq!(lab.send(Method::GET, &url, None, None).await.unwrap().code(), "AuthenticationFailed");
    let wrong = lab.token(KEY_VAULT).await;
    assert_eq!(lab.get(&url, &wrong).await.code(), "InvalidAuthenticationTokenAudience");
    assert_eq!(lab.get(&url, "made.up").await.code(), "InvalidAuthenticationToken");
}

#[tokio::test]
async fn a_vault_that_does_not_exist_has_no_connection() {
    let lab = Lab::new();
    let refused = lab.send(Method::GET, "https://absent.vault.azure.net/secrets", None, None).await;
    assert!(refused.err().unwrap().is_connect());
    let refused = lab.send(Method::GET, "https://alpha.vault.azure.cn/secrets", None, None).await;
    assert!(refused.err().unwrap().is_connect(), "and none in another cloud");
}
