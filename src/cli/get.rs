//! `get`: one secret's value alone on stdout, byte for byte.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Connect;
use super::client::{Answer, Client, Request};
use super::sidecar::Need;
use super::terminal::{harmless_json, is_plain_text, print, stdout_is_terminal, tell};
use super::{Context, Exit, Failure};
use crate::secret::{Reference, SecretName, VaultName};

/// Print one secret's value, byte for byte; a newline is added for a terminal only.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey get pay-prod db-password
  sidekey get db-password                       whichever vault has it; an error if several do
  sidekey get pay-prod/db-password --version 0b31729e2750416caba40429a1f3bea4
  sidekey get 'secret://pay-prod/db#/user'      one field of a JSON value
  sidekey get web tls-cert --pem --out /run/app/tls.pem")]
pub struct Get {
    /// VAULT NAME, VAULT/NAME, NAME, or a reference such as secret://VAULT/NAME@VERSION#/field
    #[arg(required = true, num_args = 1..=2, value_name = "ADDRESS")]
    address: Vec<String>,
    /// That version, not the current one
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// One field of a JSON value, by JSON pointer
    #[arg(long, value_name = "POINTER")]
    field: Option<String>,
    /// A certificate's key and chain as PEM
    #[arg(long, conflicts_with = "field")]
    pem: bool,
    /// The value with its attributes, as JSON
    #[arg(long)]
    json: bool,
    /// Write into this file (0600, replaced atomically)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Read from the vault now, whatever is held
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    connect: Connect,
}

pub(super) async fn run(args: &Get, context: &Context) -> Result<(), Failure> {
    let reference = args.reference()?;
    let client = Client::connect(context, &args.connect)?;
    client
        .prepare(match &reference.vault {
            Some(vault) => Need::Vault(vault),
            None => Need::Everything,
        })
        .await;

    let request = Request::secret(&reference).query("format", args.pem.then_some("pem")).no_cache(args.no_cache);
    let request = if args.json { request.json() } else { request };
    let answer = client.get(&request).await?;
    tell_incomplete(&answer);
    match &args.out {
        Some(file) => write_private(file, &answer.body),
        None if args.json => show_json(&answer.body),
        None => show(&answer.body),
    }
}

impl Get {
    /// What is meant, parsed before anything is asked.
    fn reference(&self) -> Result<Reference, Failure> {
        let usage = |what: String| Failure::new(Exit::Usage, what);
        let wrong = |told: &str, error: &dyn std::fmt::Display| usage(format!("{told:?}: {error}"));
        let mut reference = match self.address.as_slice() {
            [_, name] if name.contains("://") || name.starts_with('@') => {
                return Err(usage(format!("{name:?} names a vault too: give VAULT NAME, or one address")));
            }
            // Only what follows a '#' may hold a slash here.
            [_, name] if name.split('#').next().is_some_and(|address| address.contains('/')) => {
                let error = name.parse::<SecretName>().err().map(|error| wrong(name, &error));
                return Err(error.unwrap_or_else(|| wrong(name, &"the name holds a '/'")));
            }
            [vault, name] => {
                let of_name = Reference::parse_lenient(name).map_err(|error| wrong(name, &error))?;
                let vault = match vault.as_str() {
                    "*" => None,
                    vault => Some(vault.parse::<VaultName>().map_err(|error| wrong(vault, &error))?),
                };
                Reference { vault, ..of_name }
            }
            [one] => Reference::parse_lenient(one).map_err(|error| wrong(one, &error))?,
            _ => return Err(usage("expected VAULT NAME, VAULT/NAME, or NAME".to_owned())),
        };
        if let Some(version) = &self.version {
            reference.version = Some(version.parse().map_err(|error| usage(format!("--version: {error}")))?);
        }
        if let Some(field) = &self.field {
            reference.pointer = Some(field.parse().map_err(|error| usage(format!("--field {error}")))?);
        }
        Ok(reference)
    }
}

fn show(value: &[u8]) -> Result<(), Failure> {
    if !stdout_is_terminal() {
        return print(value);
    }
    if !is_plain_text(value) {
        let what = "the value is not plain text and is not shown on a terminal\nsend it to a file with --out FILE, or into a pipe";
        return Err(Failure::new(Exit::InputOutput, what));
    }
    print(value)?;
    if value.ends_with(b"\n") { Ok(()) } else { print(b"\n") }
}

fn show_json(body: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(body);
    if stdout_is_terminal() {
        print(harmless_json(&text).as_bytes())?
    } else {
        print(body)?
    }
    print(b"\n")
}

/// The file appears whole or not at all, and nobody else can read it at any moment: it is made under another name,
/// for its owner alone, in the same folder.
pub(super) fn write_private(file: &Path, value: &[u8]) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| Failure::io(&format!("writing {}", file.display()), &error);
    // Putting a file in a device's or a pipe's place would break more than this command.
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(Failure::new(Exit::InputOutput, format!("writing {}: it is no file", file.display())));
    }
    let mut draft = tempfile::Builder::new().prefix(".sidekey-").tempfile_in(folder).map_err(failed)?;
    draft.write_all(value).and_then(|()| draft.as_file().sync_all()).map_err(failed)?;
    draft.persist(file).map_err(|error| failed(error.error))?;
    // Without this the rename may be lost with the power; with it refused (some file systems do), it is still atomic.
    let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// A value found while not every vault could be asked is a value; that another vault may hold the name too is told.
fn tell_incomplete(answer: &Answer) {
    if let Some(missing) = answer.headers.get("sidekey-incomplete").and_then(|value| value.to_str().ok()) {
        tell(&format!("warning: not every vault could be asked whether it holds that name too: {missing}"));
    }
}
