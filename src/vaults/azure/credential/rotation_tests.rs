use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use azure_core::credentials::AccessToken;
use time::OffsetDateTime;

use super::super::proof::Form;
use super::*;
use crate::vaults::azure::settings::Credential;

const SCOPE: &str = "https://vault.azure.net/.default";

/// Takes what begins with "good".
#[derive(Debug)]
struct Entra;

#[async_trait]
impl Exchange for Entra {
    async fn exchange(&self, proof: &Proof, _scope: &str) -> Result<AccessToken, VaultError> {
        if proof.line(0).starts_with("good") {
            return Ok(AccessToken::new("token", OffsetDateTime::now_utc() + Duration::from_secs(3600)));
        }
        Err(VaultError::new(VaultErrorKind::Unauthenticated { code: None }, "refused"))
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines since the last question.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Lab {
    log: Log,
    file: tempfile::NamedTempFile,
    rotating: Rotating,
    _logging: tracing::subscriber::DefaultGuard,
}

/// Somebody listens in every thread, though not to it: what one test logs where nobody does could else be taken, in that
/// moment, for what nobody ever wants to hear.
fn everybody_listens() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    });
}

impl Lab {
    fn new() -> Self {
        everybody_listens();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let file = tempfile::NamedTempFile::new().unwrap();
        let from = Credential::File(file.path().to_owned());
        let rotating = Rotating::new(Entra, Part { what: "client secret", from, form: Form::Line }, None);
        Self { log, file, rotating, _logging: tracing::subscriber::set_default(subscriber) }
    }

    /// Some rounds with that content, on this thread, so that its log is heard; what was logged.
    async fn rounds(&self, content: &str) -> Vec<String> {
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(self.file.path()).unwrap();
        fs::write(self.file.path(), content).unwrap();
        for _ in 0..5 {
            self.rotating.0.read();
            for proof in self.rotating.candidates().unwrap_or_default() {
                self.rotating.sign_in(&proof, SCOPE).await.ok();
            }
        }
        self.log.lines()
    }
}

fn said(lines: &[String], words: &[&str]) {
    assert_eq!(lines.len(), words.len(), "{lines:#?}");
    for (line, word) in lines.iter().zip(words) {
        assert!(line.contains(word), "{line:?} should say {word:?}");
        assert!(!line.contains("canary"), "{line:?} tells what is in the file");
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once_and_its_content_never() {
    let lab = Lab::new();
    said(&lab.rounds("good-canary-1").await, &[]);
    said(&lab.rounds("good-canary-2").await, &["has changed", "signed in with the new content"]);
    said(&lab.rounds("bad-canary").await, &["has changed", "does not sign in"]);
    said(&lab.rounds("").await, &["is empty"]);
    fs::remove_file(lab.file.path()).unwrap();
    lab.rotating.0.read();
    lab.rotating.0.read();
    said(&lab.log.lines(), &["cannot be read: entity not found"]);
    said(&lab.rounds("good-canary-2").await, &["can be used again", "holds again what signed in last"]);
    said(&lab.rounds("good-canary-3").await, &["has changed", "signed in with the new content"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_others_may_read_is_warned_about_once_and_used() {
    let lab = Lab::new();
    let mode = |mode| fs::set_permissions(lab.file.path(), fs::Permissions::from_mode(mode)).unwrap();
    for private in [0o600, 0o700] {
        mode(private);
        said(&lab.rounds("good").await, &[]);
    }
    mode(0o640);
    said(&lab.rounds("good").await, &["may be read or changed by others than its owner"]);
    mode(0o644);
    said(&lab.rounds("good").await, &[]);
    assert!(lab.rotating.issue(SCOPE).await.is_ok());
}

#[tokio::test]
async fn a_file_that_never_answers_does_not_hold_up_what_was_read_before() {
    let mut lab = Lab::new();
    fs::write(lab.file.path(), "good").unwrap();
    lab.rotating.issue(SCOPE).await.unwrap();
    Arc::get_mut(&mut lab.rotating.0).unwrap().patience = Duration::ZERO;
    // Opening a pipe that nobody writes to takes for ever, as a network share may.
    fs::remove_file(lab.file.path()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, lab.file.path(), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    lab.rotating.issue(SCOPE).await.unwrap();
    lab.rotating.issue(SCOPE).await.unwrap();
    assert!(lab.rotating.0.book().reading.is_some(), "one thread hangs, and no second is sent after it");
    drop(fs::OpenOptions::new().write(true).open(lab.file.path()).unwrap());
}
