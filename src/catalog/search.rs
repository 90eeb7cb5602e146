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
use super::status::{Doubtful, Entry, Holder, Holders, ReadState, Unanswered};
use crate::clock::Moment;
use crate::rights::Glob;
use crate::secret::{Metadata, SecretName, VaultName};
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

pub(super) fn search(directory: &Directory, query: &Query, options: &CatalogOptions) -> Result<Page, BadQuery> {
    let limit = query.page_size()?;
    let mut names = Names::of(query)?;
    let vaults = query.vault.as_deref().map(Glob::new).transpose();
    let vaults = vaults.map_err(|error| BadQuery::new("vault", error.to_string()))?;
    let order = Order::of(query);
    let of = fingerprint(query);
    let after = query.cursor.as_deref().map(|cursor| Cursor::decode(cursor, of)).transpose()?;
    let now = query.now.unwrap_or_else(OffsetDateTime::now_utc);
    let instant = Moment::now();

    let mut unanswered = beyond(directory, vaults.as_ref());
    let unasked = unanswered.iter().filter(|one| one.vault.is_some()).count();
    let covered = |entry: &Entry| covers(vaults.as_ref(), &entry.address, entry.id());
    let silent = directory.spoken_for(covered, options);
    let mut asked: Vec<(&Entry, Arc<Standing>)> = Vec::new();
    for (index, entry) in directory.live.iter().enumerate() {
        if silent.contains(&index) || !covered(entry) {
            continue;
        }
        let standing = entry.record.standing();
        unanswered.extend(doubt(entry, &standing, instant, options));
        asked.push((entry, standing));
    }

    let vaults = asked.len() + unasked;
    let mut total = 0;
    let mut best = Best::new(order, limit, after.as_ref());
    for (vault, (entry, standing)) in asked.iter().enumerate() {
        let Some(known) = &standing.known else { continue };
        let segment = &*known.segment;
        let Some(filter) = Filter::of(query, segment, now) else { continue };
        best.next_vault();
        let vault = (vault, entry.address.as_str());
        match names.range(segment) {
            Some(rows) if filter.admits_all() => {
                total += rows.len();
                rows.take_while(|row| best.offer(segment, *row, 0, vault)).for_each(drop);
            }
            Some(rows) => filter.each(segment, rows, |row| {
                total += 1;
                best.offer(segment, row, 0, vault);
            }),
            None => {
                let rest = names.each(segment, |row, score| {
                    let admitted = filter.admits(segment, row);
                    total += usize::from(admitted);
                    !admitted || best.offer(segment, row, score, vault) || !filter.admits_all()
                });
                total += rest;
            }
        }
    }

    let (places, more) = best.finish();
    let hit = |place: &Place<'_>| Hit {
        vault: asked[place.vault_index].0.address.clone(),
        metadata: asked[place.vault_index]
            .1
            .known
            .as_ref()
            .expect("a hit is in what is known")
            .segment
            .metadata(place.row),
        score: matches!(names, Names::Fuzzy(..)).then_some(place.score),
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

pub(super) fn secrets(
    vault: &Entry,
    limit: usize,
    cursor: Option<&str>,
    options: &CatalogOptions,
) -> Result<SecretsPage, BadQuery> {
    let limit = Query { limit: Some(limit.min(Query::MOST)), ..Query::default() }.page_size()?;
    // The vault is part of what the cursor belongs to.
    let of = fingerprint(&Query { vault: Some(vault.record.id.to_string()), ..Query::default() });
    let after = cursor.map(|cursor| Cursor::decode(cursor, of)).transpose()?;
    let standing = vault.record.standing();
    let unanswered = doubt(vault, &standing, Moment::now(), options);
    let Some(known) = &standing.known else {
        return Ok(SecretsPage { secrets: Vec::new(), total: 0, unanswered, next: None });
    };
    let segment = &known.segment;
    let first = after.map_or(0, |after| {
        let row = segment.lower_bound(&after.name);
        row + usize::from(row < segment.len() && segment.name(row) == after.name)
    });
    let end = segment.len().min(first + limit);
    let next = (end < segment.len()).then(|| Cursor::new(of, None, segment.name(end - 1), "").encode());
    Ok(SecretsPage {
        secrets: (first..end).map(|row| segment.metadata(row)).collect(),
        total: segment.len(),
        unanswered,
        next,
    })
}

pub(super) fn holders(directory: &Directory, name: &SecretName, options: &CatalogOptions) -> Holders {
    let mut holders = Holders {
        skipped: directory.out_of_reach(|_| true).cloned().collect(),
        discovery_faults: directory.faults.clone(),
        discovering: !directory.undone.is_empty(),
        ..Holders::default()
    };
    let now = Moment::now();
    let silent = directory.spoken_for(|_| true, options);
    for (index, entry) in directory.live.iter().enumerate() {
        if silent.contains(&index) {
            continue;
        }
        let standing = entry.record.standing();
        let row = standing.known.as_ref().and_then(|known| Some((known, known.segment.find(name.as_str())?)));
        if let Some((known, row)) = row {
            let metadata = known.segment.metadata(row);
            let (entry, others) = directory.ways_to(index);
            holders.held_by.push(Holder { entry, others, metadata, age: now - known.at });
            continue;
        }
        if doubt(entry, &standing, now, options).is_none() {
            continue;
        }
        let (entry, others) = directory.ways_to(index);
        let doubtful = Doubtful { entry, others, why: standing.failure.clone(), age: standing.age(now) };
        match &standing.known {
            Some(known) if known.whole => holders.stale.push(doubtful),
            _ => holders.unlisted.push(doubtful),
        }
    }
    if !silent.is_empty() {
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
