//! `env`: the variables that a program would be started with, printed for whoever else sets them.
//!
//! Must never happen: a part of the set; a value on a terminal that was not asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::args::Connect;
use super::client::{Answer, Client, Request};
use super::exit::{code_of, exit_of};
use super::get::write_private;
use super::sidecar::Need;
use super::sources::Sources;
use super::terminal::{harmless, print, stdout_is_terminal};
use super::{Context, Exit, Failure};
use crate::api::model::{ProblemDocument, ResolveAnswer, ResolveRequest};
use crate::config::environment;
use crate::hydrate::dangerous::{is_dangerous, is_ours};
use crate::hydrate::set::Layer;
use crate::hydrate::{Format, Template};
use crate::secret::{Reference, SecretValue};

/// Print variables with the secrets that they refer to, in the format of whoever reads them.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Env {
    /// Who is to read it
    #[arg(long, short, value_parser = formats(), default_value = "dotenv")]
    format: Format,
    #[command(flatten)]
    sources: Sources,
    /// Take nothing from the environment, only what the flags tell
    #[arg(long)]
    clean: bool,
    /// Let this variable be set though it can take a program over, such as PATH or LD_PRELOAD
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
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
    connect: Connect,
}

const AFTER_HELP: &str = "\
Examples:
  sidekey env --env-file app.env --out /run/app/env
  eval \"$(sidekey env --format sh --map app.toml)\"
  sidekey env --format docker --all-from 'pay-prod/orders-*' --strip orders- --out app.env
  sidekey env --format k8s-secret --name orders --all-from 'pay-prod/*' | kubectl apply -f -
  sidekey env --format github --map app.json >> \"$GITHUB_ENV\"

Of the environment, the variables that hold references are taken. A later one wins: the environment, --all-from, --env-file,
--map. What a format cannot carry is told by the variable's name, and then nothing is printed.";

pub(super) async fn run(args: &Env, context: &Context) -> Result<(), Failure> {
    if args.out.is_none() && !args.show && stdout_is_terminal() {
        let what = "values would be shown on this terminal\nsay --show if that is meant, or --out FILE";
        return Err(Failure::new(Exit::Usage, what));
    }
    let title = args.title()?;
    let environment = if args.clean { Layer::new() } else { of_environment()? };
    let files = args.sources.of_files()?;
    let mut client = None;
    let mut layer = environment;
    if args.sources.must_list() {
        let asked = client.insert(Client::connect(context, &args.connect)?);
        layer.extend(args.sources.of_listings(asked).await?);
    }
    layer.extend(files);
    let refused = |name: &&String| is_dangerous(name) && !args.allow.contains(name);
    let wrong: Vec<_> = layer.keys().filter(refused).map(|name| format!("{name}: can take a program over")).collect();
    if !wrong.is_empty() {
        let what = format!("{}\nsay --allow NAME for each that is meant", wrong.join("\n"));
        return Err(nothing(Exit::Usage, &what));
    }
    if layer.is_empty() {
        return Err(nothing(
            Exit::Usage,
            "no variable refers to a secret, and no --env-file, --map or --all-from tells any",
        ));
    }
    let values = if layer.values().any(|template| template.references().next().is_some()) {
        let client = match client {
            Some(client) => client,
            None => Client::connect(context, &args.connect)?,
        };
        resolve(&client, &layer).await?
    } else {
        BTreeMap::new()
    };
    let (mut set, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, template) in &layer {
        match template.render(|reference| &values[&reference.to_string()]) {
            Ok(value) => drop(set.insert(name.clone(), value)),
            Err(bad) => wrong.push(format!("{name}: {bad}")),
        }
    }
    if !wrong.is_empty() {
        return Err(nothing(Exit::Usage, &wrong.join("\n")));
    }
    let page = args
        .format
        .print(&set, title)
        .map_err(|unfit| nothing(Exit::Usage, &format!("{unfit}\nthe format {} cannot carry that", args.format)))?;
    match &args.out {
        Some(file) => write_private(file, &page),
        None => print(&page),
    }
}

impl Env {
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

/// The variables of the environment that hold references. Sidekey's own are not an app's.
fn of_environment() -> Result<Layer, Failure> {
    let (mut layer, mut wrong) = (Layer::new(), Vec::new());
    for (name, value) in environment() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        if is_ours(name) {
            continue;
        }
        match Template::parse(value) {
            Ok(template) if template.references().next().is_some() => drop(layer.insert(name.to_owned(), template)),
            Ok(_) => {}
            Err(bad) => wrong.push(format!("{name}: {bad}")),
        }
    }
    if wrong.is_empty() { Ok(layer) } else { Err(nothing(Exit::Usage, &wrong.join("\n"))) }
}

/// All values by their references' text, or every failure.
async fn resolve(client: &Client, layer: &Layer) -> Result<BTreeMap<String, SecretValue>, Failure> {
    let references: BTreeMap<String, &Reference> =
        layer.values().flat_map(Template::references).map(|reference| (reference.to_string(), reference)).collect();
    if references.values().any(|reference| reference.vault.is_none()) {
        client.prepare(Need::Everything).await;
    } else {
        for vault in references.values().filter_map(|reference| reference.vault.as_ref()) {
            client.prepare(Need::Vault(vault)).await;
        }
    }
    let refs = references.keys().map(|text| (text.clone(), text.clone())).collect();
    let answer = client.send(&Request::v1(&["resolve"]).send(&ResolveRequest { refs })).await?;
    if !answer.status.is_success() {
        return Err(failures(layer, &answer));
    }
    let answered = serde_json::from_slice::<ResolveAnswer>(&answer.body).ok();
    let values = answered.map(|answered| {
        answered.values.into_iter().map(|(key, value)| (key, value.into_secret())).collect::<BTreeMap<_, _>>()
    });
    values.filter(|values| references.keys().all(|key| values.contains_key(key))).ok_or_else(|| {
        Failure::new(Exit::Unavailable, "the sidecar's answer is not understood; is it of another version?")
    })
}

/// Each failure by its variable; the exit code is that of what waiting does not mend, if there is any.
fn failures(layer: &Layer, answer: &Answer) -> Failure {
    let whole = Client::in_words(answer);
    let Ok(problem) = serde_json::from_slice::<ProblemDocument>(&answer.body) else { return whole };
    let (mut wrong, mut exits) = (Vec::new(), Vec::new());
    for (reference, fault) in &problem.errors {
        let uses = |template: &Template| template.references().any(|used| used.to_string() == *reference);
        for (name, _) in layer.iter().filter(|(_, template)| uses(template)) {
            wrong.push(format!("{name}: {reference}: {}", fault.detail));
        }
        exits.push(code_of(&fault.code).map_or(Exit::Unavailable, exit_of));
    }
    wrong.sort_unstable();
    let lasting =
        exits.iter().find(|exit| **exit == Exit::Denied).or(exits.iter().find(|exit| **exit != Exit::Unavailable));
    if wrong.is_empty() { whole } else { nothing(*lasting.unwrap_or(&Exit::Unavailable), &wrong.join("\n")) }
}

fn nothing(exit: Exit, why: &str) -> Failure {
    let told: Vec<_> = why.lines().map(|line| format!("  {}", harmless(line))).collect();
    Failure::new(exit, format!("nothing was printed:\n{}", told.join("\n")))
}

fn formats() -> impl clap::builder::TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(|(word, _)| word))
        .map(|word| word.parse().expect("only the words of formats are possible"))
}
