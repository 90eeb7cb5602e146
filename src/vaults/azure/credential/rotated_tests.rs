//! Tokens whose identity is a file that changes, against an Entra that is scripted, on the paused clock.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;

use super::super::proof::{Form, Part, Proof};
use super::super::rotation::{Exchange, Rotating};
use super::*;
use crate::vaults::azure::settings::Credential;

const VAULT: &str = "https://vault.azure.net/.default";
const ARM: &str = "https://management.azure.com/.default";
const LIFE: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Default)]
struct Entra(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    accepts: Mutex<BTreeSet<String>>,
    down: AtomicBool,
    tried: Mutex<Vec<String>>,
}

impl Entra {
    fn accept<const N: usize>(&self, secrets: [&str; N]) {
        *lock(&self.0.accepts) = secrets.map(str::to_owned).into();
    }

    /// What it was sent since the last question.
    fn tried(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0.tried))
    }
}

#[async_trait]
impl Exchange for Entra {
    fn check(&self, proof: &Proof) -> Result<(), &'static str> {
        if proof.line(0).starts_with("garbage") { Err("is garbage") } else { Ok(()) }
    }

    async fn exchange(&self, proof: &Proof, _scope: &str) -> Result<AccessToken, VaultError> {
        lock(&self.0.tried).push(proof.line(0).to_string());
        if self.0.down.load(Ordering::Relaxed) {
            return Err(VaultError::new(VaultErrorKind::Unavailable(Outage::Server(503)), "scripted"));
        }
        if lock(&self.0.accepts).contains(proof.line(0).as_str()) {
            let token = format!("token of {}", *proof.line(0));
            return Ok(AccessToken::new(token, OffsetDateTime::now_utc() + LIFE));
        }
        let code = Some("AADSTS7000215".into());
        Err(VaultError::new(VaultErrorKind::Unauthenticated { code }, "scripted"))
    }
}

struct Lab {
    dir: tempfile::TempDir,
    entra: Entra,
    tokens: Arc<Tokens>,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "one").unwrap();
        let entra = Entra::default();
        entra.accept(["one"]);
        let from = Credential::File(dir.path().join("secret"));
        let part = Part { what: "client secret", from, form: Form::Line };
        let tokens = tests::tokens_of(Arc::new(Rotating::new(entra.clone(), part, None)));
        Self { dir, entra, tokens }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    fn write(&self, content: &str) {
        fs::write(self.file(), content).unwrap();
    }

    async fn get(&self, scope: &str) -> String {
        self.tokens.get(scope).await.expect("a token").open().to_string()
    }

    /// A token, and nobody waited for it.
    async fn get_now(&self) -> String {
        let token = self.tokens.get(VAULT).now_or_never().expect("a token is held").expect("a token");
        self.settle().await;
        token.open().to_string()
    }

    /// Until nothing runs in the background.
    async fn settle(&self) {
        while !self.tokens.shared.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// A get in each second.
    async fn run(&self, seconds: u64) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for _ in 0..seconds {
            tokio::time::advance(Duration::from_secs(1)).await;
            seen.insert(self.get(VAULT).await);
            self.settle().await;
        }
        seen
    }
}

fn in_place(file: &Path, content: &str) {
    fs::write(file, content).unwrap();
}

fn renamed(file: &Path, content: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, file).unwrap();
}

fn deleted_and_made_again(file: &Path, content: &str) {
    fs::remove_file(file).unwrap();
    fs::write(file, content).unwrap();
}

/// As Kubernetes does: the file is a link through `..data`, and that is moved.
fn swapped(file: &Path, content: &str) {
    let folder = file.parent().unwrap();
    let version = folder.join(format!("..{content}"));
    fs::create_dir(&version).unwrap();
    fs::write(version.join("secret"), content).unwrap();
    symlink(&version, folder.join("..tmp")).unwrap();
    fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
    if !file.is_symlink() {
        symlink("..data/secret", folder.join("link")).unwrap();
        fs::rename(folder.join("link"), file).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn new_content_is_noticed_within_5_s_however_it_came_and_nobody_waits_for_it() {
    let lab = Lab::new();
    assert_eq!(lab.get(VAULT).await, "token of one");
    assert_eq!(lab.get(ARM).await, "token of one");
    type Way = fn(&Path, &str);
    let ways: [(&str, Way); 5] = [
        ("two", in_place),
        ("new", renamed),
        ("six", deleted_and_made_again),
        ("ten", swapped),
        // The second time only `..data` moves: the file itself and its link stay as they are.
        ("fin", swapped),
    ];
    for (content, way) in ways {
        lab.entra.accept([content]);
        way(&lab.file(), content);
        let mut seconds = 0;
        while lab.get_now().await != format!("token of {content}") {
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
            assert!(seconds <= 5, "{content} is not noticed");
        }
        assert_eq!(lab.get(ARM).await, format!("token of {content}"), "the other token is made anew too");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_content_written_again_makes_no_sign_in() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    for _ in 0..20 {
        renamed(&lab.file(), "one");
        lab.run(5).await;
    }
    assert_eq!(lab.entra.tried(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_every_few_seconds_only_and_not_by_nobody() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.settle().await;
    lab.write("two");
    for _ in 0..100 {
        assert_eq!(lab.get_now().await, "token of one");
    }
    assert_eq!(lab.entra.tried(), ["one"], "it was looked at a moment ago");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_entra_does_not_know_yet_is_tried_with_pauses_while_the_last_good_one_is_used() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.write("two");
    lab.entra.tried();
    // Three lives of a token: renewals fall back to what worked.
    assert_eq!(lab.run(3 * 3600).await, ["token of one".to_owned()].into());
    let tried = lab.entra.tried();
    let (old, new) = (count(&tried, "one"), count(&tried, "two"));
    assert!((3..=8).contains(&old), "{old} sign-ins with what works, in three hours");
    assert!((300..=380).contains(&new), "{new} tries of what does not, in three hours");
    lab.entra.accept(["two"]);
    lab.run(31).await;
    assert_eq!(lab.get_now().await, "token of two", "no later than the longest pause");
}

fn count(tried: &[String], which: &str) -> usize {
    tried.iter().filter(|tried| *tried == which).count()
}

#[tokio::test(start_paused = true)]
async fn the_token_held_is_used_to_its_end_and_then_the_last_good_content() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.write("two");
    lab.run(4).await;
    lab.entra.tried();
    // Nobody asks until the token is over; who comes then waits for one sign-in that works.
    tokio::time::advance(LIFE).await;
    assert_eq!(lab.get(VAULT).await, "token of one");
    assert_eq!(count(&lab.entra.tried(), "one"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_no_credential_is_never_sent_and_what_was_read_before_is_used_on() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    let troubles: [fn(&Path); 6] = [
        |file| fs::write(file, "").unwrap(),
        |file| fs::write(file, "\n").unwrap(),
        |file| fs::write(file, b"\xff\xfe").unwrap(),
        |file| fs::write(file, "garbage").unwrap(),
        |file| fs::remove_file(file).unwrap(),
        |file| fs::create_dir(file).unwrap(),
    ];
    for trouble in troubles {
        trouble(&lab.file());
        assert_eq!(lab.run(3700).await, ["token of one".to_owned()].into());
    }
    let tried = lab.entra.tried();
    assert_eq!(count(&tried, "one"), tried.len(), "{tried:?}");
    assert!(tried.len() <= 16, "{} sign-ins in six hours", tried.len());
    fs::remove_dir(lab.file()).unwrap();
    lab.write("two");
    lab.entra.accept(["two"]);
    lab.run(3).await;
    assert_eq!(lab.get_now().await, "token of two");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_seen_half_done_costs_a_refusal_and_no_more() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.entra.accept(["one", "two-whole"]);
    lab.write("two-");
    assert_eq!(lab.run(10).await, ["token of one".to_owned()].into());
    lab.write("two-whole");
    lab.run(3).await;
    assert_eq!(
        lab.get_now().await,
        "token of two-whole",
        "new content is not held back by the pauses of other content"
    );
}

#[tokio::test(start_paused = true)]
async fn content_that_is_taken_back_leaves_no_doubt() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.write("two");
    lab.run(5).await;
    lab.write("one");
    lab.run(5).await;
    lab.entra.tried();
    lab.run(60).await;
    assert_eq!(lab.entra.tried(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_change_while_entra_is_out_makes_no_storm_and_is_taken_over_afterwards() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.get(ARM).await;
    lab.entra.tried();
    lab.entra.accept(["two"]);
    lab.entra.0.down.store(true, Ordering::Relaxed);
    lab.write("two");
    assert_eq!(lab.run(1200).await, ["token of one".to_owned()].into());
    let tried = lab.entra.tried();
    assert_eq!(count(&tried, "one"), 0, "another secret would meet the same outage");
    assert!(tried.len() <= 60, "{} sign-ins in 20 min", tried.len());
    lab.entra.0.down.store(false, Ordering::Relaxed);
    lab.run(31).await;
    assert_eq!(lab.get_now().await, "token of two");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_by_the_last_good_content_if_the_newest_is_wrong() {
    let lab = Lab::new();
    let bearer = lab.get(VAULT).await;
    lab.write("two");
    lab.run(3).await;
    lab.entra.tried();
    lab.tokens.refused(&bearer, None);
    assert_eq!(lab.get(VAULT).await, "token of one");
    assert_eq!(count(&lab.entra.tried(), "one"), 1);
}

#[tokio::test(start_paused = true)]
async fn when_nothing_signs_in_the_newest_contents_refusal_is_told_and_it_heals() {
    let lab = Lab::new();
    lab.get(VAULT).await;
    lab.write("two");
    lab.entra.accept([]);
    lab.run(10).await;
    tokio::time::advance(LIFE).await;
    lab.tokens.get(VAULT).await.expect_err("an expired token is not given out");
    lab.entra.accept(["two"]);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(lab.get(VAULT).await, "token of two");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_there_yet_is_named_and_used_when_it_is() {
    let lab = Lab::new();
    fs::remove_file(lab.file()).unwrap();
    let error = lab.tokens.get(VAULT).await.expect_err("no file");
    assert!(error.to_string().contains(&lab.file().display().to_string()), "{error}");
    lab.write("one");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(lab.get(VAULT).await, "token of one");
}
