//! Putting an answer together: which rows match, in which order, and what the answer does without.

use std::sync::Arc;

use time::OffsetDateTime;

use super::CatalogOptions;
use super::cursor::{Cursor, fingerprint};
use super::directory::Directory;
use super::doubt::{beyond, covers, doubt};
use super::filter::Filter;
use super::matcher::Names;
use super::order::{Best, Order, Place};
use super::query::{BadQuery, Query};
use super::record::Standing;
use super::segment::Segment;
use super::status::{Doubtful, Entry, Holder, Holders, ReadState, SkippedVault, Unanswered};
use crate::clock::Moment;
use crate::rights::{Glob, Rights, Verb, View};
use crate::secret::{Metadata, SecretName, SourceName, VaultName};
use crate::vaults::{VaultError, VaultErrorKind};

/// A secret that a query matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its vault's address.
    pub vault: VaultName,
    /// Its metadata.
    pub metadata: Metadata,
    /// How well it matches, where the matching is fuzzy; more is better, and only hits of one query compare.
    pub score: Option<u32>,
}

/// A page of hits, and how much of the truth it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for.
    pub hits: Vec<Hit>,
    /// Hits on all pages.
    pub total: usize,
    /// Vaults that the query is about, those that could not be asked or never are included. 0: its glob on vaults
    /// matches none that is known.
    pub vaults: usize,
    /// Whether every vault that the query is about answered when it was last asked, and all vaults are known.
    pub complete: bool,
    /// What the answer does without; not empty exactly if it is not complete. Hits from what is known of such a vault
    /// are in the answer.
    pub unanswered: Vec<Unanswered>,
    /// The next page's cursor; `None`: this is the last.
    pub next: Option<String>,
}

/// A page of one vault's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsPage {
    /// By name.
    pub secrets: Vec<Metadata>,
    /// Secrets on all pages.
    pub total: usize,
    /// Why this may not be everything, or not be so any more; `None`: it is.
    pub unanswered: Option<Unanswered>,
    /// The next page's cursor; `None`: this is the last.
    pub next: Option<String>,
}

/// A vault that a search is about, and what of it somebody finds.
struct Asked<'d> {
    entry: &'d Entry,
    standing: Arc<Standing>,
    view: View<'d, 'd>,
}

pub(super) fn search<'d>(
    directory: &'d Directory,
    rights: &'d Rights,
    query: &Query,
    options: &CatalogOptions,
) -> Result<Page, BadQuery> {
    let limit = query.page_size()?;
    let mut names = Names::of(query)?;
    let vaults = query.vault.as_deref().map(Glob::new).transpose();
    let vaults = vaults.map_err(|error| BadQuery::new("vault", error.to_string()))?;
    let order = Order::of(query);
    let of = fingerprint(query);
    let after = query.cursor.as_deref().map(|cursor| Cursor::decode(cursor, of)).transpose()?;
    let now = query.now.unwrap_or_else(OffsetDateTime::now_utc);
    let instant = Moment::now();

    let mut unanswered = beyond(directory, rights, vaults.as_ref());
    let unasked = unanswered.iter().filter(|one| one.vault.is_some()).count();
    let covered = |entry: &Entry| {
        covers(vaults.as_ref(), &entry.address, entry.id())
            && rights.shows_vault(&Verb::ALL, &entry.address, entry.id()).is_some()
    };
    let speaking = directory.speaking(covered, options);
    let mut asked: Vec<Asked<'_>> = Vec::with_capacity(directory.live.len());
    for (index, entry) in directory.live.iter().enumerate() {
        if !speaking[index] || !covered(entry) {
            continue;
        }
        let (standing, view) = (entry.record.standing(), rights.view(&entry.address, entry.id()));
        unanswered.extend(doubt(entry, &standing, instant, options).map(|doubt| as_seen(doubt, &standing, &view)));
        asked.push(Asked { entry, standing, view });
    }

    let vaults = asked.len() + unasked;
    let mut total = 0;
    let mut best = Best::new(order, limit, after.as_ref());
    for (index, Asked { standing, view, .. }) in asked.iter().enumerate() {
        let Some(known) = &standing.known else { continue };
        let segment = &*known.segment;
        let Some(filter) = Filter::of(query, segment, now) else { continue };
        best.next_vault();
        // Every row that matches is a hit.
        let whole =
            view.vault().filter(|_| view.is_whole() && filter.admits_all()).map(|vault| (index, vault.as_str()));
        match (names.range(segment), whole) {
            (Some(rows), Some(vault)) => {
                total += rows.len();
                rows.take_while(|row| best.offer(segment, *row, 0, vault)).for_each(drop);
            }
            (Some(rows), None) => {
                let rest = filter.each(segment, rows, |row| {
                    let (shown, goes_on) = offer(&mut best, view, segment, row, 0, index);
                    total += usize::from(shown);
                    goes_on
                });
                total += rest;
            }
            (None, Some(vault)) => {
                let rest = names.each(segment, |row, score| {
                    total += 1;
                    best.offer(segment, row, score, vault)
                });
                total += rest;
            }
            (None, None) => {
                names.each(segment, |row, score| {
                    let admitted = filter.admits(segment, row);
                    total += usize::from(admitted && offer(&mut best, view, segment, row, score, index).0);
                    // Only a look at the row tells.
                    true
                });
            }
        }
    }

    let (places, more) = best.finish();
    let hit = |place: &Place<'_>| {
        let Asked { entry, standing, .. } = &asked[place.vault_index];
        let shown = if place.vault == entry.address.as_str() { &entry.address } else { entry.id() };
        Hit {
            vault: shown.clone(),
            metadata: standing.known.as_ref().expect("a hit is in what is known").segment.metadata(place.row),
            score: matches!(names, Names::Fuzzy(..)).then_some(place.score),
        }
    };
    let next = places.last().filter(|_| more).map(|last| Cursor::new(of, last.number, last.name, last.vault).encode());
    Ok(Page {
        hits: places.iter().map(hit).collect(),
        total,
        vaults,
        complete: unanswered.is_empty(),
        unanswered,
        next,
    })
}

/// Offers a row that passes, if it is there for who searches: whether it is, and false if no later row of this vault can be
/// among the first and all of them are there.
fn offer<'s>(
    best: &mut Best<'s>,
    view: &'s View<'_, 's>,
    segment: &'s Segment,
    row: usize,
    score: u32,
    index: usize,
) -> (bool, bool) {
    if let (true, Some(vault)) = (view.is_whole(), view.vault()) {
        return (true, best.offer(segment, row, score, (index, vault.as_str())));
    }
    let shown = view.shows(segment.name(row));
    if let Some(vault) = shown {
        best.offer_any(segment, row, score, (index, vault.as_str()));
    }
    (shown.is_some(), true)
}

/// What somebody finds in a vault that they address so.
pub(super) fn secrets(
    vault: &Entry,
    rights: &Rights,
    limit: usize,
    cursor: Option<&str>,
    options: &CatalogOptions,
) -> Result<SecretsPage, BadQuery> {
    let limit = Query { limit: Some(limit.min(Query::MOST)), ..Query::default() }.page_size()?;
    // The vault is part of what the cursor belongs to.
    let of = fingerprint(&Query { vault: Some(vault.record.id.to_string()), ..Query::default() });
    let after = cursor.map(|cursor| Cursor::decode(cursor, of)).transpose()?;
    let (standing, view) = (vault.record.standing(), rights.view_of(&vault.address));
    let unanswered = doubt(vault, &standing, Moment::now(), options).map(|doubt| as_seen(doubt, &standing, &view));
    let Some(known) = &standing.known else {
        return Ok(SecretsPage { secrets: Vec::new(), total: 0, unanswered, next: None });
    };
    let segment = &known.segment;
    let first = after.map_or(0, |after| {
        let row = segment.lower_bound(&after.name);
        row + usize::from(row < segment.len() && segment.name(row) == after.name)
    });
    let mut rows = (first..segment.len()).filter(|row| view.shows(segment.name(*row)).is_some());
    let page: Vec<usize> = rows.by_ref().take(limit).collect();
    let more = page.last().filter(|_| rows.next().is_some());
    Ok(SecretsPage {
        next: more.map(|last| Cursor::new(of, None, segment.name(*last), "").encode()),
        secrets: page.iter().map(|row| segment.metadata(*row)).collect(),
        total: found(segment, &view).count(),
        unanswered,
    })
}

/// The rows that somebody finds.
pub(super) fn found<'s>(segment: &'s Segment, view: &'s View<'_, '_>) -> impl Iterator<Item = usize> + 's {
    let whole = view.is_whole();
    (0..segment.len()).filter(move |row| whole || view.shows(segment.name(*row)).is_some())
}

/// What is doubted of a vault, as it is to somebody who does not find all of it.
fn as_seen(doubt: Unanswered, standing: &Standing, view: &View<'_, '_>) -> Unanswered {
    let known = standing.known.as_ref().map_or(0, |known| found(&known.segment, view).count());
    Unanswered { vault: view.vault().cloned(), known_secrets: known, ..doubt }
}

pub(super) fn holders(directory: &Directory, rights: &Rights, name: &SecretName, options: &CatalogOptions) -> Holders {
    let shown = |entry: &Entry| rights.shows(&[Verb::Read], &entry.address, entry.id(), name).cloned();
    let is_shown = |entry: &Entry| rights.shows(&[Verb::Read], &entry.address, entry.id(), name).is_some();
    let may = |source: &SourceName| rights.may_of_source(Verb::Read, source, Some(name));
    let skipped = directory.out_of_reach(is_shown).filter_map(|skipped| {
        let address = rights.shows(&[Verb::Read], &skipped.address, &skipped.info.id(), name)?.clone();
        Some(SkippedVault { address, ..skipped.clone() })
    });
    let mut holders = Holders {
        skipped: skipped.collect(),
        discovery_faults: directory.faults.iter().filter(|fault| may(&fault.source)).cloned().collect(),
        discovering: directory.undone.iter().any(may),
        ..Holders::default()
    };
    let now = Moment::now();
    let speaking = directory.speaking(is_shown, options);
    let ways_to = |index: usize| {
        let (entry, others) = directory.ways_to(index, is_shown);
        let as_shown = |entry: &Entry| shown(entry).map_or_else(|| entry.clone(), |address| entry.shown_as(&address));
        (as_shown(&entry), others.iter().map(as_shown).collect())
    };
    for (index, entry) in directory.live.iter().enumerate() {
        if !speaking[index] || !is_shown(entry) {
            continue;
        }
        let standing = entry.record.standing();
        let row = standing.known.as_ref().and_then(|known| Some((known, known.segment.find(name.as_str())?)));
        if let Some((known, row)) = row {
            let metadata = known.segment.metadata(row);
            let (entry, others) = ways_to(index);
            holders.held_by.push(Holder { entry, others, metadata, age: now - known.at });
            continue;
        }
        if doubt(entry, &standing, now, options).is_none() {
            continue;
        }
        let (entry, others) = ways_to(index);
        let doubtful = Doubtful { entry, others, why: standing.failure.clone(), age: standing.age(now) };
        match &standing.known {
            Some(known) if known.whole => holders.stale.push(doubtful),
            _ => holders.unlisted.push(doubtful),
        }
    }
    if speaking.contains(&false) || !rights.is_all() {
        holders.held_by.sort_by(|a, b| a.entry.address.cmp(&b.entry.address));
    }
    holders
}

/// What a failed get says about reading the vault; `None`: nothing.
pub(super) fn read_state(error: &VaultError) -> Option<ReadState> {
    match error.kind() {
        // The vault let the read through and spoke about the secret.
        VaultErrorKind::NotFound | VaultErrorKind::Disabled => Some(ReadState::Ok),
        VaultErrorKind::Denied(_) => Some(ReadState::Denied { reason: error.reason(), detail: error.to_string() }),
        VaultErrorKind::Unauthenticated { .. }
        | VaultErrorKind::Throttled { .. }
        | VaultErrorKind::TimedOut
        | VaultErrorKind::Unavailable(_)
        | VaultErrorKind::Malformed => None,
    }
}
