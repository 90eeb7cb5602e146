//! Where a set of variables is told: one reading of the flags for all commands that hydrate. What is told later wins: the
//! environment, `--all-from`, `--env-file`, `--map`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, Request};
use super::sidecar::Need;
use super::terminal::harmless;
use super::{Exit, Failure};
use crate::api::model::SearchAnswer;
use crate::catalog::Query;
use crate::hydrate::set::{self, Layer, MapFormat, Naming, Wrong};
use crate::rights::Pattern;
use crate::secret::Reference;

/// Flags that tell variables.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Sources {
    /// Variables of a .env file, whose values may be references; may be given several times, and a later file wins
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Variables of a flat TOML or JSON file (by its ending): NAME = "secret://VAULT/NAME"; may be given several times
    #[arg(long, value_name = "FILE")]
    map: Vec<PathBuf>,
    /// Every enabled secret that matches, as a variable of its name in upper case with _; may be given several times
    #[arg(long, value_name = "VAULT/GLOB")]
    all_from: Vec<Pattern>,
    /// With --all-from: take this from the start of the secrets' names
    #[arg(long, value_name = "TEXT", requires = "all_from")]
    strip: Option<String>,
    /// With --all-from: put this before the variables' names
    #[arg(long, value_name = "TEXT", requires = "all_from", default_value = "", hide_default_value = true)]
    prefix: String,
    /// With --all-from: leave the names' case as it is
    #[arg(long, requires = "all_from")]
    keep_case: bool,
}

impl Sources {
    /// Whether somebody must be asked what there is.
    pub(super) fn must_list(&self) -> bool {
        !self.all_from.is_empty()
    }

    /// What the files tell, a later one over an earlier one; every fault of all files at once.
    pub(super) fn of_files(&self) -> Result<Layer, Failure> {
        let (mut layer, mut wrong) = (Layer::new(), Vec::new());
        for file in &self.env_file {
            add(&mut layer, &mut wrong, file, set::env_file(&read(file)?));
        }
        for file in &self.map {
            let format = match file.extension().and_then(|ending| ending.to_str()) {
                Some("toml") => MapFormat::Toml,
                Some("json") => MapFormat::Json,
                _ => {
                    let what = format!("--map {}: its name must end in .toml or .json", file.display());
                    return Err(Failure::new(Exit::Usage, what));
                }
            };
            add(&mut layer, &mut wrong, file, set::map(&read(file)?, format));
        }
        if wrong.is_empty() { Ok(layer) } else { Err(Failure::new(Exit::Usage, harmless(&wrong.join("\n")))) }
    }

    /// Every secret that `--all-from` means. What could not be listed whole is a failure: the set would be a part.
    pub(super) async fn of_listings(&self, client: &Client) -> Result<Layer, Failure> {
        let mut listed: Vec<Reference> = Vec::new();
        if self.must_list() {
            client.prepare(Need::Everything).await;
        }
        for pattern in &self.all_from {
            let before = listed.len();
            listed.extend(matching(client, pattern).await?);
            if listed.len() == before {
                let what = format!("--all-from {}: nothing matches", harmless(&pattern.to_string()));
                return Err(Failure::new(Exit::NotFound, what));
            }
        }
        let naming = Naming { strip: self.strip.clone(), prefix: self.prefix.clone(), keep_case: self.keep_case };
        set::all_of(&listed, &naming).map_err(|wrong| {
            let told: Vec<_> = wrong.iter().map(|one| format!("--all-from: {one}")).collect();
            Failure::new(Exit::NotFound, harmless(&told.join("\n")))
        })
    }
}

async fn matching(client: &Client, pattern: &Pattern) -> Result<Vec<Reference>, Failure> {
    let text = pattern.to_string();
    let text = text.strip_prefix("secret://").or_else(|| text.strip_prefix("akv://")).unwrap_or(&text);
    let (vault, name) = text.split_once('/').unwrap_or(("*", text));
    let most = Query::MOST.to_string();
    let (mut found, mut cursor): (_, Option<String>) = (Vec::new(), None);
    loop {
        let request = Request::v1(&["search"]).query("q", Some(name)).query("match", Some("glob"));
        let request = request.query("vault", Some(vault)).query("enabled", Some("true"));
        let request = request.query("limit", Some(&most)).query("cursor", cursor.as_deref());
        let page: SearchAnswer = client.document(&request).await?;
        let silent = page.unanswered.iter().map(|one| {
            let vault = one.vault.as_ref().map_or("a source", |vault| vault.as_str());
            format!("{vault}: {}", one.reason)
        });
        if !page.complete {
            let silent = silent.collect::<Vec<_>>().join("\n");
            let what = format!("--all-from {text}: not every vault could be listed, so this would be a part\n{silent}");
            return Err(Failure::new(Exit::Unavailable, harmless(&what)));
        }
        found.extend(page.hits.into_iter().map(|hit| hit.reference));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(found),
        }
    }
}

fn read(file: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(file);
    text.map(zeroize::Zeroizing::new).map_err(|error| Failure::io(&format!("reading {}", file.display()), &error))
}

fn add(layer: &mut Layer, wrong: &mut Vec<String>, file: &Path, read: Result<Layer, Vec<Wrong>>) {
    match read {
        Ok(read) => layer.extend(read),
        Err(faults) => wrong.extend(faults.iter().map(|fault| format!("{}: {fault}", file.display()))),
    }
}
