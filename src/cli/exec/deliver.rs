//! Each value where the program is to find it: in a variable, in a file, or in sealed memory.
//!
//! Must never happen: a delivery before all values are known to fit; a value in two places.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::OnceLock;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Exec;
use crate::cli::hydration::{Faults, Set, Values};
use crate::cli::{Context, Exit};
use crate::config::cause;
use crate::hydrate::files::{Folder, is_file_name};
use crate::hydrate::{Program, Put};
use crate::secret::Exposed;

/// The ways in which values are delivered.
pub(super) struct Delivery<'a> {
    args: &'a Exec,
    folder: Option<Folder>,
}

/// A program with all its values, of which those that are no variables are still to be put in their places.
pub(super) struct Filled<'a> {
    delivery: &'a Delivery<'a>,
    program: Program,
    files: Vec<(&'a str, Exposed)>,
    memory: Vec<(&'a str, Exposed)>,
    mark: Mark,
}

/// Of all values together, by a key that this process alone has: the same values have the same mark.
pub(super) type Mark = hmac::Tag;

/// As long as the longest path to a descriptor.
const SOMEWHERE: &str = "/proc/self/fd/2147483647";

impl<'a> Delivery<'a> {
    /// What is wrong with the ways that were asked for is found before anybody is asked for a value.
    pub(super) fn of(args: &'a Exec, set: &Set, context: &Context) -> Result<Self, Faults> {
        let mut faults = Faults::none();
        for name in args.descriptors.iter().filter(|name| !set.layer.contains_key(*name)) {
            faults.add(Exit::Usage, format!("--fd {name}: no variable of that name refers to a secret"));
        }
        if args.as_files.is_some() {
            for name in set.layer.keys().filter(|name| !is_file_name(name)) {
                faults.add(Exit::Usage, format!("{name}: is no name for a file"));
            }
        }
        let mut faults = faults.or(Faults::none())?;
        let folder = args.as_files.as_ref().and_then(|path| {
            let told = |error| faults.add(Exit::Usage, format!("--as-files {}: {error}", path.display()));
            Folder::open(path, context.uid, args.allow_disk).map_err(told).ok()
        });
        faults.or(Self { args, folder })
    }

    /// The program, with everything that is wrong with its values told at once; nothing is written anywhere yet.
    pub(super) fn fill(&'a self, set: &'a Set, values: &Values) -> Result<Filled<'a>, Faults> {
        let mut program = Program::new(self.args.command.clone(), set.plain.clone());
        let (mut files, mut memory, mut faults) = (Vec::new(), Vec::new(), Faults::none());
        let mut mark = hmac::Context::with_key(&key());
        for (name, template) in &set.layer {
            let value = match template.render(|reference| values.of(reference)) {
                Ok(value) => value.expose(),
                Err(error) => {
                    faults.add(Exit::Usage, format!("{name}: {error}"));
                    continue;
                }
            };
            mark.update(&(value.len() as u64).to_le_bytes());
            mark.update(&value);
            let folder = self.folder.as_ref().filter(|_| template.references().next().is_some());
            if self.args.descriptors.contains(name) {
                program.set(name.as_ref(), SOMEWHERE.into());
                memory.push((name.as_str(), value));
            } else if let Some(folder) = folder {
                program.set(name.as_ref(), folder.place(name).into());
                files.push((name.as_str(), value));
            } else if value.contains(&0) {
                let what = "the value holds a NUL, which no variable can; give it as a file: --as-files";
                faults.add(Exit::Usage, format!("{name}: {what}"));
            } else {
                program.set(name.as_ref(), OsString::from_vec(value.to_vec()));
            }
        }
        for (name, error) in program.fits().err().unwrap_or_default() {
            let name = name.map(|name| format!("{}: ", name.display())).unwrap_or_default();
            faults.add(Exit::Usage, format!("{name}{error}"));
        }
        faults.or(Filled { delivery: self, program, files, memory, mark: mark.sign() })
    }

    /// Takes the files away again.
    pub(super) fn remove(&self) {
        if let Some(folder) = &self.folder {
            folder.remove();
        }
    }
}

impl Filled<'_> {
    /// The same for the same values.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Puts every value where it belongs.
    pub(super) fn deliver(mut self) -> Result<Program, Faults> {
        for (name, value) in &self.memory {
            let handed = self.program.hand(name.as_ref(), value);
            handed.map_err(|error| undeliverable(&format!("--fd {name}"), &error))?;
        }
        if let Some(folder) = &self.delivery.folder {
            let told = |error| undeliverable(&format!("--as-files {}", folder.place("").display()), &error);
            let files: Vec<_> = self.files.iter().map(|(name, value)| (*name, &**value)).collect();
            if let Put::But(name, error) = folder.put(&files).map_err(told)? {
                return Err(undeliverable(&format!("--as-files {}", folder.place(&name).display()), &error));
            }
        }
        Ok(self.program)
    }
}

fn undeliverable(way: &str, error: &std::io::Error) -> Faults {
    Faults::one(Exit::InputOutput, format!("{way}: {}", cause(error)))
}

/// Marks are compared within one process alone.
fn key() -> hmac::Key {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let bytes = KEY.get_or_init(|| {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
        bytes
    });
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}
