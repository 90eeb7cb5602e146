//! Where variables are told, and which place wins: one reading of the flags.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::listing::{self, Everything};
use super::surroundings::Surroundings;
use super::{Door, Faults, files};
use crate::cli::Exit;
use crate::hydrate::Template;
use crate::hydrate::dangerous::{is_dangerous, is_name};
use crate::hydrate::set::{Layer, Naming};
use crate::secret::Reference;

/// Flags that tell variables. A later one wins: the environment, `--all-from`, `--env-file`, `--map`, `--set`.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Places {
    /// Set a variable for every enabled secret of this vault, or of those that match: DB_PASSWORD for db-password; may be
    /// given several times
    #[arg(long, value_name = "VAULT[/GLOB]", value_parser = Everything::parse)]
    all_from: Vec<Everything>,
    /// With --all-from: take this from the start of the secrets' names
    #[arg(long, value_name = "TEXT", requires = "all_from")]
    strip: Option<String>,
    /// With --all-from: put this before the variables' names
    #[arg(long, value_name = "TEXT", requires = "all_from", default_value = "", hide_default_value = true)]
    prefix: String,
    /// With --all-from: leave the names' case as it is
    #[arg(long, requires = "all_from")]
    keep_case: bool,
    /// Set what this .env file sets, whose values may be references; no expansion: a '$' is a '$'; may be given several times
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// Set what this flat TOML or JSON file (by its ending) maps to references; may be given several times
    #[arg(long = "map", value_name = "FILE")]
    maps: Vec<PathBuf>,
    /// Set this variable to a secret's value, or to a text with references in it; may be given several times
    #[arg(long = "set", value_name = "NAME=REF", value_parser = pair)]
    sets: Vec<(String, String)>,
    /// Let this variable be set though it can take a program over, such as PATH or LD_PRELOAD; may be given several times
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
}

/// All that is known before a value is asked for.
pub(in crate::cli) struct Set {
    /// What is to be resolved, and what stands beside it in files.
    pub(in crate::cli) layer: Layer,
    /// What of the environment passes as it is; none of it is in the layer.
    pub(in crate::cli) plain: Vec<(OsString, OsString)>,
}

impl Places {
    /// What all places tell together, after asking what there is for `--all-from`; or everything that is wrong with them.
    pub(in crate::cli) async fn gather(&self, around: Surroundings<'_>, door: &Door<'_>) -> Result<Set, Faults> {
        let (mut layer, mut told, mut faults) = (Layer::new(), Layer::new(), Faults::none());
        let mut plain = around.take(&mut layer, &mut faults);
        self.read(&mut told, &mut faults).await;
        // What the command line gets wrong is told at once, and not after a wait.
        let faults = faults.or(Faults::none())?;
        let naming = Naming { strip: self.strip.clone(), prefix: self.prefix.clone(), keep_case: self.keep_case };
        layer.extend(listing::layer(door, &self.all_from, &naming).await?);
        layer.extend(told);
        let mut faults = faults;
        for name in layer.keys().filter(|name| is_dangerous(name) && !self.allow.contains(name)) {
            let what = format!("{name}: can take a program over; say --allow {name} if it is to be set");
            faults.add(Exit::Usage, what);
        }
        plain.retain(|(name, _)| name.to_str().is_none_or(|name| !layer.contains_key(name)));
        faults.or(Set { layer, plain })
    }

    /// What is told on the command line and in the files that it names.
    async fn read(&self, layer: &mut Layer, faults: &mut Faults) {
        for file in &self.env_files {
            files::env_file(file, layer, faults).await;
        }
        for file in &self.maps {
            files::map(file, layer, faults).await;
        }
        for (name, text) in &self.sets {
            // A short form, or a text with references in it.
            let template = match Reference::parse_lenient(text) {
                Ok(reference) => Ok(Template::of(reference)),
                Err(_) => Template::parse(text),
            };
            match template {
                // A program must not be given a mistyped reference for its password.
                Ok(template) if template.references().next().is_none() => {
                    let what =
                        "holds no reference: VAULT/NAME, or secret://VAULT/NAME, alone or as ${…} in a longer text";
                    faults.add(Exit::Usage, format!("--set {name}: {what}"));
                }
                Ok(template) => drop(layer.insert(name.clone(), template)),
                Err(error) => faults.add(Exit::Usage, format!("--set {name}: {error}")),
            }
        }
    }
}

/// `NAME=TEXT`.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=REF")?;
    if is_name(name) { Ok((name.to_owned(), value.to_owned())) } else { Err("the variable has no name") }
}
