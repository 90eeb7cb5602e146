//! What of a broker outlives its process, as plain data: what is carried, how it is taken in again, and when it is worth
//! carrying anew. `keeper` has it on disk.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::Broker;
use crate::cache::Key;
use crate::catalog::{self, Lookup};
use crate::clock::Moment;
use crate::snapshot::{Bounds, Contents, KnownValue, KnownVault, Restored};

/// The most that lies between a listing that confirms and a file that tells of it.
const REFRESH: Duration = Duration::from_secs(300);

/// What a state is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Something in it was learned by this process.
    news: bool,
    /// Which values and vaults it holds.
    what: u64,
    /// When they were confirmed.
    when: u64,
}

impl Mark {
    /// Between two looks at what has changed.
    pub const LOOK: Duration = Duration::from_secs(5);

    /// Whether this state is to be written, so long after that one was: a change at once, mere confirmations after
    /// minutes.
    #[must_use]
    pub fn is_due(&self, written: &Self, since: Duration) -> bool {
        self.news && (self.what != written.what || self.when != written.when && since >= REFRESH)
    }

    /// Whether it tells anything that this one does not.
    #[must_use]
    pub fn is_news(&self, written: &Self) -> bool {
        self.news && self != written
    }
}

impl Broker {
    /// How old may be what is taken in.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let max_stale = self.cache().options().max_stale;
        Bounds { max_age: max_stale, max_stale }
    }

    /// Takes in what an earlier process has left; `now` is when its ages were told. To be done before anybody is served.
    pub fn take_in(&self, restored: &Restored, now: Moment) {
        let since = |at| now.before(restored.age(at));
        let vaults = restored.contents.vaults.iter().map(|known| catalog::KnownVault {
            info: known.info.clone(),
            listed: known.listed.map(since),
            secrets: known.secrets.clone(),
        });
        let vaults = self.catalog().recall(vaults.collect());
        let uris = restored.contents.vaults.iter().map(|known| (known.info.id(), known.info.uri.as_deref()));
        let uris: HashMap<_, _> = uris.collect();
        for value in &restored.contents.values {
            // A vault that is not to be asked any more is not served either, nor is another one that has its name now.
            let Lookup::Found(entry) = self.catalog().vault(&value.vault) else { continue };
            if uris.get(&value.vault) != Some(&entry.vault.info().uri.as_deref()) {
                continue;
            }
            let key = Key { vault: value.vault.clone(), name: value.name.clone(), version: value.version.clone() };
            self.cache().restore(key, Arc::clone(&value.secret), since(value.confirmed), value.settled);
        }
        let age = restored.age(restored.contents.taken).as_secs();
        let (values, too_old) = (restored.contents.values.len(), restored.too_old);
        if !restored.ages_known {
            tracing::warn!(
                "the snapshot was taken in the future, by this machine's clock: its values count as nearly too old"
            );
        }
        tracing::info!(vaults, values, too_old, age_s = age, "restored from the snapshot");
    }

    /// What is held now. `taken` is what the wall clock shows.
    #[must_use]
    pub fn contents(&self, taken: OffsetDateTime) -> Contents {
        let now = Moment::now();
        // A moment before the wall clock's first is none that anything was confirmed at.
        let wall = |at: Moment| taken.checked_sub((now - at).try_into().unwrap_or(time::Duration::MAX));
        let vaults = self.catalog().known().into_iter().map(|known| KnownVault {
            info: known.info,
            listed: known.listed.and_then(wall),
            secrets: known.secrets,
        });
        let values = self.cache().iter().filter_map(|(key, held)| {
            let Key { vault, name, version } = Key::clone(&key);
            let secret = Arc::clone(held.answer().ok()?);
            // No listing tells of another version than the current one.
            let settled = version.is_none() && self.cache().is_settled(&held);
            Some(KnownValue { vault, name, version, secret, confirmed: wall(held.confirmed())?, settled })
        });
        Contents { taken, vaults: vaults.collect(), values: values.collect() }
    }

    /// What tells the state now from others. What is known since `began` was learned by this process.
    #[must_use]
    pub fn mark(&self, began: Moment) -> Mark {
        let mut mark = Mark::default();
        // Added up, as they come in no order.
        let mut add = |what: u64, when: Option<Moment>, news: bool| {
            mark.news |= news;
            mark.what = mark.what.wrapping_add(what);
            mark.when = mark.when.wrapping_add(when.map_or(0, Moment::to_number));
        };
        for (key, held) in self.cache().iter().filter(|(_, held)| held.answer().is_ok()) {
            add(hash(&(&*key, held.asked())), Some(held.confirmed()), held.confirmed() >= began);
        }
        for (vault, listed) in self.catalog().listings() {
            add(hash(&vault), listed, listed.is_some_and(|listed| listed >= began));
        }
        mark
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
