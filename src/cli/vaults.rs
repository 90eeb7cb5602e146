//! `vaults`: where they are, how many secrets they hold, and whether they can be reached.

use std::time::Duration;

use clap::Args;

use super::args::{Connect, Format, Output};
use super::client::{Client, Request};
use super::phrase::coarse;
use super::search::print_json;
use super::secrets::records;
use super::sidecar::Need;
use super::table::{Cell, Tone, render};
use super::terminal::{colour_allowed, print, stdout_is_terminal};
use super::{Context, Exit, Failure, warnings};
use crate::api::model::{VaultDocument, VaultsAnswer};

/// List the vaults: where they are, how many secrets they hold, whether they can be reached and why not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey vaults
  sidekey vaults --output json | jq .vaults")]
pub struct Vaults {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

pub(super) async fn run(args: &Vaults, context: &Context) -> Result<(), Failure> {
    let client = Client::connect(context, &args.connect)?;
    client.prepare(Need::Everything).await;
    let answer: VaultsAnswer = client.document(&Request::v1(&["vaults"])).await?;
    let terminal = stdout_is_terminal();
    let output = args.format.or_fitting(terminal);
    match output {
        Output::Json => print_json(&answer, terminal)?,
        Output::Csv => print(&separated(&answer.vaults, b',')?)?,
        Output::Tsv => print(&separated(&answer.vaults, b'\t')?)?,
        Output::Table if answer.vaults.is_empty() => {}
        Output::Table => {
            print(table(&answer.vaults, colour_allowed(&context.vars, context.global.no_color)).as_bytes())?;
        }
    }
    // The table tells of each vault itself; what is left is discovery.
    let unanswered: Vec<_> =
        answer.unanswered.iter().filter(|one| output != Output::Table || one.vault.is_none()).cloned().collect();
    warnings::tell_unanswered(answer.complete || (output == Output::Table && unanswered.is_empty()), &unanswered);
    if !answer.vaults.is_empty() {
        return Ok(());
    }
    let refused = answer.unanswered.iter().any(|one| warnings::is_refusal(&one.reason));
    Err(match (answer.complete, refused) {
        (true, _) => {
            Failure::new(Exit::NotFound, "this identity sees no vault\n'sidekey doctor' tells what is missing")
        }
        (false, true) => Failure::new(Exit::Denied, "no vault could be looked for"),
        (false, false) => Failure::new(Exit::Unavailable, "no vault could be looked for"),
    })
}

fn table(vaults: &[VaultDocument], coloured: bool) -> String {
    let rows = vaults.iter().map(row).collect();
    let header = ["VAULT", "SOURCE", "SUBSCRIPTION", "LOCATION", "SECRETS", "LISTED", "STATE"];
    render(&header, rows, coloured)
}

fn row(vault: &VaultDocument) -> Vec<Cell> {
    let secrets = vault
        .listing
        .map(|listing| if listing.whole { listing.secrets.to_string() } else { format!("≥ {}", listing.secrets) });
    let listed = vault.listing.map(|listing| format!("{} ago", coarse(Duration::from_secs(listing.age))));
    let (state, tone) = state(vault);
    vec![
        Cell::new(vault.name.as_str()),
        Cell::new(vault.source.as_str()),
        Cell::new(vault.subscription.clone().unwrap_or_default()),
        Cell::new(vault.location.clone().unwrap_or_default()),
        Cell::number(&secrets.unwrap_or_default()),
        Cell::new(listed.unwrap_or_default()),
        Cell::new(state).tone(tone),
    ]
}

/// Whether it can be used, and if not why, in words.
fn state(vault: &VaultDocument) -> (String, Tone) {
    let words = |reason: &Option<String>, detail: &Option<String>| match (reason, detail) {
        (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "for no reason told".to_owned(),
    };
    match (vault.reachable, vault.readable) {
        (true, Some(false)) => {
            (format!("listed, not readable: {}", words(&vault.read_reason, &vault.read_detail)), Tone::Warn)
        }
        (true, _) => match &vault.duplicate_of {
            Some(other) => (format!("ok; the same vault as {other}"), Tone::Plain),
            None => ("ok".to_owned(), Tone::Plain),
        },
        // That it was read once is no news of a vault that answers nobody now.
        (false, Some(true)) if vault.reason.as_deref().is_some_and(|reason| reason.starts_with("denied")) => {
            (format!("readable, not listed: {}", words(&vault.reason, &vault.detail)), Tone::Warn)
        }
        (false, _) => (words(&vault.reason, &vault.detail), Tone::Bad),
    }
}

fn separated(vaults: &[VaultDocument], delimiter: u8) -> Result<Vec<u8>, Failure> {
    const HEADER: [&str; 13] = [
        "name",
        "source",
        "uri",
        "subscription",
        "resource_group",
        "location",
        "secrets",
        "disabled",
        "listed_age",
        "reachable",
        "reason",
        "detail",
        "duplicate_of",
    ];
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = vaults.iter().map(|vault| {
        let listing = |of: fn(&crate::api::model::Listing) -> u64| {
            vault.listing.as_ref().map(|l| of(l).to_string()).unwrap_or_default()
        };
        vec![
            vault.name.to_string(),
            vault.source.to_string(),
            text(&vault.uri),
            text(&vault.subscription),
            text(&vault.resource_group),
            text(&vault.location),
            listing(|l| l.secrets),
            listing(|l| l.disabled),
            listing(|l| l.age),
            vault.reachable.to_string(),
            text(&vault.reason),
            text(&vault.detail),
            vault.duplicate_of.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]
    });
    records(&HEADER, rows, delimiter)
}
