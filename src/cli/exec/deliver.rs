//! Each value where the program is to find it: in a variable, in a file, or in a descriptor.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use ring::hmac;

use super::Exec;
use crate::cli::hydration::{Faults, Set, Values};
use crate::cli::{Context, Exit};
use crate::config::cause;
use crate::hydrate::Program;
use crate::hydrate::files::Folder;
use crate::hydrate::limits;

/// Where values go beside variables.
pub(super) struct Delivery<'a> {
    args: &'a Exec,
    folder: Option<Folder>,
}

/// All values together, by a key that this process alone has: the same values have the same mark.
pub(super) type Mark = hmac::Tag;

impl<'a> Delivery<'a> {
    /// What is wrong with the ways that were asked for is found before anybody is asked for a value.
    pub(super) fn of(args: &'a Exec, set: &Set, context: &Context) -> Result<Self, Faults> {
        let mut faults = Faults::none();
        for name in args.descriptors.iter().filter(|name| !set.layer.contains_key(*name)) {
            faults.add(Exit::Usage, format!("--fd {name}: no variable of that name refers to a secret"));
        }
        if args.as_files.is_some() {
            for name in set.layer.keys().filter(|name| name.contains('/') || name.starts_with('.')) {
                faults.add(Exit::Usage, format!("{name}: is no name for a file"));
            }
        }
        let folder = args.as_files.as_ref().and_then(|path| match Folder::open(path, context.uid, args.allow_disk) {
            Ok(folder) => Some(folder),
            Err(error) => {
                faults.add(Exit::Usage, format!("--as-files {}: {error}", path.display()));
                None
            }
        });
        faults.or(Self { args, folder })
    }

    /// The program, ready to be started. Nothing is delivered before all values are rendered and known to fit.
    pub(super) fn deliver(&self, set: &Set, values: &Values) -> Result<(Program, Mark), Faults> {
        let mut program = Program::new(self.args.command.clone(), set.plain.clone());
        let (mut faults, mut rendered) = (Faults::none(), Vec::new());
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
            let by_file = self.folder.is_some() && template.references().next().is_some();
            let in_environment = !by_file && !self.args.descriptors.contains(name);
            if in_environment && value.contains(&0) {
                let what = "the value holds a NUL, which no variable can; give it as a file: --as-files";
                faults.add(Exit::Usage, format!("{name}: {what}"));
            } else if let Some(error) =
                limits::one(name.as_ref(), OsStr::from_bytes(&value)).err().filter(|_| in_environment)
            {
                faults.add(Exit::Usage, format!("{name}: {error}"));
            }
            rendered.push((name, value, by_file));
        }
        let mut faults = faults.or(Faults::none())?;
        for (name, value, by_file) in rendered {
            let done = if self.args.descriptors.contains(name) {
                program.hand(name.as_ref(), &value)
            } else if let Some(folder) = self.folder.as_ref().filter(|_| by_file) {
                folder.write(name, &value).map(|path| program.set(name.as_ref(), path.into()))
            } else {
                program.set(name.as_ref(), OsString::from_vec(value.to_vec()));
                Ok(())
            };
            if let Err(error) = done {
                faults.add(Exit::InputOutput, format!("{name}: cannot be delivered: {}", cause(error.kind())));
            }
        }
        for (name, error) in program.fits().err().unwrap_or_default() {
            faults.add(
                Exit::Usage,
                match name {
                    Some(name) => format!("{}: {error}", name.display()),
                    None => error.to_string(),
                },
            );
        }
        faults.or((program, mark.sign()))
    }
}

/// Marks are compared within one process alone.
fn key() -> hmac::Key {
    static KEY: std::sync::OnceLock<[u8; 32]> = std::sync::OnceLock::new();
    let bytes = KEY.get_or_init(|| {
        let mut bytes = [0; 32];
        // Without randomness a mark is a plain digest, and it never leaves this process.
        let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
        bytes
    });
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}
