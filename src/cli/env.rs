//! `env`: the variables that a program would be started with, printed for whoever else sets them.
//!
//! Must never happen: a part of the set; a value on a terminal that was not asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::get::write_private;
use super::hydration::{Asking, Door, Faults, Places, Surroundings, Wanted};
use super::terminal::{print, stdout_is_terminal};
use super::{Context, Exit, Failure};
use crate::hydrate::Format;
use crate::secret::SecretValue;

/// Print variables with the secrets that they refer to, in the format of whoever reads them.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Env {
    /// Who is to read it
    #[arg(long, short, value_parser = formats(), default_value = "dotenv")]
    format: Format,
    #[command(flatten)]
    places: Places,
    /// Take nothing from the environment, only what the flags tell
    #[arg(long)]
    no_environment: bool,
    /// The Secret's name, for k8s-secret
    #[arg(long, value_name = "NAME", required_if_eq("format", "k8s-secret"))]
    name: Option<String>,
    /// Write into this file (0600, replaced atomically)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the values though a terminal shows them
    #[arg(long, conflicts_with = "out")]
    show: bool,
    #[command(flatten)]
    asking: Asking,
}

const AFTER_HELP: &str = "\
Examples:
  sidekey env --env-file app.env --out /run/app/env
  eval \"$(sidekey env --format sh --map app.toml)\"
  sidekey env --format docker --all-from 'pay-prod/orders-*' --strip orders- --out app.env
  sidekey env --format k8s-secret --name orders --all-from 'pay-prod/*' | kubectl apply -f -
  sidekey env --format github --map app.json >> \"$GITHUB_ENV\"

Of the environment, the variables that hold references are taken. A later place wins: the environment, --all-from, --env-file, --map, --set. All references are resolved together: if one fails, every failure is told by its variable, and nothing is printed; the same if the format cannot carry a value.";

pub(super) async fn run(args: &Env, context: &Context) -> Result<(), Failure> {
    if args.out.is_none() && !args.show && stdout_is_terminal() {
        let what = "values would be shown on this terminal\nsay --show if that is meant, or --out FILE";
        return Err(Failure::new(Exit::Usage, what));
    }
    let title = args.title()?;
    let set = args.set(context).await.map_err(|faults| faults.so("nothing was printed"))?;
    let unfit = |unfit| format!("nothing was printed:\n{unfit}\nthe format {} cannot carry that", args.format);
    let page = args.format.print(&set, title).map_err(|error| Failure::new(Exit::Usage, unfit(error)))?;
    match &args.out {
        Some(file) => write_private(file, &page),
        None => print(&page),
    }
}

impl Env {
    /// Every variable that holds a reference, or that a flag tells, with its value.
    async fn set(&self, context: &Context) -> Result<BTreeMap<String, SecretValue>, Faults> {
        let door = Door::new(context, &self.asking);
        let around = if self.no_environment { Surroundings::None } else { Surroundings::Passed(&[]) };
        let layer = self.places.gather(around, &door).await?.layer;
        if layer.is_empty() {
            let what = "no variable refers to a secret, and no --all-from, --env-file, --map or --set tells any";
            return Err(Faults::one(Exit::Usage, what));
        }
        let values = door.resolve(&Wanted::by(&layer)).await?;
        let (mut set, mut faults) = (BTreeMap::new(), Faults::none());
        for (name, template) in layer {
            match template.render(|reference| values.of(reference)) {
                Ok(value) => drop(set.insert(name, value)),
                Err(bad) => faults.add(Exit::Usage, format!("{name}: {bad}")),
            }
        }
        faults.or(set)
    }

    /// A DNS subdomain, as Kubernetes names things.
    fn title(&self) -> Result<&str, Failure> {
        let Some(name) = &self.name else { return Ok("") };
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(fits) && !label.starts_with('-') && !label.ends_with('-')
        };
        if name.len() <= 253 && name.split('.').all(label) {
            return Ok(name);
        }
        Err(Failure::new(Exit::Usage, "--name: a Secret's name has small letters, digits, '-' and '.' only"))
    }
}

fn formats() -> impl clap::builder::TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(|(word, _)| word))
        .map(|word| word.parse().expect("only the words of formats are possible"))
}
