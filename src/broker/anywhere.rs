//! A read that names no vault: whichever has it, and only if that is certain enough to say.
//!
//! The listings tell who holds a name without a call. A vault that was never listed, or that may be read but not
//! listed, is asked for the secret itself. A vault that cannot be asked is never passed over in silence: the answer
//! names it, and 'not found' is not said. Several holders are an error unless the configured order decides; a
//! disabled copy counts as held, so that enabling it later cannot change what a name means.

use futures::{StreamExt, stream};

use super::unanswered;
use super::upstream::Upstream;
use super::{Ask, Error, Reading};
use crate::catalog::{Catalog, Doubtful, Entry, Holders, Unanswered};
use crate::secret::{Reference, VaultName};
use crate::vaults::VaultErrorKind;

/// Unlisted vaults asked at once for one read.
const SIDE_BY_SIDE: usize = 64;

/// Reads `ask.name` from the one vault that holds it.
pub(super) async fn read(
    catalog: &Catalog,
    upstream: &Upstream,
    order: &[VaultName],
    ask: &Ask,
) -> Result<Reading, Error> {
    let Holders { held_by, unlisted, stale, skipped, discovery_faults, discovering } = catalog.holders(&ask.name);
    let mut unanswered: Vec<Unanswered> = skipped.iter().map(unanswered::skipped).collect();
    unanswered.extend(discovery_faults.iter().map(unanswered::undiscovered));
    let (to_ask, silent): (Vec<_>, Vec<_>) = unlisted.into_iter().chain(stale).partition(worth_asking);
    unanswered.extend(silent.iter().map(unanswered::doubtful));

    let listed_somewhere = !held_by.is_empty();
    let listed = held_by.into_iter().map(|holder| holder.entry);
    let mut holders: Vec<Copy> = if ask.version.is_some() && listed_somewhere {
        // Which of them has that very version only a read can tell.
        probe(upstream, ask, listed.collect(), &mut unanswered).await
    } else {
        listed.map(|entry| Copy { entry, told: None }).collect()
    };
    let to_ask = to_ask.into_iter().map(|doubtful| doubtful.entry).collect();
    holders.extend(probe(upstream, ask, to_ask, &mut unanswered).await);
    holders.sort_by(|a, b| a.entry.address.cmp(&b.entry.address));

    // A listing may be behind: a vault that turns out to have lost the name is dropped, and the choice made again.
    while let Some(chosen) = choose(&holders, order, ask)? {
        let copy = holders.remove(chosen);
        let told = match copy.told {
            Some(told) => told,
            None => upstream.read(&copy.entry, ask).await,
        };
        match told {
            Ok(reading) => return Ok(Reading { incomplete: unanswered, ..reading }),
            Err(Error::SecretNotFound { .. } | Error::VersionNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let name = ask.name.clone();
    Err(if discovering {
        Error::NotReady
    } else if unanswered.is_empty() {
        let version_only = listed_somewhere && ask.version.is_some();
        if version_only {
            Error::VersionNotFound { vault: None, name }
        } else {
            Error::SecretNotFound { vault: None, name }
        }
    } else if ask.steer.only_if_cached {
        Error::NotCached
    } else {
        Error::Incomplete { name: format!("secret {name}"), unanswered }
    })
}

/// Whether a vault that the catalog cannot speak for should be asked for the secret itself: if it was not listed yet,
/// or may not be. One that is down would only keep the reader waiting for what is known already.
fn worth_asking(doubtful: &Doubtful) -> bool {
    doubtful.why.as_ref().is_none_or(|why| matches!(why.kind(), VaultErrorKind::Denied(_)))
}

/// A vault that holds the name, with what it said if it was asked already.
struct Copy {
    entry: Entry,
    told: Option<Result<Reading, Error>>,
}

/// Asks each of these for the secret itself. Those that cannot say are added to `unanswered`.
async fn probe(upstream: &Upstream, ask: &Ask, entries: Vec<Entry>, unanswered: &mut Vec<Unanswered>) -> Vec<Copy> {
    let told: Vec<_> = stream::iter(entries)
        .map(|entry| async move {
            let told = upstream.read(&entry, ask).await;
            (entry, told)
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut holders = Vec::new();
    for (entry, told) in told {
        match &told {
            Err(Error::SecretNotFound { .. } | Error::VersionNotFound { .. }) => {}
            Err(error @ (Error::Vault { .. } | Error::NotCached | Error::Overloaded)) => {
                unanswered.push(unanswered::unread(&entry, error));
            }
            Ok(_) | Err(Error::Disabled { .. }) => holders.push(Copy { entry, told: Some(told) }),
            Err(
                Error::UnknownVault { .. }
                | Error::Ambiguous { .. }
                | Error::Incomplete { .. }
                | Error::NotReady
                | Error::Skipped { .. }
                | Error::View(_),
            ) => {}
        }
    }
    holders
}

/// Whose copy is meant: the only one, or the first in the configured order. `None`: nobody holds it.
fn choose(holders: &[Copy], order: &[VaultName], ask: &Ask) -> Result<Option<usize>, Error> {
    if holders.len() <= 1 {
        return Ok((!holders.is_empty()).then_some(0));
    }
    let preferred = order.iter().find_map(|vault| {
        holders.iter().position(|holder| holder.entry.address == *vault || holder.entry.id() == vault)
    });
    match preferred {
        Some(at) => Ok(Some(at)),
        None => {
            let reference = |holder: &Copy| Reference {
                version: ask.version.clone(),
                ..Reference::new(holder.entry.address.clone(), ask.name.clone())
            };
            Err(Error::Ambiguous { name: ask.name.clone(), candidates: holders.iter().map(reference).collect() })
        }
    }
}
