//! A read that names no vault: whichever has it, and only if that is certain enough to say.
//!
//! The listings tell who holds a name without a call. A vault that was never listed, or that may be read but not
//! listed, is asked for the secret itself. A vault that cannot be asked is never passed over in silence: the answer
//! names it, and 'not found' is not said. Several holders are an error unless the configured order decides; a
//! disabled copy counts as held, so that enabling it later cannot change what a name means.
//!
//! Vaults in which the reader may not read the name do not exist here: they are not asked, and not told of.
//!
//! A vault that several sources have found is one holder. It is read by the identity whose listing told of it; where
//! that identity is refused, by the other sources', in their order.

use futures::{StreamExt, stream};

use super::unanswered;
use super::upstream::Upstream;
use super::{Ask, Error, Reading};
use crate::catalog::{Catalog, Doubtful, Entry, Holder, Holders, Unanswered};
use crate::rights::Rights;
use crate::secret::{Reference, VaultName};
use crate::vaults::VaultErrorKind;

/// Unlisted vaults asked at once for one read.
const SIDE_BY_SIDE: usize = 64;

/// Reads `ask.name` from the one vault that holds it, of those in which the reader may read it.
pub(super) async fn read(
    catalog: &Catalog,
    upstream: &Upstream,
    order: &[VaultName],
    rights: &Rights,
    ask: &Ask,
) -> Result<Reading, Error> {
    let Holders { held_by, unlisted, stale, skipped, discovery_faults, discovering } =
        catalog.holders_within(rights, &ask.name);
    let mut unanswered: Vec<Unanswered> = skipped.iter().map(unanswered::skipped).collect();
    unanswered.extend(discovery_faults.iter().map(unanswered::undiscovered));
    let (to_ask, silent): (Vec<_>, Vec<_>) = unlisted.into_iter().chain(stale).partition(worth_asking);
    unanswered.extend(silent.iter().map(unanswered::doubtful));

    // A version that some vault lacks is what is missing, not the secret.
    let mut version_only = ask.version.is_some() && !held_by.is_empty();
    let listed = held_by.into_iter().map(Copy::from);
    let mut holders: Vec<Copy> = if ask.version.is_some() {
        // Which of them has that very version only a read can tell.
        probe(upstream, ask, listed.collect(), &mut unanswered).await.0
    } else {
        listed.collect()
    };
    let to_ask = to_ask.into_iter().map(Copy::from).collect();
    let (found, lacks_version) = probe(upstream, ask, to_ask, &mut unanswered).await;
    holders.extend(found);
    version_only |= lacks_version;
    holders.sort_by(|a, b| a.entry.address.cmp(&b.entry.address));

    // A listing may be behind: a vault that turns out to have lost the name is dropped, and the choice made again.
    while let Some(chosen) = choose(&holders, order, ask)? {
        let mut copy = holders.remove(chosen);
        let told = match copy.told.take() {
            Some(told) => told,
            None => copy.read(upstream, ask).await,
        };
        match told {
            Ok(reading) => return Ok(Reading { incomplete: unanswered, ..reading.aged() }),
            Err(Error::SecretNotFound { .. } | Error::VersionNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let name = ask.name.clone();
    Err(if discovering {
        Error::NotReady
    } else if unanswered.is_empty() {
        if version_only {
            Error::VersionNotFound { vault: None, name }
        } else {
            Error::SecretNotFound { vault: None, name }
        }
    } else if ask.steer.only_if_cached {
        Error::NotCached
    } else {
        let looked_for = match &ask.version {
            Some(version) => format!("version {version} of secret {name}"),
            None => format!("secret {name}"),
        };
        Error::Incomplete { name: looked_for, unanswered }
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
    /// The same vault through other sources.
    others: Vec<Entry>,
    told: Option<Result<Reading, Error>>,
}

impl Copy {
    /// Through the first source whose identity is let in; if none is, what the first was told.
    async fn read(&self, upstream: &Upstream, ask: &Ask) -> Result<Reading, Error> {
        let first = upstream.read(&self.entry, ask).await;
        if !first.as_ref().is_err_and(is_the_identitys) {
            return first;
        }
        for other in &self.others {
            let told = upstream.read(other, ask).await;
            if !told.as_ref().is_err_and(is_the_identitys) {
                return told;
            }
        }
        first
    }

    fn is_at(&self, address: &VaultName) -> bool {
        let mut ways = std::iter::once(&self.entry).chain(&self.others);
        ways.any(|entry| entry.is_at(address))
    }
}

impl From<Holder> for Copy {
    fn from(Holder { entry, others, .. }: Holder) -> Self {
        Self { entry, others, told: None }
    }
}

impl From<Doubtful> for Copy {
    fn from(Doubtful { entry, others, .. }: Doubtful) -> Self {
        Self { entry, others, told: None }
    }
}

/// Whether another identity may fare better at the same vault: this one is refused, or nothing is held for it.
fn is_the_identitys(error: &Error) -> bool {
    match error {
        Error::Vault { error, .. } => {
            matches!(error.kind(), VaultErrorKind::Denied(_) | VaultErrorKind::Unauthenticated { .. })
        }
        Error::NotCached => true,
        Error::Forbidden
        | Error::UnknownVault { .. }
        | Error::SecretNotFound { .. }
        | Error::VersionNotFound { .. }
        | Error::Disabled { .. }
        | Error::Ambiguous { .. }
        | Error::Incomplete { .. }
        | Error::NotReady
        | Error::Overloaded
        | Error::Skipped { .. }
        | Error::View(_) => false,
    }
}

/// Asks each of these for the secret itself, and gives those that hold it, and whether one lacks that version. Those
/// that cannot say are added to `unanswered`.
async fn probe(
    upstream: &Upstream,
    ask: &Ask,
    copies: Vec<Copy>,
    unanswered: &mut Vec<Unanswered>,
) -> (Vec<Copy>, bool) {
    let told: Vec<_> = stream::iter(copies)
        .map(|copy| async move {
            let told = copy.read(upstream, ask).await;
            (copy, told)
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let (mut holders, mut lacks_version) = (Vec::new(), false);
    for (copy, told) in told {
        match &told {
            Err(Error::SecretNotFound { .. }) => {}
            Err(Error::VersionNotFound { .. }) => lacks_version = true,
            Err(error @ (Error::Vault { .. } | Error::NotCached | Error::Overloaded)) => {
                unanswered.push(unanswered::unread(&copy.entry, error));
            }
            Ok(_) | Err(Error::Disabled { .. }) => holders.push(Copy { told: Some(told), ..copy }),
            Err(
                Error::Forbidden
                | Error::UnknownVault { .. }
                | Error::Ambiguous { .. }
                | Error::Incomplete { .. }
                | Error::NotReady
                | Error::Skipped { .. }
                | Error::View(_),
            ) => {}
        }
    }
    (holders, lacks_version)
}

/// Whose copy is meant: the only one, or the first in the configured order. `None`: nobody holds it.
fn choose(holders: &[Copy], order: &[VaultName], ask: &Ask) -> Result<Option<usize>, Error> {
    if holders.len() <= 1 {
        return Ok((!holders.is_empty()).then_some(0));
    }
    let preferred = order.iter().find_map(|vault| holders.iter().position(|holder| holder.is_at(vault)));
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
