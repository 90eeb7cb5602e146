//! Real processes of other users, in other user and pid namespaces, against the socket of a real sidecar.
//!
//! What the kernel says of a peer is what the gate goes by, and only real peers show what that is. They want root, and
//! `setpriv` and `unshare`, which every Linux with util-linux has; where one of these is missing, or namespaces are
//! forbidden, a test says so and is passed over.

mod memory;
mod namespaces;
mod rules;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cli::process::{Azure, Run, SIDEKEY, Told, finish, words};

/// What everybody asks for.
const ASKED: &str = "get pay-prod db-password";
const VALUE: &str = "Autumn-2026-staple";

const SETPRIV: &str = "/usr/bin/setpriv";
const UNSHARE: &str = "/usr/bin/unshare";

/// A user that is in no group but its own.
fn user(id: u32) -> Vec<String> {
    privileges(&format!("--reuid {id} --regid {id} --clear-groups"))
}

/// The same, in one group beside its own.
fn user_in(id: u32, group: u32) -> Vec<String> {
    privileges(&format!("--reuid {id} --regid {id} --groups {group}"))
}

fn privileges(how: &str) -> Vec<String> {
    [SETPRIV].into_iter().chain(words(how)).chain(["--"]).map(str::to_owned).collect()
}

/// Another namespace, entered by whoever `before` has become.
fn then_unshare(before: Vec<String>, how: &str) -> Vec<String> {
    before.into_iter().chain([UNSHARE].into_iter().chain(words(how)).chain(["--"]).map(str::to_owned)).collect()
}

/// A fake Azure, and a folder that every user can reach, with the program and the socket in it.
struct House {
    azure: Azure,
    program: PathBuf,
    /// Everybody may connect.
    open: bool,
}

/// A sidecar that is killed with its house.
struct Sidecar(Child);

impl House {
    /// `listen` is more of the section of that name; without any, everybody may connect, so that what is asked of a peer is
    /// shown without the socket's mode in front of it. `more` is more of the rest. `None`, said on stderr: this machine
    /// cannot show it.
    #[expect(clippy::print_stderr, reason = "who reads a green run must see what it did not show")]
    fn new(listen: &str, more: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("passed over: only root becomes other users");
            return None;
        }
        let probe = then_unshare(user(1001), "--user --map-root-user");
        let probe = probe.iter().map(String::as_str).chain(["/bin/true"]).collect::<Vec<_>>();
        if !Command::new(probe[0]).args(&probe[1..]).status().is_ok_and(|status| status.success()) {
            eprintln!("passed over: setpriv and unshare are not there, or namespaces are forbidden");
            return None;
        }
        let azure = Azure::demo();
        azure.only("pay-prod", more);
        let config = PathBuf::from(azure.config());
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("token_file = \"token\"\n", "").replace("[listen]\n", &format!("[listen]\n{listen}\n"));
        fs::write(&config, text).unwrap();
        let folder = config.parent().unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        // Where it was built may be closed to other users.
        let program = folder.join("sidekey");
        // By another process: what this one has open for writing, a child that another test starts at that moment has too, and
        // then it cannot be run.
        assert!(Command::new("/bin/cp").args([Path::new(SIDEKEY), &program]).status().unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { azure, program, open: listen.is_empty() })
    }

    /// A sidecar as this process's user, that has found its vaults.
    fn serve(&self) -> Sidecar {
        self.serve_as(&[])
    }

    fn serve_as(&self, whom: &[String]) -> Sidecar {
        let config = self.azure.config();
        let mut child = self.command(whom, &["serve", "--config", &config]).stderr(Stdio::piped()).spawn().unwrap();
        let told = Told::of(child.stderr.take().unwrap());
        let sidecar = Sidecar(child);
        told.until("first round done");
        if self.open {
            self.open_socket(0o666);
        }
        sidecar
    }

    /// What the configuration refuses, and an operator could do all the same.
    fn open_socket(&self, mode: u32) {
        fs::set_permissions(self.azure.socket(), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What somebody is answered.
    fn ask(&self, whom: &[String]) -> Run {
        let socket = self.azure.socket();
        finish(&mut self.command(whom, &[&words(ASKED), &["--addr", &socket][..]].concat()))
    }

    #[track_caller]
    fn gives(&self, whom: &[String]) {
        let run = self.ask(whom);
        assert_eq!((run.code, run.text()), (0, VALUE), "{whom:?}: {run:?}");
    }

    /// Refused by the sidecar, which says nothing of what there is: with a 403, or, where nobody at the other end could ever
    /// be known, by closing before a byte is read.
    #[track_caller]
    fn denies(&self, whom: &[String]) {
        let run = self.ask(whom);
        let closed = run.code == 69 && run.err.contains("most likely it has [[client]]s and none is for user ");
        assert!(run.code == 77 || closed, "{whom:?}: {run:?}");
        assert!(run.out.is_empty() && !run.err.contains(VALUE), "{whom:?}: {run:?}");
    }

    /// Refused before it is heard, as nobody who comes from there could be known by anything that it sends.
    #[track_caller]
    fn turns_away(&self, whom: &[String]) {
        let run = self.ask(whom);
        assert!(run.code == 69 && run.err.contains("none is for user "), "{whom:?}: {run:?}");
        self.denies(whom);
    }

    /// Refused by the kernel: the sidecar never hears of it.
    #[track_caller]
    fn is_closed_to(&self, whom: &[String]) {
        let run = self.ask(whom);
        assert_eq!(run.code, 69, "{whom:?}: {run:?}");
        assert!(run.out.is_empty() && run.err.contains("denied"), "{whom:?}: {run:?}");
    }

    fn command(&self, whom: &[String], args: &[&str]) -> Command {
        let program: &Path = &self.program;
        let line: Vec<_> = whom.iter().map(AsRef::as_ref).chain([program.as_os_str()]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).args(args).env_clear().env("XDG_RUNTIME_DIR", "/nonexistent-sidekey-test");
        command.current_dir("/").stdin(Stdio::null());
        command
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // `unshare` takes what it has started with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
