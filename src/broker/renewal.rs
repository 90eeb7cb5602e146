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

/// Takes in a listing: what it proves unchanged is as good as read, what it shows changed or gone is read again.
pub(super) fn take_in(upstream: &Upstream, prefetch: &Prefetch, listing: &Listing) {
    if listing.failure.is_some() {
        return;
    }
    upstream.cache().listed(&listing.vault, listing.began, |name| listing.metadata(name));
    renew_due(upstream);
    if let Lookup::Found(entry) = upstream.catalog().vault(&listing.vault) {
        prefetch.take_in(upstream, &entry, listing);
    }
}
