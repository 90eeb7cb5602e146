//! Running the built binary: nothing of this machine's environment, and waiting by reading what it prints.
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sidekey::emulator::{Change, Emulator, Estate};

pub const SIDEKEY: &str = env!("CARGO_BIN_EXE_sidekey");

/// What one run came to.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Run {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// The binary with these arguments, in an empty environment.
pub fn command<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(SIDEKEY);
    // No sidecar of this machine is at these places.
    let nowhere = "/nonexistent-sidekey-test";
    command.args(args).env_clear().env("XDG_RUNTIME_DIR", nowhere).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn sidekey<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    finish(&mut command(args))
}

pub fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    Run { code: output.status.code().unwrap_or(-1), out: output.stdout, err }
}

/// Words as a shell would split them.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// A process that stays, ended when it is dropped.
pub struct Staying {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
}

impl Staying {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, out }
    }

    /// What it prints up to the line that is, or starts with, that.
    pub fn read_until(&mut self, mark: &str) -> String {
        let mut text = String::new();
        for line in self.out.by_ref() {
            let line = line.unwrap();
            text.push_str(&line);
            text.push('\n');
            if line.starts_with(mark) {
                return text;
            }
        }
        panic!("it ended before {mark:?}: {text}");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it prints from here to its end.
    pub fn rest(&mut self) -> String {
        self.out.by_ref().map(|line| line.unwrap() + "\n").collect()
    }

    /// Its exit code, when it ends by itself.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Asks it to stop and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A fake Azure in this process, and a configuration that leads to it.
pub struct Azure {
    pub emulator: Emulator,
    folder: tempfile::TempDir,
    /// The emulator runs on it.
    _runtime: tokio::runtime::Runtime,
}

pub const CLIENT_SECRET: &str = "demo-client-secret";

impl Azure {
    /// The demo's estate.
    pub fn demo() -> Self {
        Self::of(Estate::demo(time::OffsetDateTime::now_utc()))
    }

    /// An estate in which the demo's application signs in as it does in the demo.
    pub fn of(estate: Estate) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let emulator = runtime.block_on(async { Emulator::start_on_loopback(estate).unwrap() });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), emulator.ca_pem()).unwrap();
        let azure = Self { emulator, folder, _runtime: runtime };
        azure.sign_in_with(CLIENT_SECRET);
        azure.configure("");
        azure
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn socket(&self) -> String {
        self.path("s.sock").display().to_string()
    }

    pub fn config(&self) -> String {
        self.path("sidekey.toml").display().to_string()
    }

    pub fn sign_in_with(&self, secret: &str) {
        fs::write(self.path("client-secret"), secret).unwrap();
    }

    /// A new version of a secret.
    pub fn set(&self, vault: &str, secret: &str, value: &str) {
        let (vault, secret, value) = (vault.to_owned(), secret.to_owned(), value.to_owned());
        let set = Change::Set { vault, secret, value, expires_in_s: None, content_type: None, tags: BTreeMap::new() };
        self.emulator.control().change(set).unwrap();
    }

    /// Writes the configuration, with more of it.
    pub fn configure(&self, more: &str) {
        self.configure_source(more, "");
    }

    /// Writes the configuration, with more of it, and more of its source.
    pub fn configure_source(&self, more: &str, source: &str) {
        let to = self.emulator.addr();
        let socket = self.socket();
        let text = format!(
            "{more}\n[listen]\nsocket = {socket:?}\ntoken_file = \"token\"\n[[source]]\nname = \"contoso\"\n\
             tenant_id = \"72f988bf-0000-4000-8000-00000000c0de\"\nclient_id = \"5ec2e7aa-0000-4000-8000-000000051de0\"\n\
             client_secret_file = \"client-secret\"\nca_file = \"ca.pem\"\nresolve = {{ \"login.microsoftonline.com\" = \
             \"{to}\", \"management.azure.com\" = \"{to}\", \"*.vault.azure.net\" = \"{to}\" }}\n{source}\n"
        );
        fs::write(self.path("sidekey.toml"), text).unwrap();
    }

    /// One command that signs in by itself.
    pub fn direct(&self, line: &str) -> Run {
        let config = self.config();
        sidekey(words(line).into_iter().chain(["--direct", "--config", &config]))
    }

    /// The configuration of a sidecar that looks at one vault alone.
    pub fn only(&self, vault: &str, more: &str) {
        self.configure(more);
        let mut text = fs::read_to_string(self.path("sidekey.toml")).unwrap();
        text.push_str(&format!("include = [{vault:?}]\n"));
        fs::write(self.path("sidekey.toml"), text).unwrap();
    }

    /// A command that stays, with the configuration; what it tells can be waited for.
    pub fn begin(&self, line: &str) -> (Staying, Told) {
        let config = self.config();
        let mut command = command(words(line).into_iter().chain(["--config", &config]));
        let mut staying = Staying::start({
            command.stderr(Stdio::piped());
            command
        });
        let told = Told::of(staying.stderr());
        (staying, told)
    }

    /// A sidecar, listening; stderr is read up to the end of its first round.
    pub fn serve(&self, args: &str) -> (Staying, String) {
        let (serving, told) = self.begin(&format!("serve {args}"));
        let text = told.until("first round done");
        (serving, text)
    }

    /// One command to the sidecar that [`Azure::serve`] started.
    pub fn ask(&self, line: &str) -> Run {
        self.asked(line, "s.sock")
    }

    /// The same by another name of the socket.
    pub fn asked(&self, line: &str, socket: &str) -> Run {
        let socket = self.path(socket).display().to_string();
        sidekey(words(line).into_iter().chain(["--addr", &socket]))
    }
}

/// What a process tells on stderr, read to its end whether anybody waits for it or not, so that a full pipe stops nobody.
pub struct Told(mpsc::Receiver<String>);

impl Told {
    pub fn of(stderr: std::process::ChildStderr) -> Self {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Whoever wanted to know may be gone.
                let _ = tell.send(line);
            }
        });
        Self(told)
    }

    /// What is told until nothing was for half a second.
    pub fn until_quiet(&self) -> String {
        let mut text = String::new();
        while let Ok(line) = self.0.recv_timeout(Duration::from_millis(500)) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Everything from where the last wait ended up to a line with that in it.
    pub fn until(&self, mark: &str) -> String {
        let mut text = String::new();
        for line in &self.0 {
            text.push_str(&line);
            text.push('\n');
            if line.contains(mark) {
                return text;
            }
        }
        panic!("it ended before {mark:?}: {text}");
    }
}

pub fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
