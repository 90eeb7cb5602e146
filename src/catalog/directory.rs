//! Which vaults there are, under which address: what rounds of discovery have told, merged.
//!
//! Two things must never happen. A round that saw too little must not drop a vault: one leaves only after it was absent
//! from two complete rounds of its source, at least [`ABSENCE`] apart. And an address must never come to mean another
//! vault: once a bare name was given, it stays that vault's for the life of the process, even after the vault has left.
//!
//! A vault that several sources have found (the same URI) is one vault, seen by several identities. It has an entry for
//! each, so that each has its address and tells how its own identity fares, but it is never told of twice: what the
//! catalog says of its content is what one entry knows, the *speaker*. That is the earliest configured source's, unless
//! what it knows is in doubt and a later one's is not. A read that names no vault goes through the speaker too, and
//! through the others where its identity is refused; an address goes through its own source's identity and no other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::CatalogOptions;
use super::doubt::doubt;
use super::record::{Record, Standing};
use super::status::{DiscoveryFault, Entry, Lookup, ReadState, SkippedVault};
use crate::clock::Moment;
use crate::secret::{SourceName, VaultName};
use crate::vaults::{Discovery, SkipReason, Vault, VaultError, VaultInfo};

/// A vault that is absent must be so in two complete rounds that far apart.
const ABSENCE: Duration = Duration::from_secs(60);

/// The bookkeeping of discovery, changed by one round at a time.
#[derive(Debug)]
pub(super) struct Rounds {
    sources: Vec<SourceRounds>,
    /// Bare name to the id of the vault that has it, for ever.
    given: HashMap<VaultName, VaultName>,
}

#[derive(Debug)]
struct SourceRounds {
    name: SourceName,
    /// The first round has ended, well or not.
    done: bool,
    /// Of the last round.
    faults: Vec<VaultError>,
    /// By bare name.
    known: BTreeMap<VaultName, Sighting>,
}

#[derive(Debug)]
struct Sighting {
    what: Sighted,
    /// The first complete round in a row that did not show it.
    absent_since: Option<Moment>,
}

#[derive(Debug)]
enum Sighted {
    /// A round has told of it, or one of an earlier process.
    Live(Arc<Record>),
    /// The configuration names it, and no round has told of it yet.
    Named(Arc<Record>),
    Skipped(VaultInfo, SkipReason),
}

impl Sighted {
    /// Of a vault that is asked.
    fn record(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Live(record) | Self::Named(record) => Some(record),
            Self::Skipped(..) => None,
        }
    }
}

/// The vaults as they are now. Never changed; a round makes a new one.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Sorted by address.
    pub(super) live: Vec<Entry>,
    /// Sorted by address.
    pub(super) skipped: Vec<SkippedVault>,
    /// What kept the last rounds from seeing everything.
    pub(super) faults: Vec<DiscoveryFault>,
    /// Sources that have not finished their first round.
    pub(super) undone: Vec<SourceName>,
    /// Every address, bare and through the source, of a live vault.
    by_name: HashMap<VaultName, usize>,
    /// Entries that are one vault, by the order of their sources; at least two each.
    shared: Vec<Vec<usize>>,
    /// Of every live one, whether it is among those.
    is_shared: Vec<bool>,
    /// Those that the configuration names and no round has told of.
    named: HashSet<VaultName>,
}

impl Rounds {
    pub(super) fn new(sources: impl Iterator<Item = SourceName>) -> Self {
        let sources = sources
            .map(|name| SourceRounds { name, done: false, faults: Vec::new(), known: BTreeMap::new() })
            .collect();
        Self { sources, given: HashMap::new() }
    }

    /// Takes in one source's round and gives addresses to what is new. Vaults that left are told so.
    pub(super) fn absorb(&mut self, source: usize, round: Discovery, now: Moment) -> Directory {
        for never in self.sources[source].absorb(round, now) {
            // No value ever came from it: its bare name may be another's.
            self.given.retain(|_, id| *id != never);
        }
        self.give_addresses();
        self.directory()
    }

    /// Takes in the vaults that the configuration names, before any round.
    pub(super) fn name(&mut self, source: usize, vaults: Vec<Arc<dyn Vault>>) {
        for vault in vaults {
            let what = Sighted::Named(Arc::new(Record::new(Arc::clone(&vault), Standing::default())));
            self.sources[source].known.insert(bare(vault.info()), Sighting { what, absent_since: None });
        }
        self.give_addresses();
    }

    /// Takes in a vault that was known before a restart, with what was known of it, unless a round has told of one of
    /// that name. It has the address that it had: the bare name, unless an earlier source's vault was recalled with it.
    pub(super) fn recall(&mut self, source: usize, vault: Arc<dyn Vault>, standing: Standing) -> bool {
        let name = bare(vault.info());
        let known = &mut self.sources[source].known;
        match known.get(&name).map(|sighting| &sighting.what) {
            Some(Sighted::Named(record)) if Arc::ptr_eq(&record.vault, &vault) => {
                self.given.entry(name).or_insert_with(|| record.id.clone());
                return record.recall(&standing);
            }
            Some(_) => return false,
            None => {}
        }
        let record = Arc::new(Record::new(vault, standing));
        self.given.entry(name.clone()).or_insert_with(|| record.id.clone());
        known.insert(name, Sighting { what: Sighted::Live(record), absent_since: None });
        true
    }

    /// The earliest source has the first right to a bare name, so a later one gets none before the earlier ones have
    /// finished their first round. Until then its vaults are addressed through it.
    fn give_addresses(&mut self) {
        for source in &self.sources {
            for (name, sighting) in &source.known {
                if let Some(record) = sighting.what.record() {
                    self.given.entry(name.clone()).or_insert_with(|| record.id.clone());
                }
            }
            if !source.done {
                break;
            }
        }
    }

    pub(super) fn directory(&self) -> Directory {
        let mut live = Vec::new();
        let mut skipped = Vec::new();
        let mut named = HashSet::new();
        for (name, sighting) in self.sources.iter().flat_map(|source| &source.known) {
            match &sighting.what {
                Sighted::Live(record) | Sighted::Named(record) => {
                    let has_name = self.given.get(name) == Some(&record.id);
                    let address = if has_name { name } else { &record.id }.clone();
                    if matches!(sighting.what, Sighted::Named(_)) {
                        named.insert(record.id.clone());
                    }
                    let (given, vault) = (address.clone(), Arc::clone(&record.vault));
                    live.push(Entry { address, vault, given, record: Arc::clone(record) });
                }
                Sighted::Skipped(info, reason) => {
                    let id = info.id();
                    let has_name = self.given.get(name).is_none_or(|given| *given == id);
                    let address = if has_name { name.clone() } else { id };
                    skipped.push(SkippedVault { address, info: info.clone(), reason: reason.clone() });
                }
            }
        }
        live.sort_by(|a, b| a.address.cmp(&b.address));
        skipped.sort_by(|a, b| (&a.address, &a.info.source).cmp(&(&b.address, &b.info.source)));
        let by_name = live
            .iter()
            .enumerate()
            .flat_map(|(index, entry)| [(entry.address.clone(), index), (entry.record.id.clone(), index)])
            .collect();
        let shared = self.shared(&live);
        let mut is_shared = vec![false; live.len()];
        shared.iter().flatten().for_each(|index| is_shared[*index] = true);
        let faults = self.sources.iter().flat_map(|source| {
            source.faults.iter().map(|error| DiscoveryFault { source: source.name.clone(), error: error.clone() })
        });
        Directory {
            faults: faults.collect(),
            undone: self.sources.iter().filter(|source| !source.done).map(|source| source.name.clone()).collect(),
            live,
            skipped,
            by_name,
            shared,
            is_shared,
            named,
        }
    }

    fn shared(&self, live: &[Entry]) -> Vec<Vec<usize>> {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, entry) in live.iter().enumerate() {
            if let Some(uri) = &entry.vault.info().uri {
                places.entry(place(uri)).or_default().push(index);
            }
        }
        let rank = |index: &usize| {
            let source = &live[*index].vault.info().source;
            self.sources.iter().position(|of_all| of_all.name == *source)
        };
        let several = places.into_values().filter(|entries| entries.len() > 1);
        several
            .map(|mut entries| {
                entries.sort_by_key(rank);
                entries
            })
            .collect()
    }
}

impl SourceRounds {
    /// Takes in a round; tells which of the vaults that the configuration names are not to be asked, as it turns out.
    fn absorb(&mut self, round: Discovery, now: Moment) -> Vec<VaultName> {
        let mut never = Vec::new();
        let complete = round.faults.is_empty();
        self.done = true;
        self.faults = round.faults;

        let mut seen: BTreeMap<VaultName, Sighted> = BTreeMap::new();
        for skipped in round.skipped {
            seen.insert(bare(&skipped.info), Sighted::Skipped(skipped.info, skipped.reason));
        }
        // A vault that is both is asked: the configuration may name what discovery would skip.
        for vault in round.vaults {
            let name = bare(vault.info());
            let record = self.record_of(&name, vault);
            seen.insert(name, Sighted::Live(record));
        }

        for (name, sighting) in &mut self.known {
            let still = seen.get(name).is_some_and(|now_seen| {
                // One that was asked and is now skipped must be so as long as one that is absent.
                matches!(now_seen, Sighted::Live(_)) || !matches!(sighting.what, Sighted::Live(_))
            });
            if still {
                sighting.absent_since = None;
            } else if complete {
                sighting.absent_since.get_or_insert(now);
            }
        }
        self.known.retain(|_, sighting| {
            let left = complete && sighting.absent_since.is_some_and(|since| now - since >= ABSENCE);
            if let (true, Some(record)) = (left, sighting.what.record()) {
                record.gone.cancel();
            }
            !left
        });
        for (name, what) in seen {
            match self.known.get_mut(&name) {
                Some(known) if known.absent_since.is_some() => {}
                Some(known) => match (&known.what, &what) {
                    // A round that saw little may be wrong about that too.
                    (Sighted::Live(_), Sighted::Skipped(..)) => {}
                    (Sighted::Named(record), Sighted::Skipped(..)) => {
                        record.gone.cancel();
                        if record.glance().known.is_none() {
                            never.push(record.id.clone());
                        }
                        known.what = what;
                    }
                    _ => known.what = what,
                },
                None => {
                    self.known.insert(name, Sighting { what, absent_since: None });
                }
            }
        }
        never
    }

    /// The vault's record: the one it has, or, for a handle not seen before, a new one with what is known by that name.
    fn record_of(&self, name: &VaultName, vault: Arc<dyn Vault>) -> Arc<Record> {
        let Some(record) = self.known.get(name).and_then(|sighting| sighting.what.record()) else {
            return Arc::new(Record::new(vault, Standing::default()));
        };
        if Arc::ptr_eq(&record.vault, &vault) {
            return Arc::clone(record);
        }
        record.gone.cancel();
        Arc::new(Record::new(vault, Standing::clone(&record.standing())))
    }
}

impl Directory {
    /// Every source has looked, nothing went wrong, and there is no vault.
    pub(super) fn is_known_to_be_empty(&self) -> bool {
        self.undone.is_empty() && self.faults.is_empty() && self.live.is_empty()
    }

    /// The live vault of that address, bare or through its source.
    pub(super) fn find(&self, name: &VaultName) -> Option<&Entry> {
        self.index(name).map(|index| &self.live[index])
    }

    /// Where it is in [`Directory::live`].
    pub(super) fn index(&self, name: &VaultName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether that is a vault of which no more is known than its name.
    pub(super) fn is_merely_named(&self, name: &VaultName) -> bool {
        self.find(name).is_some_and(|entry| self.named.contains(entry.id()))
    }

    pub(super) fn lookup(&self, name: &VaultName) -> Lookup {
        if let Some(entry) = self.find(name) {
            return Lookup::Found(entry.clone());
        }
        // An undone source could still turn out to have it, or to have the first right to the bare name.
        let source = name.as_str().split_once(':').map(|(source, _)| source);
        let open = self.undone.iter().any(|undone| source.is_none_or(|source| source == undone.as_str()));
        if open {
            return Lookup::NotYet;
        }
        if let Some(skipped) = self.skipped.iter().find(|s| s.address == *name || s.info.id() == *name) {
            return Lookup::Skipped(skipped.clone());
        }
        let faults = self.faults.iter().filter(|fault| source.is_none_or(|source| source == fault.source.as_str()));
        Lookup::NotFound { faults: faults.cloned().collect() }
    }

    /// The skipped vaults that none of the live ones that `counts` is, as seen by another source.
    pub(super) fn out_of_reach(&self, counts: impl Fn(&Entry) -> bool) -> impl Iterator<Item = &SkippedVault> {
        self.skipped.iter().filter(move |skipped| {
            let Some(uri) = skipped.info.uri.as_deref().map(place) else { return true };
            let same = |entry: &Entry| entry.vault.info().uri.as_deref().is_some_and(|other| place(other) == uri);
            !self.live.iter().any(|entry| same(entry) && counts(entry))
        })
    }

    /// Of every live vault, whether it speaks for itself among those that `counts`: false where another one does, the same
    /// vault as seen by another source.
    pub(super) fn speaking(&self, counts: impl Fn(&Entry) -> bool, options: &CatalogOptions) -> Vec<bool> {
        let now = Moment::now();
        let mut speaking = vec![true; self.live.len()];
        for entries in &self.shared {
            let counted = entries.iter().copied().filter(|index| counts(&self.live[*index]));
            let speaker = counted.clone().min_by_key(|index| {
                let entry = &self.live[*index];
                let standing = entry.record.standing();
                let whole = standing.known.as_ref().map(|known| known.whole);
                (doubt(entry, &standing, now, options).is_some(), std::cmp::Reverse(whole))
            });
            for silent in counted.filter(|index| Some(*index) != speaker) {
                speaking[silent] = false;
            }
        }
        speaking
    }

    /// Whether another entry is the same vault as that one; `None` if it is not in here any more.
    pub(super) fn is_shared(&self, record: &Arc<Record>) -> Option<bool> {
        let index = self.index(&record.id).filter(|index| Arc::ptr_eq(&self.live[*index].record, record))?;
        Some(self.is_shared[index])
    }

    /// Who speaks for that entry, if another one does.
    pub(super) fn speaker_of(&self, index: usize, options: &CatalogOptions) -> Option<&Entry> {
        let shared = self.shared.iter().find(|shared| shared.contains(&index))?;
        let speaking = self.speaking(|_| true, options);
        let speaker = shared.iter().find(|other| speaking[**other])?;
        (*speaker != index).then(|| &self.live[*speaker])
    }

    /// That entry and the others that are the same vault and that `counts`, in the order in which they are worth reading
    /// from: itself, then by the order of sources, and last those whose identity was refused by the last read.
    pub(super) fn ways_to(&self, index: usize, counts: impl Fn(&Entry) -> bool) -> (Entry, Vec<Entry>) {
        let Some(shared) = self.shared.iter().find(|shared| shared.contains(&index)) else {
            return (self.live[index].clone(), Vec::new());
        };
        let mut ways = shared.clone();
        ways.retain(|way| *way == index || counts(&self.live[*way]));
        let refused = |way: usize| matches!(self.live[way].record.standing().read, ReadState::Denied { .. });
        ways.sort_by_key(|way| (refused(*way), *way != index));
        let mut ways = ways.into_iter().map(|way| self.live[way].clone());
        let first = ways.next().expect("at least the entry itself");
        (first, ways.collect())
    }

    /// The entry under which the earliest source has that vault, if it is another.
    pub(super) fn duplicate_of(&self, index: usize) -> Option<&Entry> {
        let shared = self.shared.iter().find(|shared| shared.contains(&index))?;
        shared.first().filter(|first| **first != index).map(|first| &self.live[*first])
    }
}

fn bare(info: &VaultInfo) -> VaultName {
    info.name.bare().parse().expect("a vault name without its source is a vault name")
}

/// What is equal in every URI of one vault.
fn place(uri: &str) -> String {
    uri.trim_end_matches('/').to_ascii_lowercase()
}
