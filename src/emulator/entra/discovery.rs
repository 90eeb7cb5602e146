//! The two documents by which a client finds Entra's endpoints.

use serde_json::json;

use crate::emulator::answer::Answer;
use crate::emulator::estate::Tenant;
use crate::emulator::request::Request;

pub(super) fn openid(request: &Request, tenant: &Tenant) -> Answer {
    let base = format!("{}/{}", request.origin(), tenant.id);
    Answer::ok(json!({
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": format!("{base}/v2.0"),
        "request_uri_parameter_supported": false,
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
            "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash",
            "c_hash", "email"
        ],
        "kerberos_endpoint": format!("{base}/kerberos"),
        "tenant_region_scope": "WW",
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    }))
}

pub(super) fn instances(request: &Request) -> Answer {
    let tenant = request.query("authorization_endpoint").and_then(|endpoint| url::Url::parse(endpoint).ok());
    let tenant = tenant.and_then(|url| Some(url.path_segments()?.next()?.to_owned()));
    let tenant = tenant.unwrap_or_else(|| "common".to_owned());
    let network = |network: &str, cache: &str, aliases: &[&str]| json!({"preferred_network": network, "preferred_cache": cache, "aliases": aliases});
    Answer::ok(json!({
        "tenant_discovery_endpoint": format!("{}/{tenant}/.well-known/openid-configuration", request.origin()),
        "api-version": "1.1",
        "metadata": [
            network(
                "login.microsoftonline.com",
                "login.windows.net",
                &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
            ),
            network(
                "login.partner.microsoftonline.cn",
                "login.partner.microsoftonline.cn",
                &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"]
            ),
            network(
                "login.microsoftonline.us",
                "login.microsoftonline.us",
                &["login.microsoftonline.us", "login.usgovcloudapi.net"]
            ),
        ],
    }))
}
