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
    refused: AtomicU64,
}

/// A token's life, counted in tokens that were made after it: whoever goes on with an old one is refused.
const TOKEN_LIFE: u64 = 100;

impl Azure {
    fn new(first: &str) -> Arc<Self> {
        Arc::new(Self {
            secrets: Mutex::new([first.to_owned()].into()),
            tokens: AtomicU64::new(0),
            signed_in: watch::Sender::new(String::new()),
            refused: AtomicU64::new(0),
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
                self.refused.fetch_add(1, Ordering::Relaxed);
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

/// One way of replacing a file, in steps; between them readers go on.
type Step = Box<dyn FnOnce(&Path) + Send>;

fn way(number: u64, content: &str) -> Vec<Step> {
    let whole = content.to_owned();
    match number % 5 {
        0 => vec![Box::new(move |file| {
            let beside = file.with_extension("new");
            fs::write(&beside, whole).unwrap();
            fs::rename(beside, file).unwrap();
        })],
        // As Kubernetes does: the file is a link through `..data`, which is moved.
        1 => vec![Box::new(move |file| {
            let folder = file.parent().unwrap();
            let version = folder.join(format!("..{number}"));
            fs::create_dir(&version).unwrap();
            fs::write(version.join("secret"), whole).unwrap();
            symlink(&version, folder.join("..tmp")).unwrap();
            fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
            if !file.is_symlink() {
                symlink("..data/secret", folder.join("..link")).unwrap();
                fs::rename(folder.join("..link"), file).unwrap();
            }
        })],
        // Cut to nothing, then half of it, then the rest.
        2 => {
            let (half, rest) = content.split_at(content.len() / 2);
            let (half, rest) = (half.to_owned(), rest.to_owned());
            let append = |text: String| -> Step {
                Box::new(move |file| {
                    OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap()
                })
            };
            vec![Box::new(|file| fs::write(file, "").unwrap()), append(half), append(rest)]
        }
        3 => {
            vec![Box::new(|file| fs::remove_file(file).unwrap()), Box::new(move |file| fs::write(file, whole).unwrap())]
        }
        // Something else by mistake, put right later.
        _ => vec![
            Box::new(|file| fs::write(file, "the secret's id, not its value").unwrap()),
            Box::new(move |file| fs::write(file, whole).unwrap()),
        ],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rotations_under_load_fail_no_read() {
    let azure = Azure::new("secret-0");
    let script = Arc::clone(&azure);
    let stage = Stage::bare(move |asked| script.answer(asked)).await;
    let file: PathBuf = stage.path("secret");
    fs::write(&file, "secret-0").unwrap();
    let secret = Credential::File(file.clone());
    let vault = stage
        .vault_with(|settings| {
            settings.identity = Identity::ClientSecret { tenant: TENANT.into(), client: "app-1".into(), secret };
            // Looked at with every read: a rotation takes as long as the reads it needs, and no timer.
            settings.wire = WireLimits { credential_look: Duration::ZERO, ..WireLimits::default() };
        })
        .await;
    let (reads, over) = (Arc::new(watch::Sender::new(0_u64)), Arc::new(AtomicBool::new(false)));
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        readers.spawn(read(Arc::clone(&vault), reader, Arc::clone(&reads), Arc::clone(&over)));
    }
    let (mut signed_in, mut seen) = (azure.signed_in.subscribe(), reads.subscribe());
    for number in 1..=ROTATIONS {
        let content = format!("secret-{number}");
        azure.add(&content);
        let mut steps = way(number, &content).into_iter().peekable();
        while let Some(step) = steps.next() {
            step(&file);
            if steps.peek().is_some() {
                // Long enough for what stands there now to be met.
                let until = *seen.borrow_and_update() + 2 * READERS;
                seen.wait_for(|reads| *reads >= until).await.unwrap();
            }
        }
        signed_in.wait_for(|secret| *secret == content).await.unwrap();
        stage.forget();
    }
    over.store(true, Ordering::Relaxed);
    let failures: Vec<_> = readers.join_all().await.into_iter().flatten().collect();
    let (reads, tokens) = (*reads.borrow(), azure.tokens.load(Ordering::Relaxed));
    let refused = azure.refused.load(Ordering::Relaxed);
    println!(
        "{ROTATIONS} rotations, {reads} reads, {} failed, {tokens} tokens, {refused} sign-ins refused",
        failures.len()
    );
    assert_eq!(failures, [""; 0]);
    assert!(tokens > ROTATIONS, "every rotation was taken over");
    assert!(refused >= ROTATIONS / 5, "what was wrong was tried: {refused}");
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
