//! `list`: the secrets of one vault, or of all. Never values.

use clap::Args;
use time::OffsetDateTime;

use super::args::{Connect, Format, Output};
use super::client::{Client, Request};
use super::search::print_json;
use super::sidecar::Need;
use super::terminal::{colour_allowed, print, stdout_is_terminal};
use super::{Context, Exit, Failure, secrets, warnings};
use crate::api::model::{SearchAnswer, SecretSummary, SecretsPage, Unanswered};
use crate::catalog::Query;
use crate::secret::VaultName;

/// List the secrets of one vault, or of all; never shows values.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey list pay-prod
  sidekey list --output csv > secrets.csv       of all vaults")]
pub struct List {
    /// The vault; none lists all
    #[arg(value_name = "VAULT")]
    vault: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Both kinds of answers, as one.
#[derive(Debug, serde::Serialize)]
struct Listed {
    secrets: Vec<SecretSummary>,
    complete: bool,
    unanswered: Vec<Unanswered>,
}

pub(super) async fn run(args: &List, context: &Context) -> Result<(), Failure> {
    let vault = args.vault.as_deref().map(str::parse::<VaultName>).transpose();
    let vault = vault.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let client = Client::connect(context, &args.connect)?;
    client.prepare(vault.as_ref().map_or(Need::Everything, Need::Listing)).await;
    let listed = match &vault {
        Some(vault) => one_vault(&client, vault).await?,
        None => every_vault(&client).await?,
    };
    let terminal = stdout_is_terminal();
    match args.format.or_fitting(terminal) {
        Output::Json => print_json(&listed, terminal)?,
        Output::Csv => print(&secrets::separated(&listed.secrets, b',')?)?,
        Output::Tsv => print(&secrets::separated(&listed.secrets, b'\t')?)?,
        Output::Table if listed.secrets.is_empty() => {}
        Output::Table => {
            let coloured = colour_allowed(&context.vars, context.global.no_color);
            print(secrets::table(&listed.secrets, OffsetDateTime::now_utc(), coloured).as_bytes())?;
        }
    }
    warnings::tell_unanswered(listed.complete, &listed.unanswered);
    if !listed.secrets.is_empty() || listed.complete {
        return Ok(());
    }
    let refused =
        !listed.unanswered.is_empty() && listed.unanswered.iter().all(|one| warnings::is_refusal(&one.reason));
    Err(Failure::new(if refused { Exit::Denied } else { Exit::Unavailable }, "no secret could be listed"))
}

async fn one_vault(client: &Client, vault: &VaultName) -> Result<Listed, Failure> {
    let most = Query::MOST.to_string();
    let mut listed = Listed { secrets: Vec::new(), complete: true, unanswered: Vec::new() };
    let mut cursor: Option<String> = None;
    loop {
        let request = Request::v1(&["vaults", vault.as_str(), "secrets"]);
        let request = request.query("limit", Some(&most)).query("cursor", cursor.as_deref());
        let page: SecretsPage = client.document(&request).await?;
        listed.secrets.extend(page.secrets);
        listed.complete = page.complete;
        listed.unanswered = page.unanswered;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(listed),
        }
    }
}

async fn every_vault(client: &Client) -> Result<Listed, Failure> {
    let most = Query::MOST.to_string();
    let mut listed = Listed { secrets: Vec::new(), complete: true, unanswered: Vec::new() };
    let mut cursor: Option<String> = None;
    loop {
        let request = Request::v1(&["search"]).query("sort", Some("vault"));
        let request = request.query("limit", Some(&most)).query("cursor", cursor.as_deref());
        let page: SearchAnswer = client.document(&request).await?;
        listed.secrets.extend(page.hits);
        listed.complete &= page.complete;
        listed.unanswered = page.unanswered;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(listed),
        }
    }
}
