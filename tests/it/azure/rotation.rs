//! A credential that rotates on disk while values are read: over real sockets, driven by what Entra and the vault are
//! asked, never by time.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidekey::vaults::Vault;
use sidekey::vaults::azure::{Credential, Identity, WireLimits};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stage::{Asked, Reply, Stage, TENANT, VERSION};

const ROTATIONS: u64 = 1000;
const READERS: u64 = 8;

/// What Entra and the vault hold true.
struct Azure {
    /// The secrets that sign in: the newest two, as an operator keeps them while one is replaced by the other.
    secrets: Mutex<VecDeque<String>>,
    tokens: AtomicU64,
    signed_in: watch::Sender<String>,
    refused: watch::Sender<u64>,
}

/// A token's life, counted in tokens that were made after it: whoever goes on with an old one is refused.
const TOKEN_LIFE: u64 = 100;

impl Azure {
    fn new(first: &str) -> Arc<Self> {
        Arc::new(Self {
            secrets: Mutex::new([first.to_owned()].into()),
            tokens: AtomicU64::new(0),
            signed_in: watch::Sender::new(String::new()),
            refused: watch::Sender::new(0),
        })
    }

    fn add(&self, secret: &str) {
        let mut secrets = self.secrets.lock().unwrap();
        secrets.push_back(secret.to_owned());
        if secrets.len() > 2 {
            secrets.pop_front();
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        if asked.host.starts_with("login.") {
            let secret = asked.field("client_secret").unwrap();
            if !self.secrets.lock().unwrap().contains(&secret) {
                self.refused.send_modify(|refused| *refused += 1);
                let body = serde_json::json!({ "error": "invalid_client", "error_description": "AADSTS7000215: no" });
                return Reply::json(401, &body);
            }
            let token = format!("token-{}", self.tokens.fetch_add(1, Ordering::Relaxed));
            self.signed_in.send_replace(secret);
            return Reply::token(&token, 3600);
        }
        if asked.host.starts_with("management.") {
            return Reply::error(403, "AuthorizationFailed", None);
        }
        let bearer = asked.authorization.as_deref().and_then(|header| header.strip_prefix("Bearer token-"));
        let number = bearer.and_then(|number| number.parse::<u64>().ok());
        if number.is_none_or(|number| number + TOKEN_LIFE < self.tokens.load(Ordering::Relaxed)) {
            return Reply::challenge();
        }
        let name = asked.path().trim_start_matches("/secrets/").trim_end_matches('/').to_owned();
        Reply::secret(&asked.host, &name, VERSION, &name)
    }
}

/// One way of replacing a file, in steps; what happens after each before the next.
type Step = (Box<dyn FnOnce(&Path) + Send>, Until);

enum Until {
    /// Nothing: the next step follows at once, or there is none.
    AtOnce,
    /// So many reads that what stands there now is met.
    Read,
    /// Entra has refused what stands there now.
    Refused,
}

fn step(change: impl FnOnce(&Path) + Send + 'static, until: Until) -> Step {
    (Box::new(change), until)
}

fn way(number: u64, content: &str) -> Vec<Step> {
    let whole = content.to_owned();
    let write = move |file: &Path| fs::write(file, whole).unwrap();
    match number % 5 {
        0 => vec![step(
            move |file| {
                let beside = file.with_extension("new");
                write(&beside);
                fs::rename(beside, file).unwrap();
            },
            Until::AtOnce,
        )],
        // As Kubernetes does: the file is a link through `..data`, which is moved.
        1 => vec![step(
            move |file| {
                let folder = file.parent().unwrap();
                let version = folder.join(format!("..{number}"));
                fs::create_dir(&version).unwrap();
                write(&version.join("secret"));
                symlink(&version, folder.join("..tmp")).unwrap();
                fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
                if !file.is_symlink() {
                    symlink("..data/secret", folder.join("..link")).unwrap();
                    fs::rename(folder.join("..link"), file).unwrap();
                }
            },
            Until::AtOnce,
        )],
        // Cut to nothing, then half of it, then the rest.
        2 => {
            let (half, rest) = content.split_at(content.len() / 2);
            let (half, rest) = (half.to_owned(), rest.to_owned());
            vec![
                step(|file| fs::write(file, "").unwrap(), Until::Read),
                step(move |file| append(file, &half), Until::Refused),
                step(move |file| append(file, &rest), Until::AtOnce),
            ]
        }
        3 => vec![step(|file| fs::remove_file(file).unwrap(), Until::Read), step(write, Until::AtOnce)],
        // Something else by mistake, put right later.
        _ => vec![
            step(|file| fs::write(file, "the secret's id, not its value").unwrap(), Until::Refused),
            step(write, Until::AtOnce),
        ],
    }
}

fn append(file: &Path, text: &str) {
    OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rotations_under_load_fail_no_read() {
    let azure = Azure::new("secret-0");
    let script = Arc::clone(&azure);
    let stage = Stage::bare(move |asked| script.answer(asked)).await;
    let file: PathBuf = stage.path("secret");
    fs::write(&file, "secret-0").unwrap();
    let secret = Credential::File(file.clone());
    let vault = stage.vault_with(|settings| {
        settings.identity = Identity::ClientSecret { tenant: TENANT.into(), client: "app-1".into(), secret };
        // Looked at with every read: a rotation takes as long as the reads it needs, and no timer.
        settings.wire = WireLimits { credential_look: Duration::ZERO, ..WireLimits::default() };
    });
    let (reads, over) = (Arc::new(watch::Sender::new(0_u64)), Arc::new(AtomicBool::new(false)));
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        readers.spawn(read(Arc::clone(&vault), reader, Arc::clone(&reads), Arc::clone(&over)));
    }
    let (mut signed_in, mut seen) = (azure.signed_in.subscribe(), reads.subscribe());
    let mut refused = azure.refused.subscribe();
    for number in 1..=ROTATIONS {
        let content = format!("secret-{number}");
        azure.add(&content);
        for (change, until) in way(number, &content) {
            let (read, sent) = (*seen.borrow(), *refused.borrow());
            change(&file);
            match until {
                Until::AtOnce => {}
                Until::Read => drop(seen.wait_for(|reads| *reads >= read + 2 * READERS).await.unwrap()),
                Until::Refused => drop(refused.wait_for(|refused| *refused > sent).await.unwrap()),
            }
        }
        signed_in.wait_for(|secret| *secret == content).await.unwrap();
        stage.forget();
    }
    over.store(true, Ordering::Relaxed);
    let failures: Vec<_> = readers.join_all().await.into_iter().flatten().collect();
    let (reads, tokens) = (*reads.borrow(), azure.tokens.load(Ordering::Relaxed));
    let refused = *refused.borrow();
    println!(
        "{ROTATIONS} rotations, {reads} reads, {} failed, {tokens} tokens, {refused} sign-ins refused",
        failures.len()
    );
    assert_eq!(failures, [""; 0]);
    assert!(tokens >= ROTATIONS, "every rotation was taken over");
    assert!(refused >= ROTATIONS / 5 * 2, "what was wrong was tried: {refused}");
}

/// Reads until it is over; what failed.
async fn read(
    vault: Arc<dyn Vault>,
    reader: u64,
    reads: Arc<watch::Sender<u64>>,
    over: Arc<AtomicBool>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut number = reader;
    while !over.load(Ordering::Relaxed) {
        let name = format!("name-{number}").parse().unwrap();
        match vault.get(&name, None).await {
            Ok(secret) => assert_eq!(secret.value.expose(), name.as_str().as_bytes()),
            Err(error) => failures.push(error.to_string()),
        }
        number += READERS;
        reads.send_modify(|reads| *reads += 1);
    }
    failures
}
