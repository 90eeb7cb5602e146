//! What keeps held values true without a reader waiting: what is due is read again ahead of its expiry, and what a
//! listing tells is taken in.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::prefetch::Prefetch;
use super::upstream::Upstream;
use crate::catalog::{Listing, Lookup};
use crate::clock::Moment;

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);

/// Renews what is due until it is told to stop.
pub(super) async fn run(upstream: &Upstream, prefetch: &Prefetch, shutdown: CancellationToken) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = looks.tick() => {
                renew_due(upstream);
                renew_watched(upstream);
                prefetch.renew(upstream);
            }
        }
    }
}

fn renew_due(upstream: &Upstream) {
    let now = Moment::now();
    let cache = upstream.cache();
    cache.tidy();
    for key in cache.due(now) {
        // A vault that has left the catalog is asked no more; what is held of it ends with its time.
        if let Lookup::Found(entry) = upstream.catalog().vault(&key.vault)
            && cache.peek(&key).is_some_and(|held| held.claim(now))
        {
            upstream.renew(&entry, key);
        }
    }
}

/// Reads again what has changed and nobody uses, where a watcher is to be told of it.
fn renew_watched(upstream: &Upstream) {
    for key in upstream.hub().overdue(upstream.cache(), Moment::now()) {
        if let Lookup::Found(entry) = upstream.catalog().vault(&key.vault) {
            upstream.renew(&entry, key);
        }
    }
}

/// Takes in a listing: what it proves unchanged is as good as read, what it shows changed or gone is read again.
pub(super) fn take_in(upstream: &Upstream, prefetch: &Prefetch, listing: &Listing) {
    let entry = match upstream.catalog().vault(&listing.vault) {
        Lookup::Found(entry) => Some(entry),
        Lookup::Skipped(_) | Lookup::NotFound { .. } | Lookup::NotYet => None,
    };
    if listing.failure.is_none() {
        upstream.cache().listed(&listing.vault, listing.began, |name| listing.metadata(name));
    }
    if let Some(entry) = &entry {
        // After the cache: what is told is what readers get.
        let echo = upstream.catalog().spoken_for_by(entry.id());
        upstream.hub().take_in(upstream.cache(), entry, echo.as_ref(), listing);
    }
    if listing.failure.is_some() {
        return;
    }
    renew_due(upstream);
    renew_watched(upstream);
    if let Some(entry) = &entry {
        prefetch.take_in(upstream, entry, listing);
    }
}
