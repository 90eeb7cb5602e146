//! A small estate, and a bare HTTPS client that reaches it by the real host names.

use std::sync::Once;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use sidekey::emulator::{Control, Emulator, Estate};

pub(crate) const TENANT: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const FOREIGN: &str = "22222222-2222-4222-8222-222222222222";
pub(crate) const READER: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const KEY_VAULT: &str = "https://vault.azure.net/.default";
pub(crate) const ARM: &str = "https://management.azure.com/.default";
pub(crate) const API: &str = "api-version=7.6";

/// Two subscriptions, a vault of each kind, an app that may do everything and one that may do nothing.
pub(crate) const ESTATE: &str = r#"
[[tenant]]
id = "11111111-1111-4111-8111-111111111111"
domain = "contoso.onmicrosoft.com"
[[tenant]]
id = "22222222-2222-4222-8222-222222222222"

[[app]]
name = "reader"
id = "aaaaaaaa-0000-4000-8000-000000000001"
managed_identity = "system"
secret = [{ value = "right" }, { value = "old", expires = "-1d" }]
[[app]]
name = "nobody"
id = "aaaaaaaa-0000-4000-8000-000000000002"
secret = [{ value = "right" }]

[[subscription]]
id = "aaaa0000-0000-4000-8000-00000000000a"
name = "production"
[[subscription]]
id = "aaaa0000-0000-4000-8000-00000000000b"
name = "shared"

[[grant]]
app = "reader"
subscriptions = ["*"]
[[grant]]
app = "reader"
vaults = ["*"]
rights = ["all"]

[[vault]]
name = "alpha"
subscription = "production"
[[vault.secret]]
name = "db-password"
versions = [{ value = "old", created = "-30d" }]
value = "new"
content_type = "text/plain"
tags = { team = "pay" }
[[vault.secret]]
name = "Disabled-One"
value = "unseen"
enabled = false
[[vault.secret]]
name = "web-certificate"
certificate = "shop.example.com"
[[vault.bulk]]
pattern = "filler-{}"
count = 60

[[vault]]
name = "policies"
subscription = "shared"
access = "policy"
[[vault]]
name = "walled"
subscription = "shared"
firewall = "closed"
[[vault]]
name = "private"
subscription = "shared"
firewall = "private"
[[vault]]
name = "foreign"
subscription = "shared"
tenant = "22222222-2222-4222-8222-222222222222"
[[vault]]
name = "hidden"
subscription = "shared"
hidden = true
[[vault]]
name = "busy"
subscription = "shared"
throttled = true
"#;

/// A running emulator with a client that trusts it.
pub(crate) struct Lab {
    pub(crate) emulator: Emulator,
    http: reqwest::Client,
}

/// An answer, read whole.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `error.innererror.code`, or `error.code`.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        let inner = &body["error"]["innererror"]["code"];
        let code = if inner.is_null() { &body["error"]["code"] } else { inner };
        code.as_str().unwrap_or_default().to_owned()
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::of(ESTATE)
    }

    pub(crate) fn of(estate: &str) -> Self {
        let estate = Estate::parse(estate).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let emulator = Emulator::start_on_loopback(estate).unwrap();
        let http = client(&emulator);
        Self { emulator, http }
    }

    pub(crate) fn control(&self) -> Control {
        self.emulator.control()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        bearer: Option<&str>,
        body: Option<Value>,
    ) -> reqwest::Result<Reply> {
        let mut request = self.http.request(method, url);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        read(request).await
    }

    pub(crate) async fn get(&self, url: &str, bearer: &str) -> Reply {
        self.send(Method::GET, url, Some(bearer), None).await.unwrap()
    }

    pub(crate) async fn form(&self, url: &str, fields: &[(&str, &str)]) -> Reply {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        read(request.body(form.finish())).await.unwrap()
    }

    /// Asks the machine's identity as it wants to be asked.
    pub(crate) async fn imds(&self, url: &str) -> Reply {
        read(self.http.get(url).header("metadata", "true")).await.unwrap()
    }

    pub(crate) async fn sign_in(&self, client: &str, secret: &str, scope: &str) -> Reply {
        let url = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
        let grant = ("grant_type", "client_credentials");
        self.form(&url, &[grant, ("client_id", client), ("client_secret", secret), ("scope", scope)]).await
    }

    pub(crate) async fn token(&self, scope: &str) -> String {
        self.token_of(READER, scope).await
    }

    pub(crate) async fn token_of(&self, client: &str, scope: &str) -> String {
        let reply = self.sign_in(client, "right", scope).await;
        reply.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", reply.text)).to_owned()
    }

    /// Follows a list to its end: the sizes of its pages and their items.
    pub(crate) async fn walk(&self, url: &str, bearer: &str) -> (Vec<usize>, Vec<Value>) {
        let (mut next, mut sizes, mut items) = (Some(url.to_owned()), Vec::new(), Vec::new());
        while let Some(url) = next {
            let reply = self.get(&url, bearer).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            let body = reply.json();
            let page = body["value"].as_array().unwrap();
            sizes.push(page.len());
            items.extend(page.iter().cloned());
            next = body["nextLink"].as_str().map(str::to_owned);
        }
        (sizes, items)
    }
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Reply { status, headers, text: response.text().await? })
}

fn client(emulator: &Emulator) -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
    let addr = emulator.addr();
    let ca = reqwest::Certificate::from_pem(emulator.ca_pem().as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Everywhere(addr))
        .build()
        .unwrap()
}

/// Every name is the emulator.
struct Everywhere(std::net::SocketAddr);

impl reqwest::dns::Resolve for Everywhere {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addrs: reqwest::dns::Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addrs)))
    }
}
