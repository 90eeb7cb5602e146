//! `doctor`: does what the sidecar will do, once, and says what is missing in plain words with the command that mends
//! it. Reads one value of each vault, and drops it unseen.

mod remedy;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::check::{audit, identity};
use super::sidecar::azure;
use super::table::{Cell, Tone, render};
use super::terminal::{colour_allowed, harmless, print};
use super::{Context, Exit, Failure};
use crate::secret::SecretName;
use crate::vaults::azure::{
    Audience, AzureSettings, DiscoveryReport, DiscoveryRoute, GraphShortfall, SignedIn, SystemRoots,
};
use crate::vaults::{Discovery, Vault, VaultError, VaultErrorKind};
use remedy::Remedies;

/// Sign in, look for vaults, list and read each, and say what is missing and how to mend it. Ends with 0 only if all is
/// well.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey doctor
  sidekey doctor --config sidekey.toml")]
pub struct Doctor {}

/// Vaults tried side by side.
const AT_ONCE: usize = 16;
/// For one vault, listing and reading.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(_: &Doctor, context: &Context) -> Result<(), Failure> {
    let config = context.config(Vec::new())?;
    say("this process, and the sidecar as it would be started here:")?;
    for (part, good, how) in context.protection.lines() {
        say(&format!("  {part}: {}{how}", if good { "" } else { "NOT GOOD: " }))?;
    }
    // Not opened: whoever runs this may be another user than the sidecar's, and would make a file that it cannot write.
    say(&format!("audit: {}", audit(config.audit.as_ref())))?;
    let mut worst = Exit::Ok;
    for settings in &config.sources {
        let found = source(settings, colour_allowed(&context.vars, context.global.no_color)).await?;
        if worst == Exit::Ok {
            worst = found;
        }
    }
    match worst {
        Exit::Ok => print(b"\nall is well\n"),
        exit => Err(Failure::new(exit, "not all is well; see above")),
    }
}

/// Examines one source and prints what it found as it finds it.
async fn source(settings: &AzureSettings, coloured: bool) -> Result<Exit, Failure> {
    say(&format!("source {}: {}", settings.name, identity(&settings.identity)))?;
    let source = azure(settings, &crate::metrics::Metrics::default(), &SystemRoots::read())?;
    let mut remedies = Remedies::new(settings);
    let signed_in = match source.sign_in(Audience::Vaults).await {
        Ok(signed_in) => signed_in,
        Err(error) => {
            say(&format!("  sign-in: FAILED: {error}"))?;
            remedies.sign_in(&error);
            print(remedies.told().as_bytes())?;
            return Ok(exit_of(&error));
        }
    };
    say(&format!("  sign-in: ok{}", who(&signed_in)))?;
    remedies.know(&signed_in);

    let (discovery, report) = source.survey().await;
    say(&format!("  discovery: {}", how(&report, &discovery)))?;
    let mut exit = Exit::Ok;
    let mut note = |error: &VaultError| {
        if exit == Exit::Ok {
            exit = exit_of(error);
        }
    };
    for fault in &discovery.faults {
        say(&format!("  discovery is short: {fault}"))?;
        remedies.discovery(fault);
        note(fault);
    }
    let mut examined: Vec<_> =
        stream::iter(discovery.vaults.iter().cloned().map(examine)).buffer_unordered(AT_ONCE).collect().await;
    examined.sort_by(|a: &Examined, b| a.vault.info().name.cmp(&b.vault.info().name));
    for one in &examined {
        for error in [one.listed.as_ref().err(), one.read.as_ref().err()].into_iter().flatten() {
            remedies.vault(one.vault.info(), error);
            note(error);
        }
    }
    let mut rows: Vec<_> = examined.iter().map(row).collect();
    for skipped in &discovery.skipped {
        rows.push(vec![
            Cell::new(skipped.info.name.as_str()),
            Cell::new("-"),
            Cell::new("-"),
            Cell::new(format!("not asked: {}", skipped.reason)).tone(Tone::Dim),
        ]);
    }
    if rows.is_empty() {
        say("  no vault was found")?;
        remedies.no_vaults();
        exit = if exit == Exit::Ok { Exit::NotFound } else { exit };
    } else {
        print(b"\n")?;
        print(render(&["VAULT", "LIST", "GET", "NOTE"], rows, coloured).as_bytes())?;
    }
    print(remedies.told().as_bytes())?;
    Ok(exit)
}

/// One vault, tried.
struct Examined {
    vault: Arc<dyn Vault>,
    listed: Result<usize, VaultError>,
    read: Result<Read, VaultError>,
}

enum Read {
    Done,
    /// The vault shows nothing that could be read.
    NothingEnabled,
    /// Without a listing no name is known to be read.
    NotTried,
}

async fn examine(vault: Arc<dyn Vault>) -> Examined {
    let tried = async {
        let mut secrets = 0;
        let mut readable: Option<SecretName> = None;
        let mut listing = vault.list();
        let listed = loop {
            match listing.try_next().await {
                Ok(None) => break Ok(secrets),
                Ok(Some(metadata)) => {
                    secrets += 1;
                    if metadata.enabled && readable.is_none() {
                        readable = Some(metadata.name);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        let read = match readable {
            Some(name) => vault.get(&name, None).await.map(|_| Read::Done),
            None if listed.is_ok() => Ok(Read::NothingEnabled),
            None => Ok(Read::NotTried),
        };
        (listed, read)
    };
    let out_of_time = || VaultError::new(VaultErrorKind::TimedOut, "it did not answer in time");
    let (listed, read) = match tokio::time::timeout(PATIENCE, tried).await {
        Ok(both) => both,
        Err(_) => (Err(out_of_time()), Ok(Read::NotTried)),
    };
    Examined { vault, listed, read }
}

fn row(examined: &Examined) -> Vec<Cell> {
    let (listed, note_of_list) = match &examined.listed {
        Ok(secrets) => (Cell::new(format!("ok ({secrets})")), None),
        Err(error) => (Cell::new(error.reason()).tone(Tone::Bad), Some(error.to_string())),
    };
    let (read, note_of_get) = match &examined.read {
        Ok(Read::Done) => (Cell::new("ok"), None),
        Ok(Read::NothingEnabled) => (Cell::new("-"), Some("it holds no enabled secret to try".to_owned())),
        Ok(Read::NotTried) => (Cell::new("-"), None),
        Err(error) => (Cell::new(error.reason()).tone(Tone::Bad), Some(error.to_string())),
    };
    let note = note_of_list.into_iter().chain(note_of_get).collect::<Vec<_>>().join("; ");
    vec![Cell::new(examined.vault.info().name.as_str()), listed, read, Cell::new(note)]
}

fn exit_of(error: &VaultError) -> Exit {
    match error.kind() {
        VaultErrorKind::NotFound => Exit::NotFound,
        VaultErrorKind::Disabled | VaultErrorKind::Denied(_) | VaultErrorKind::Unauthenticated { .. } => Exit::Denied,
        VaultErrorKind::Throttled { .. }
        | VaultErrorKind::TimedOut
        | VaultErrorKind::Unavailable(_)
        | VaultErrorKind::Malformed => Exit::Unavailable,
    }
}

fn who(signed_in: &SignedIn) -> String {
    let SignedIn { identity, tenant, client, object, valid_for } = signed_in;
    let mut text = format!(" as {identity}");
    for (what, id) in [("application", client), ("object", object), ("tenant", tenant)] {
        if let Some(id) = id {
            text.push_str(&format!(", {what} {id}"));
        }
    }
    text + &format!(" (token good for {})", super::phrase::coarse(*valid_for))
}

fn how(report: &DiscoveryReport, discovery: &Discovery) -> String {
    let DiscoveryReport { route, subscriptions, described, filtered } = report;
    let route = match route {
        DiscoveryRoute::ResourceGraph => "by Resource Graph".to_owned(),
        DiscoveryRoute::Subscriptions { because } => {
            let because = match because {
                GraphShortfall::Failed(error) => format!("Resource Graph failed: {error}"),
                GraphShortfall::Empty => "Resource Graph shows this identity no vault".to_owned(),
                GraphShortfall::Truncated => "Resource Graph cut its answer short".to_owned(),
            };
            format!("by listing each subscription, because {because}")
        }
    };
    let mut text =
        format!("{route}; {}, {} told of", count(*subscriptions, "subscription"), count(*described, "vault"));
    if *filtered > 0 {
        text.push_str(&format!(", {filtered} left out by include and exclude"));
    }
    let configured = discovery.vaults.iter().filter(|vault| vault.info().configured).count();
    if configured > 0 {
        text.push_str(&format!(", {configured} named in the configuration"));
    }
    text
}

fn count(of: usize, what: &str) -> String {
    format!("{of} {what}{}", if of == 1 { "" } else { "s" })
}

fn say(line: &str) -> Result<(), Failure> {
    print(format!("{}\n", harmless(line)).as_bytes())
}
