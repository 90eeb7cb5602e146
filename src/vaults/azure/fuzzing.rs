//! Azure's answers, written by a stranger: through the SDK, the tokens, the walk over pages and the checks of
//! what an answer is about, with everything but the network as it is in production.
//!
//! An input is answers, one after the other, parted by lines of `%%`. Each is a status, headers line by line, an empty
//! line and a body; where they end, everything is a 404. What the target is not about answers as it should.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, Headers};
use azure_core::http::{Body, Request};
use futures::TryStreamExt as _;
use url::Url;

use super::bearer;
use super::transport::{Answer, Carrier, Peer, Transport};
use super::{
    Audience, AzureSettings, AzureSource, Cloud, ConfiguredVault, Credential, DiscoveryRoute, GraphShortfall, Identity,
    WireLimits,
};
use crate::metrics::Metrics;
use crate::secret::fuzzing::assert_tellable;
use crate::secret::{SecretName, SecretValue, Version};
use crate::vaults::{Outage, Source as _, Vault, VaultError, VaultErrorKind};

/// What a stranger writes into an answer's text and may be told nowhere.
const MARK: &str = "Qm4rk!Qm4rk";
const AUTHORITY: &str = "login.microsoftonline.com";
const MANAGEMENT: &str = "management.azure.com";
const VAULT: &str = "pay.vault.azure.net";
const VERSION: &str = "0b31729e2750416caba40429a1f3bea4";

/// Entra's answers to a sign-in. Whatever they are: a token that lasts, or a failure in our words.
pub fn entra(input: &[u8]) {
    run(Stranger::new(input, Part::Entra), async |source| {
        for audience in [Audience::Vaults, Audience::ResourceManager, Audience::Vaults] {
            match source.sign_in(audience).await {
                // Entra keeps a revocable token for 28 hours at most; what it claims to be more is not believed.
                Ok(signed_in) => assert!(!signed_in.identity.is_empty()),
                Err(error) => {
                    // What a sign-in that panicked comes to: its task is caught, and nobody would hear of it.
                    assert_ne!(error.kind(), &VaultErrorKind::Unavailable(Outage::Internal), "a sign-in has panicked");
                    assert_ours(&error);
                }
            }
        }
    });
}

/// The answers of Resource Graph and of Resource Manager: what they tell of vaults, and which of these are asked.
pub fn resource_manager(input: &[u8]) {
    run(Stranger::new(input, Part::ResourceManager), async |source| {
        let (discovery, report) = source.survey().await;
        discovery.faults.iter().for_each(assert_ours);
        if let DiscoveryRoute::Subscriptions { because: GraphShortfall::Failed(error) } = &report.route {
            assert_ours(error);
        }
        for vault in &discovery.vaults {
            let uri = vault.info().uri.clone().unwrap_or_default();
            let host = uri.strip_prefix("https://").and_then(|rest| rest.strip_suffix('/')).unwrap_or_default();
            let label = host.strip_suffix(".vault.azure.net").unwrap_or_default();
            assert!(
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "{uri:?} is taken for a vault"
            );
            assert_eq!(vault.info().name.as_str(), label, "a vault goes by another name than its host's");
        }
    });
}

/// A vault's answers to a get, to listings and to a question for versions: what is taken is of this vault, this name and
/// this version.
pub fn key_vault(input: &[u8]) {
    run(Stranger::new(input, Part::KeyVault), async |source| questions(&*vault_of(&source).await).await);
}

/// The same of a vault under another suffix than the cloud's own, which is asked first what it wants tokens for: no token goes
/// to anybody but the vault, and none but the vaults' goes there. See [`Stranger::exchange`].
pub fn challenge(input: &[u8]) {
    run(Stranger::new(input, Part::Challenge), async |source| questions(&*vault_of(&source).await).await);
}

async fn questions(vault: &dyn Vault) {
    let name: SecretName = "db-password".parse().expect("a name");
    let version: Version = VERSION.parse().expect("a version");
    for asked in [None, Some(&version)] {
        match vault.get(&name, asked).await {
            Ok(secret) => {
                assert_eq!(secret.metadata.name, name, "another secret's value");
                assert!(asked.is_none_or(|asked| secret.metadata.version.as_ref() == Some(asked)), "another version");
                assert!(secret.metadata.version.is_some());
            }
            Err(error) => assert_ours(&error),
        }
    }
    let listed: Result<Vec<_>, _> = vault.list().try_collect().await;
    listed.iter().flatten().for_each(|metadata| assert!(!metadata.name.as_str().is_empty()));
    let versions: Result<Vec<_>, _> = vault.versions(&name).try_collect().await;
    for metadata in versions.iter().flatten() {
        assert!(metadata.name == name && metadata.version.is_some(), "{metadata:?} is no version of it");
    }
    listed.err().iter().chain(versions.err().iter()).for_each(assert_ours);
}

/// An error in our words: nothing that the other side wrote freely, in it or in its causes.
#[track_caller]
fn assert_ours(error: &VaultError) {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        assert!(!text.contains(MARK), "an error tells what a stranger wrote: {text:?}");
        assert_tellable(&text, 1_000);
        next = cause.source();
    }
}

async fn vault_of(source: &AzureSource) -> Arc<dyn Vault> {
    let discovery = source.discover().await;
    discovery.vaults.into_iter().next().expect("the configured vault is there")
}

thread_local! {
    /// Its clock jumps to whatever is waited for: what takes for ever ends at once, and is a fault.
    static RUNTIME: tokio::runtime::Runtime = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime without a network")
    };
}

fn run(stranger: Stranger, about: impl AsyncFnOnce(Arc<AzureSource>)) {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let settings = settings(stranger.part);
            let transport = Transport::over(stranger, WireLimits::default());
            let source = AzureSource::over(settings, Metrics::default(), transport).expect("good settings");
            within(about(Arc::new(source))).await;
        });
    });
}

async fn within<T>(question: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(24 * 3600), question).await.expect("a question ends within a day")
}

fn settings(part: Part) -> AzureSettings {
    let mut cloud = Cloud::public();
    if part == Part::Challenge {
        // Its vault is not under the cloud's own.
        cloud.vault_suffixes.insert(0, ".vault.example.net".to_owned());
    }
    AzureSettings {
        name: "prod".parse().expect("a name"),
        identity: Identity::ClientSecret {
            tenant: "72f988bf-86f1-41af-91ab-2d7cd011db47".to_owned(),
            client: "a1b2c3d4-0000-0000-0000-000000000000".to_owned(),
            secret: Credential::Inline(Arc::new(SecretValue::new("not-so-secret"))),
        },
        cloud,
        subscriptions: Vec::new(),
        vaults: vec![ConfiguredVault::Uri(format!("https://{VAULT}").parse().expect("an address"))],
        include: Vec::new(),
        exclude: Vec::new(),
        extra_ca: None,
        resolve: Vec::new(),
        wire: WireLimits::default(),
    }
}

/// Which service the stranger speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Entra,
    ResourceManager,
    KeyVault,
    Challenge,
}

#[derive(Debug)]
struct Stranger {
    part: Part,
    answers: Mutex<VecDeque<Vec<u8>>>,
}

impl Stranger {
    fn new(input: &[u8], part: Part) -> Self {
        let mut answers = VecDeque::new();
        let mut rest = input;
        while let Some(end) = memchr::memmem::find(rest, b"\n%%\n") {
            answers.push_back(rest[..end].to_vec());
            rest = &rest[end + 4..];
        }
        answers.push_back(rest.to_vec());
        Self { part, answers: Mutex::new(answers) }
    }

    fn next(&self) -> Answer {
        let next = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.map_or_else(|| plain(404, "", ""), |text| parse(&text))
    }
}

#[async_trait]
impl Carrier for Stranger {
    async fn exchange(&self, url: &Url, _: &Peer, request: &Request, max_body: usize) -> Result<Answer, VaultError> {
        assert_eq!(url.scheme(), "https");
        let host = url.host_str().unwrap_or_default();
        let bearer = request.headers().get_optional_str(&AUTHORIZATION);
        // The token that goes out is the one for whom it goes to.
        match (host, bearer) {
            (AUTHORITY, bearer) => assert_eq!(bearer, None, "a token goes to Entra"),
            (MANAGEMENT, bearer) => assert!(bearer.is_none_or(|bearer| of(bearer, MANAGEMENT)), "a vault's token"),
            (VAULT, bearer) => assert!(bearer.is_none_or(|bearer| of(bearer, "vault.azure.net")), "another's token"),
            (other, _) => panic!("{other:?} was asked"),
        }
        let answer = match (host, self.part) {
            (AUTHORITY, Part::Entra) | (MANAGEMENT, Part::ResourceManager) | (VAULT, Part::KeyVault) => self.next(),
            (VAULT, Part::Challenge) => self.next(),
            (AUTHORITY, _) => token(request),
            (MANAGEMENT, _) => plain(200, "", r#"{"data":[],"value":[]}"#),
            _ => plain(404, "", ""),
        };
        assert!(max_body >= 1024 * 1024);
        Ok(answer)
    }
}

/// Tokens here are the scope that they are for.
fn of(bearer: &str, resource: &str) -> bool {
    let token = bearer.strip_prefix("Bearer ").and_then(bearer::redeem);
    token.is_some_and(|token| *token == *format!("scope:https://{resource}/.default"))
}

fn token(request: &Request) -> Answer {
    let form = match request.body() {
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::SeekableStream(_) => Vec::new(),
    };
    let scope = url::form_urlencoded::parse(&form).find(|(key, _)| key == "scope").map(|(_, scope)| scope.into_owned());
    let scope = scope.expect("a sign-in names its scope");
    let scope = scope.split(' ').next().unwrap_or_default();
    plain(200, "", &format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"scope:{scope}"}}"#))
}

/// A status, headers, an empty line, a body; as much of that as there is.
fn parse(text: &[u8]) -> Answer {
    let end = memchr::memmem::find(text, b"\n\n");
    let (head, body) = end.map_or((text, &b""[..]), |end| (&text[..end], &text[end + 2..]));
    let head = String::from_utf8_lossy(head);
    let (status, head) = head.split_once('\n').unwrap_or((&*head, ""));
    let mut answer = plain(status.trim().parse().unwrap_or(200), head, "");
    answer.body = body.to_vec().into();
    answer
}

fn plain(status: u16, head: &str, body: &str) -> Answer {
    let mut headers = Headers::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        // As the HTTP client hands them on: lower case, and visible ASCII only.
        let name = name.to_ascii_lowercase();
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if good && value.bytes().all(|b| b == b'\t' || (32..127).contains(&b)) {
            headers.insert(HeaderName::from(name), value.trim().to_owned());
        }
    }
    let status = if (100..1000).contains(&status) { status } else { 200 };
    Answer { status, headers, body: body.as_bytes().to_vec().into() }
}
