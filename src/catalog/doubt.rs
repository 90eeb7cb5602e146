//! What an answer does without: never nothing where something could not be asked.

use std::time::Duration;

use super::CatalogOptions;
use super::directory::Directory;
use super::record::Standing;
use super::status::{DISCOVERING, DiscoveryFault, Entry, NOT_LISTED_YET, OVERDUE, SkippedVault, Unanswered};
use crate::clock::Moment;
use crate::rights::{Glob, Rights, Verb};
use crate::secret::{SourceName, VaultName};

/// Whether a glob on vaults is about this one.
pub(super) fn covers(glob: Option<&Glob>, address: &VaultName, id: &VaultName) -> bool {
    glob.is_none_or(|glob| glob.matches(address.as_str()) || glob.matches(id.as_str()))
}

/// What an answer to somebody does without beside the vaults that are asked: those that never are, and those that nobody
/// knows of. What they could not find there anyway is not missing.
pub(super) fn beyond(directory: &Directory, rights: &Rights, vaults: Option<&Glob>) -> Vec<Unanswered> {
    let may = |source: &SourceName| Verb::ALL.iter().all(|verb| rights.may_of_source(*verb, source, None));
    let shown = |entry: &Entry| rights.shows_vault(&Verb::ALL, &entry.address, entry.id()).is_some();
    let sources = directory
        .undone
        .iter()
        .filter(|source| may(source))
        .map(|source| of_source(source, DISCOVERING, "discovery has not finished its first round".to_owned()));
    let faults = directory.faults.iter().filter(|fault| may(&fault.source)).map(|DiscoveryFault { source, error }| {
        of_source(source, error.reason(), format!("discovery is short: {error}"))
    });
    let skipped = directory
        .out_of_reach(|entry| covers(vaults, &entry.address, entry.id()) && shown(entry))
        .filter(|skipped| covers(vaults, &skipped.address, &skipped.info.id()))
        .filter_map(|SkippedVault { address, info, reason }| {
            let vault = rights.shows_vault(&Verb::ALL, address, &info.id()).cloned();
            Some(Unanswered { vault: Some(vault?), ..of_source(&info.source, reason.code(), reason.to_string()) })
        });
    sources.chain(faults).chain(skipped).collect()
}

/// Why what is known of a vault may not be the truth now; `None`: it is, as of its last listing.
pub(super) fn doubt(entry: &Entry, standing: &Standing, now: Moment, options: &CatalogOptions) -> Option<Unanswered> {
    let age = standing.age(now);
    let (reason, detail) = match (&standing.failure, age) {
        (Some(error), _) => (error.reason(), error.to_string()),
        (None, None) => (NOT_LISTED_YET, "it has not been listed yet".to_owned()),
        (None, Some(age)) if age > overdue(options) => {
            (OVERDUE, "its listing is taking longer than it should".to_owned())
        }
        (None, Some(_)) => return None,
    };
    let detail = match &standing.known {
        Some(known) if !known.whole => format!("{detail}; only a part of it is known"),
        _ => detail,
    };
    Some(Unanswered {
        vault: Some(entry.address.clone()),
        known_age: age,
        known_secrets: standing.secrets(),
        ..of_source(&entry.vault.info().source, reason, detail)
    })
}

fn of_source(source: &SourceName, reason: &'static str, detail: String) -> Unanswered {
    Unanswered { vault: None, source: source.clone(), reason, detail, known_age: None, known_secrets: 0 }
}

/// A listing is due at the interval and may take a while; past this it hangs.
fn overdue(options: &CatalogOptions) -> Duration {
    options.listing_interval * 3 + Duration::from_secs(60)
}
