//! Putting an answer together: which rows match, in which order, and what the answer does without.

use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use time::OffsetDateTime;

use super::cursor::{Cursor, fingerprint};
use super::directory::Directory;
use super::matcher::{self, Names};
use super::order::{Best, Order, Place};
use super::query::{BadQuery, Query};
use super::record::Standing;
use super::segment::Segment;
use super::status::{
    DISCOVERING, Doubtful, Entry, Holder, Holders, NOT_LISTED_YET, OVERDUE, ReadState, SkippedVault, Unanswered,
};
use super::{CatalogOptions, DiscoveryFault};
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
    let vaults = matcher::vaults(query.vault.as_deref())?;
    let order = Order::of(query);
    let of = fingerprint(query);
    let after = query.cursor.as_deref().map(|cursor| Cursor::decode(cursor, of)).transpose()?;
    let now = query.now.unwrap_or_else(OffsetDateTime::now_utc);

    let mut unanswered = beyond(directory, vaults.as_ref());
    let mut asked: Vec<(&Entry, Arc<Standing>)> = Vec::new();
    for entry in &directory.live {
        if !covers(vaults.as_ref(), &entry.address, &entry.record.id) {
            continue;
        }
        let standing = entry.record.standing();
        unanswered.extend(doubt(entry, &standing, options));
        asked.push((entry, standing));
    }

    let mut total = 0;
    let mut best = Best::new(order, limit, after.as_ref());
    for (vault, (entry, standing)) in asked.iter().enumerate() {
        let Some(known) = &standing.known else { continue };
        let segment = &*known.segment;
        let Some(filter) = Filter::of(query, segment, now) else { continue };
        best.next_vault();
        names.each(segment, |row, score| {
            if filter.admits(segment, row) {
                total += 1;
                best.offer(segment, row, score, vault, entry.address.as_str());
            }
        });
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
    Ok(Page { hits: places.iter().map(hit).collect(), total, complete: unanswered.is_empty(), unanswered, next })
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
    let unanswered = doubt(vault, &standing, options);
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
        skipped: directory.out_of_reach().cloned().collect(),
        discovery_faults: directory.faults.clone(),
        discovering: !directory.undone.is_empty(),
        ..Holders::default()
    };
    for entry in &directory.live {
        let standing = entry.record.standing();
        let row = standing.known.as_ref().and_then(|known| Some((known, known.segment.find(name.as_str())?)));
        if let Some((known, row)) = row {
            let metadata = known.segment.metadata(row);
            holders.held_by.push(Holder { entry: entry.clone(), metadata, age: known.at.elapsed() });
            continue;
        }
        if doubt(entry, &standing, options).is_none() {
            continue;
        }
        let doubtful = Doubtful { entry: entry.clone(), why: standing.failure.clone(), age: standing.age() };
        match &standing.known {
            Some(known) if known.whole => holders.stale.push(doubtful),
            _ => holders.unlisted.push(doubtful),
        }
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

/// All that a row must be beside its name, worked out once for a segment. The one place where rows are let through.
struct Filter {
    tags: Vec<Vec<bool>>,
    types: Option<Vec<bool>>,
    enabled: Option<bool>,
    managed: Option<bool>,
    expired: Option<bool>,
    expires_before: Option<i64>,
    updated_since: Option<i64>,
    now: i64,
}

impl Filter {
    /// `None`: no row of the segment can pass.
    fn of(query: &Query, segment: &Segment, now: OffsetDateTime) -> Option<Self> {
        let tags = query.tags.iter().map(|tag| segment.which_tag_sets(&tag.key, tag.value.as_deref()));
        let now = now.unix_timestamp();
        Some(Self {
            tags: tags.collect::<Option<_>>()?,
            types: query.content_type.as_deref().map(|content_type| segment.which_types(content_type)),
            enabled: query.enabled,
            managed: query.managed,
            expired: query.expired,
            expires_before: query
                .expires_within
                .map(|within| now.saturating_add(i64::try_from(within.as_secs()).unwrap_or(i64::MAX))),
            // Rows hold whole seconds: what moved within the second asked for is let through.
            updated_since: query.updated_since.map(OffsetDateTime::unix_timestamp),
            now,
        })
    }

    fn admits(&self, segment: &Segment, row: usize) -> bool {
        self.tags.iter().all(|sets| sets[segment.tag_set_index(row)])
            && self.types.as_ref().is_none_or(|types| types[segment.type_index(row)])
            && self.enabled.is_none_or(|enabled| segment.enabled(row) == enabled)
            && self.managed.is_none_or(|managed| segment.managed(row) == managed)
            && self.expired.is_none_or(|expired| segment.expires(row).is_some_and(|at| at <= self.now) == expired)
            && self
                .expires_before
                .is_none_or(|before| segment.expires(row).is_some_and(|at| self.now < at && at <= before))
            && self.updated_since.is_none_or(|since| segment.updated(row).is_some_and(|at| at >= since))
    }
}

/// Whether a glob on vaults is about this one.
fn covers(glob: Option<&Regex>, address: &VaultName, id: &VaultName) -> bool {
    glob.is_none_or(|glob| glob.is_match(address.as_str().as_bytes()) || glob.is_match(id.as_str().as_bytes()))
}

/// What an answer does without beside the vaults that are asked: those that never are, and those that nobody knows of.
fn beyond(directory: &Directory, vaults: Option<&Regex>) -> Vec<Unanswered> {
    let sources = directory
        .undone
        .iter()
        .map(|source| of_source(source, DISCOVERING, "discovery has not finished its first round".to_owned()));
    let faults = directory.faults.iter().map(|DiscoveryFault { source, error }| {
        of_source(source, error.reason(), format!("discovery is short: {error}"))
    });
    let skipped = directory.out_of_reach().filter(|skipped| covers(vaults, &skipped.address, &skipped.info.id())).map(
        |SkippedVault { address, info, reason }| Unanswered {
            vault: Some(address.clone()),
            ..of_source(&info.source, reason.code(), reason.to_string())
        },
    );
    sources.chain(faults).chain(skipped).collect()
}

/// Why what is known of a vault may not be the truth now; `None`: it is, as of its last listing.
fn doubt(entry: &Entry, standing: &Standing, options: &CatalogOptions) -> Option<Unanswered> {
    let age = standing.age();
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
