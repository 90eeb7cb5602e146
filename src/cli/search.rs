//! `search`: which vaults hold it, when it expires, and who could not be asked. Never values.

use clap::Args;
use time::OffsetDateTime;

use super::args::{Connect, Format, Output};
use super::client::{Client, Request};
use super::sidecar::Need;
use super::terminal::{colour_allowed, harmless_json, print, stdout_is_terminal, tell};
use super::{Context, Exit, Failure, secrets, warnings};
use crate::api::model::SearchAnswer;
use crate::catalog::{Catalog, CatalogOptions, Query};

/// Find secrets by name and attributes over all vaults; never shows values. Ends with 1 if nothing matches.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey search redis
  sidekey search --match glob 'db-*' --vault 'pay-*'
  sidekey search --expires-within 30d --sort expires
  sidekey search --disabled --all --output csv")]
pub struct Search {
    /// What a name must match; none matches every secret
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// How: substring (default), exact, prefix, glob, regex, fuzzy
    #[arg(long = "match", value_name = "HOW")]
    matching: Option<String>,
    /// Only in vaults that match this glob
    #[arg(long, value_name = "GLOB")]
    vault: Option<String>,
    /// Only with this tag, or this tag and value; may be repeated
    #[arg(long = "tag", value_name = "KEY[=VALUE]")]
    tags: Vec<String>,
    /// Only enabled ones
    #[arg(long)]
    enabled: bool,
    /// Only disabled ones
    #[arg(long, conflicts_with = "enabled")]
    disabled: bool,
    /// Only those that Key Vault made for certificates; =false: only others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    managed: Option<bool>,
    /// Only with this content type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Only those that expire from now on and within this time, such as 30d
    #[arg(long, value_name = "TIME")]
    expires_within: Option<String>,
    /// Only those that have expired; =false: only others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    expired: Option<bool>,
    /// Only those that were changed at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    updated_since: Option<String>,
    /// In this order: name, vault, expires, updated; with '-' before it, the other way round
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    sort: Option<String>,
    /// At most so many [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    limit: Option<usize>,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

pub(super) async fn run(args: &Search, context: &Context) -> Result<(), Failure> {
    let parameters = args.parameters();
    check(&parameters)?;
    let client = Client::connect(context, &args.connect)?;
    client.prepare(Need::Everything).await;
    let mut answer =
        SearchAnswer { hits: Vec::new(), total: 0, vaults: 0, complete: true, unanswered: Vec::new(), next: None };
    let wanted = if args.all { usize::MAX } else { args.limit.unwrap_or(Query::USUAL) };
    loop {
        let limit = (wanted - answer.hits.len()).min(Query::MOST).to_string();
        let mut request = Request::v1(&["search"]);
        for (name, value) in &parameters {
            request = request.query(name, Some(value));
        }
        let cursor = answer.next.take();
        let request = request.query("limit", Some(&limit)).query("cursor", cursor.as_deref());
        let page: SearchAnswer = client.document(&request).await?;
        answer.hits.extend(page.hits);
        answer.total = page.total;
        answer.vaults = page.vaults;
        answer.complete &= page.complete;
        answer.unanswered = page.unanswered;
        answer.next = page.next;
        if answer.next.is_none() || answer.hits.len() >= wanted {
            break;
        }
    }
    show(args, context, &answer)
}

impl Search {
    /// As the API names them.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        let mut push = |name, value: Option<String>| all.extend(value.map(|value| (name, value)));
        push("q", self.text.clone());
        push("match", self.matching.clone());
        push("vault", self.vault.clone());
        for tag in &self.tags {
            push("tag", Some(tag.clone()));
        }
        let enabled = if self.enabled { Some(true) } else { self.disabled.then_some(false) };
        push("enabled", enabled.map(|yes| yes.to_string()));
        push("managed", self.managed.map(|yes| yes.to_string()));
        push("content_type", self.content_type.clone());
        push("expires_within", self.expires_within.clone());
        push("expired", self.expired.map(|yes| yes.to_string()));
        push("updated_since", self.updated_since.clone());
        push("sort", self.sort.clone());
        all
    }
}

/// A query that cannot be understood is told before anybody is asked: an empty catalog takes the same ones as a full.
fn check(parameters: &[(&'static str, String)]) -> Result<(), Failure> {
    let query = Query::from_parameters(parameters.iter().map(|(name, value)| (*name, value.as_str())));
    let checked = query.and_then(|query| Catalog::new(Vec::new(), CatalogOptions::default()).search(&query));
    checked.map(drop).map_err(|error| {
        let flag = match error.parameter.as_str() {
            "q" => "the text".to_owned(),
            other => format!("--{}", other.replace('_', "-")),
        };
        let place = error.at.map(|at| format!(", at character {at}")).unwrap_or_default();
        Failure::new(Exit::Usage, format!("{flag} {}{place}", error.problem))
    })
}

fn show(args: &Search, context: &Context, answer: &SearchAnswer) -> Result<(), Failure> {
    let terminal = stdout_is_terminal();
    let found = !answer.hits.is_empty();
    match args.format.or_fitting(terminal) {
        Output::Json => print_json(answer, terminal)?,
        Output::Csv => print(&secrets::separated(&answer.hits, b',')?)?,
        Output::Tsv => print(&secrets::separated(&answer.hits, b'\t')?)?,
        Output::Table if found => {
            let coloured = colour_allowed(&context.vars, context.global.no_color);
            print(secrets::table(&answer.hits, OffsetDateTime::now_utc(), coloured).as_bytes())?;
        }
        Output::Table => {}
    }
    if answer.next.is_some() {
        tell(&format!("{} of {} are shown; --all shows all, --limit N more", answer.hits.len(), answer.total));
    }
    warnings::tell_unanswered(answer.complete, &answer.unanswered);
    if found {
        return Ok(());
    }
    let nowhere = args.vault.as_deref().filter(|_| answer.vaults == 0);
    let nowhere = nowhere.map(|glob| format!("no vault matches {}", glob.escape_debug()));
    Err(if answer.complete {
        Failure::new(Exit::NotFound, nowhere.unwrap_or_else(|| "no secret matches".to_owned()))
    } else {
        let refused =
            !answer.unanswered.is_empty() && answer.unanswered.iter().all(|one| warnings::is_refusal(&one.reason));
        let exit = if refused { Exit::Denied } else { Exit::Unavailable };
        let answered = "no secret matches in the vaults that answered".to_owned();
        Failure::new(exit, nowhere.map_or(answered, |nowhere| format!("{nowhere} of those that are known")))
    })
}

/// The API's own answer; laid out for a person.
pub(super) fn print_json<T: serde::Serialize>(answer: &T, terminal: bool) -> Result<(), Failure> {
    let text = if terminal { serde_json::to_string_pretty(answer) } else { serde_json::to_string(answer) };
    let text = text.map_err(|_| Failure::new(Exit::InputOutput, "the answer cannot be written as JSON"))? + "\n";
    print(if terminal { harmless_json(&text) } else { text.as_str().into() }.as_bytes())
}
