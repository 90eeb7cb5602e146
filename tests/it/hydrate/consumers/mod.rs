//! Round trips through the real readers of each format: what comes out is what went in, byte for byte, for thousands of
//! values, or the format refuses the value beforehand, by the variable's name. A reader is started once for all of them.
//!
//! A reader that this machine does not have is left out, and says so; `tests/round-trips/run.sh` brings them all, and
//! then one that is missing is a failure.

mod docker;
mod documents;
pub(super) mod dotenv;
mod github;
mod kubernetes;
mod shells;
mod systemd;
pub(super) mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use sidekey::hydrate::Format;
use sidekey::secret::SecretValue;

/// What a reader made of a file.
pub(super) type Found = BTreeMap<String, Vec<u8>>;

/// All values in one format: those that it carries, in a file.
struct Trip {
    format: Format,
    carried: Found,
    refused: Vec<Vec<u8>>,
    page: Vec<u8>,
    folder: tempfile::TempDir,
}

impl Trip {
    fn of(format: Format) -> Self {
        let (mut carried, mut refused, mut set) = (Found::new(), Vec::new(), BTreeMap::new());
        for (at, value) in values::all().iter().enumerate() {
            let name = format!("V{at:05}");
            match print(format, &[(&name, value)]) {
                Ok(_) => {
                    set.insert(name.clone(), SecretValue::new(&**value));
                    carried.insert(name, value.clone());
                }
                Err(told) => {
                    assert!(told.starts_with(&format!("{name}: ")), "{format}: {told}");
                    refused.push(value.clone());
                }
            }
        }
        let page = format.print(&set, "app").unwrap().to_vec();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("given"), &page).unwrap();
        Self { format, carried, refused, page, folder }
    }

    /// The same with fewer values, for a reader that takes no others.
    fn of_those(&self, fits: impl Fn(&[u8]) -> bool) -> Self {
        let fits = |(_, value): &(&String, &Vec<u8>)| fits(value);
        let given: Vec<_> = self.carried.iter().filter(fits).map(|(name, value)| (&**name, &**value)).collect();
        Self::of_these(self.format, &given)
    }

    /// The same of a few variables, all of which the format carries.
    fn of_these(format: Format, given: &[(&str, &[u8])]) -> Self {
        let page = print(format, given).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("given"), &page).unwrap();
        let carried = given.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        Self { format, carried, refused: Vec::new(), page, folder }
    }

    /// Nothing is refused but what cannot be carried, and all of that is.
    #[track_caller]
    fn refuses(&self, cannot: impl Fn(&[u8]) -> bool) {
        for value in self.carried.values() {
            assert!(!cannot(value), "{} carries {}", self.format, value.escape_ascii());
        }
        for value in &self.refused {
            assert!(cannot(value), "{} refuses {}", self.format, value.escape_ascii());
        }
    }

    fn path(&self) -> String {
        self.folder.path().join("given").display().to_string()
    }

    /// Runs a reader in an empty environment, which prints `NAME=VALUE` and a NUL for each variable; the file's name
    /// stands for `{}` in its arguments.
    #[track_caller]
    fn read_by(&self, program: &str, args: &[&str]) {
        let output = program_with(program, &self.path(), args).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {program} {args:?}: {told}", self.format);
        self.same(&format!("{program} {args:?}"), pairs(&output.stdout));
    }

    #[track_caller]
    fn same(&self, reader: &str, mut found: Found) {
        for (name, value) in &self.carried {
            let told = found.remove(name).map(|found| found.escape_ascii().to_string());
            assert_eq!(told, Some(value.escape_ascii().to_string()), "{}: {reader}: {name}", self.format);
        }
        // What every process has besides.
        let own = [
            "PATH",
            "HOME",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
            "LC_ALL",
            "LANG",
            "NODE_PATH",
            "RUBYLIB",
            "LOGNAME",
            "A__z",
        ];
        found.retain(|name, _| !own.contains(&name.as_str()));
        assert!(found.is_empty(), "{}: {reader}: more than was given: {:?}", self.format, found.keys());
    }
}

/// The text, or what is said of what cannot be carried.
fn print(format: Format, given: &[(&str, &[u8])]) -> Result<Vec<u8>, String> {
    let set = given.iter().map(|(name, value)| ((*name).to_owned(), SecretValue::new(*value))).collect();
    format.print(&set, "app").map(|page| page.to_vec()).map_err(|unfit| unfit.to_string())
}

pub(super) fn pairs(text: &[u8]) -> Found {
    let pair = |pair: &[u8]| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((String::from_utf8(pair[..at].to_vec()).ok()?, pair[at + 1..].to_vec()))
    };
    text.split(|byte| *byte == 0).filter_map(pair).collect()
}

pub(super) fn program_with(program: &str, path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args.iter().map(|arg| arg.replace("{}", path))).stdin(Stdio::null()).env_clear();
    let kept = ["PATH", "HOME", "NODE_PATH", "RUBYLIB"].map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept.into_iter().flatten());
    command
}

/// Whether the reader is here. Who runs the tests is told what was not tried.
pub(super) fn has(program: &str, args: &[&str]) -> bool {
    let run = program_with(program, "", args).output();
    let found = run.is_ok_and(|output| output.status.success());
    if !found {
        let folder = format!("{}/", reader(""));
        left_out(&format!("{program} {}", args.join(" ").replace(&folder.replace("//", "/"), "")));
    }
    found
}

fn left_out(reader: &str) {
    assert_ne!(std::env::var_os("ROUND_TRIPS"), Some(OsString::from("every")), "{reader} is missing");
    told_as_left_out(reader);
}

fn told_as_left_out(reader: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap().insert(reader.to_owned()) {
        // Past the test runner, which keeps what a test prints to itself.
        let _ = writeln!(std::io::stderr(), "left out, as it does not run here: {reader}");
    }
}

/// A program of `tests/round-trips/readers`.
pub(super) fn reader(name: &str) -> String {
    format!("{}/tests/round-trips/readers/{name}", env!("CARGO_MANIFEST_DIR"))
}
