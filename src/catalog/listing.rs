//! Listing one vault: once at a time, without getting in the way of others.
//!
//! A vault that stalls gives its place back to the others and goes on without one, so that however many vaults hang,
//! the rest are listed on time. What a backend does wrong (an error, a panic, silence) is that vault's failed listing
//! and nothing else.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, poll};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::incoming::Incoming;
use super::news::Listing;
use super::record::Record;
use crate::metrics::Metrics;
use crate::secret::Metadata;
use crate::vaults::asked::timed;
use crate::vaults::{Outage, VaultError, VaultErrorKind};

/// A listing that brings nothing for that long gives its place to another.
const STALL: Duration = Duration::from_secs(2);
/// A listing that brings nothing for that long has failed. The backend's own limits are shorter; this is the last net.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rows that are taken in before readers have a turn: a thread that answers them is kept for some 20 µs, whatever a backend has
/// at hand.
const AT_A_STRETCH: usize = 16;

/// Lists the vault, starting not before this call: waits for its running listing, if there is one, and then for one of
/// `slots`. Callers that waited together share the next listing, and only the one that ran it is given what it told.
pub(super) async fn list(record: &Record, slots: &Semaphore, metrics: &Metrics) -> Option<Listing> {
    let begun = record.begun.load(Ordering::Acquire);
    let _turn = record.turn.lock().await;
    if record.ended.load(Ordering::Acquire) > begun {
        return None;
    }
    let mut place = slots.acquire().await.ok();
    let number = record.begun.fetch_add(1, Ordering::AcqRel) + 1;
    let mut rows = record.incoming();
    let sweep = AssertUnwindSafe(sweep(record, &mut place, &mut rows)).catch_unwind();
    let (began, outcome) = timed(sweep).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(VaultError::new(
            VaultErrorKind::Unavailable(Outage::Internal),
            "a fault of our own while listing the vault",
        ))
    });
    tell(record, &rows, &outcome);
    metrics.listing(outcome.as_ref().map_or_else(VaultError::reason, |()| "ok"));
    let listing = record.listed(began, rows, outcome);
    record.ended.store(number, Ordering::Release);
    Some(listing)
}

/// Tells the operator of what is new, and does not fill the log while an outage lasts.
fn tell(record: &Record, rows: &Incoming, outcome: &Result<(), VaultError>) {
    let (vault, before) = (&record.id, record.standing());
    let last = before.failure.as_ref().map(VaultError::reason);
    match outcome {
        Ok(()) if last.is_some() => tracing::info!(%vault, secrets = rows.len(), "the vault is listed again"),
        Ok(()) => tracing::debug!(%vault, secrets = rows.len(), "vault listed"),
        Err(error) if last == Some(error.reason()) => {
            tracing::debug!(%vault, reason = error.reason(), "vault still not listed: {error}");
        }
        Err(error) => {
            let known = before.known.as_ref().map_or(0, |known| known.segment.len());
            tracing::warn!(%vault, reason = error.reason(), known, "vault not listed: {error}");
        }
    }
}

async fn sweep(
    record: &Record,
    place: &mut Option<SemaphorePermit<'_>>,
    rows: &mut Incoming,
) -> Result<(), VaultError> {
    let mut stream = record.vault.list();
    let mut taken = 0_usize;
    while let Some(row) = next(&mut stream, place).await {
        rows.take(row?);
        taken += 1;
        if taken.is_multiple_of(AT_A_STRETCH) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn next(
    stream: &mut BoxStream<'_, Result<Metadata, VaultError>>,
    place: &mut Option<SemaphorePermit<'_>>,
) -> Option<Result<Metadata, VaultError>> {
    let mut next = pin!(stream.next());
    // Most rows are at hand: they are of a page that has come.
    if let Poll::Ready(row) = poll!(next.as_mut()) {
        return row;
    }
    if place.is_some() {
        if let Ok(row) = timeout(STALL, &mut next).await {
            return row;
        }
        *place = None;
    }
    timeout(PATIENCE, next).await.unwrap_or_else(|_| {
        Some(Err(VaultError::new(VaultErrorKind::TimedOut, "the listing brought nothing within the time limit")))
    })
}
