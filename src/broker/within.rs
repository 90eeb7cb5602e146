//! The broker as it is to one reader: what their rights do not cover is not there.
//!
//! Whether they may is decided first, from what they ask for alone: whoever may not is told so before anything is looked
//! up, asked or counted on, in the same words whether or not it exists. What they are told then is told under addresses
//! by which they may ask for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use super::{Ask, BadEventId, Broker, Error, EventId, Filter, Missing, Origin, Reading, Watch, anywhere, view};
use crate::catalog::{BadQuery, Entry, Lookup, Page, Pattern, Query, SecretsPage, VaultStatus};
use crate::clock::Moment;
use crate::rights::{Rights, Verb};
use crate::secret::{Metadata, Reference, SecretName, SecretValue, VaultName};

/// The broker within somebody's rights.
#[derive(Debug, Clone, Copy)]
pub struct Within<'b> {
    broker: &'b Broker,
    rights: &'b Rights,
}

/// One reference of a [`Within::resolve`], resolved.
#[allow(missing_debug_implementations, reason = "a value is never printed")]
pub struct Resolved {
    /// The secret it led to.
    pub reading: Reading,
    field: Option<SecretValue>,
}

impl Resolved {
    /// What the reference means: the field it asked for, or the whole value.
    #[must_use]
    pub fn value(&self) -> &SecretValue {
        self.field.as_ref().unwrap_or(&self.reading.secret.value)
    }
}

/// References read side by side by one resolve.
const SIDE_BY_SIDE: usize = 64;

impl<'b> Within<'b> {
    pub(super) fn new(broker: &'b Broker, rights: &'b Rights) -> Self {
        Self { broker, rights }
    }

    /// One secret with its value.
    ///
    /// # Errors
    /// [`Error`] tells what the reader can do next.
    pub async fn get(&self, ask: &Ask) -> Result<Reading, Error> {
        let reading = self.read(ask).await;
        match &reading {
            Ok(reading) => self.count(reading),
            Err(error) => self.broker.0.metrics.read(error.reason()),
        }
        reading
    }

    /// The same for a value of a named vault that is held and may be given to this reader. `None`: nothing was done, and
    /// [`Within::get`] tells what there is to tell.
    #[must_use]
    pub fn at_once(&self, ask: &Ask, now: Moment) -> Option<Reading> {
        let vault = ask.vault.as_ref().filter(|vault| self.rights.may(Verb::Read, vault, &ask.name))?;
        let held = |entry: &Entry| self.broker.0.upstream.held_value(&self.shown(entry, vault, &ask.name), ask, now);
        let reading = self.broker.catalog().with_vault(vault, held)??;
        self.count(&reading);
        Some(reading)
    }

    fn count(&self, reading: &Reading) {
        self.broker.0.metrics.read(match (reading.origin, reading.stale) {
            (Origin::Held, None) => "hit",
            (Origin::Held, Some(_)) => "stale",
            (Origin::Read(_), _) => "miss",
            (Origin::Collapsed(_), _) => "collapsed",
        });
    }

    async fn read(&self, ask: &Ask) -> Result<Reading, Error> {
        let inner = &self.broker.0;
        match &ask.vault {
            Some(vault) => inner.upstream.read(&self.readable(vault, &ask.name)?, ask).await,
            None if !self.rights.may_anywhere(Verb::Read, &ask.name) => Err(Error::Forbidden),
            None => anywhere::read(&inner.catalog, &inner.upstream, &inner.order, self.rights, ask).await,
        }
    }

    /// All of these, or every failure by its key: never a part.
    ///
    /// # Errors
    /// With each key whose reference could not be resolved.
    pub async fn resolve(
        &self,
        references: &BTreeMap<String, Reference>,
    ) -> Result<BTreeMap<String, Resolved>, BTreeMap<String, Error>> {
        // Several fields of one secret are read once, so that they are of one version: two halves of a key, for one.
        let mut secrets: BTreeMap<String, Vec<(&String, &Reference)>> = BTreeMap::new();
        for (key, reference) in references {
            let whole = Reference { pointer: None, ..reference.clone() };
            secrets.entry(whole.to_string()).or_default().push((key, reference));
        }
        // Collected first: a closure over references, kept across an await, would keep this future from being Send.
        let reads: Vec<_> = secrets.into_values().map(|fields| self.resolve_fields(fields)).collect();
        let all: Vec<_> = stream::iter(reads).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let (mut resolved, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for (key, one) in all.into_iter().flatten() {
            match one {
                Ok(one) => drop(resolved.insert(key, Resolved { reading: one.reading.aged(), ..one })),
                Err(error) => drop(failed.insert(key, error)),
            }
        }
        if failed.is_empty() { Ok(resolved) } else { Err(failed) }
    }

    /// The metadata of every version, newest first, and the vault's address.
    ///
    /// # Errors
    /// As [`Within::get`].
    pub async fn versions(&self, vault: &VaultName, name: &SecretName) -> Result<(VaultName, Vec<Metadata>), Error> {
        let entry = self.readable(vault, name)?;
        let mut versions: Vec<_> = self.broker.0.upstream.versions(&entry, name).await?;
        versions.sort_by_key(|metadata| std::cmp::Reverse(metadata.created));
        Ok((entry.address, versions))
    }

    /// As [`Broker::watch`].
    ///
    /// # Errors
    /// [`Error::Forbidden`]: nothing that one of the patterns means could be told. [`Error::Overloaded`]: there are too
    /// many watchers.
    pub fn watch(&self, filter: Filter, after: Option<Result<EventId, BadEventId>>) -> Result<Watch, Error> {
        if !filter.patterns.iter().all(|pattern| self.may_watch(pattern)) {
            return Err(Error::Forbidden);
        }
        self.broker.0.upstream.hub().watch(filter, self.rights.clone(), after).ok_or(Error::Overloaded)
    }

    /// Whether a stream about that may tell anything, as far as its text says: a name is watched by who may read it.
    #[must_use]
    pub fn may_watch(&self, pattern: &Pattern) -> bool {
        match (pattern.vault(), pattern.name()) {
            (Some(vault), Some(name)) => self.rights.may(Verb::Read, &vault, &name),
            (None, Some(name)) => self.rights.may_anywhere(Verb::Read, &name),
            (Some(vault), None) => self.may_find_in(&vault),
            (None, None) => true,
        }
    }

    /// A page of what they find in a vault, and its address.
    ///
    /// # Errors
    /// As [`Broker::entry`], or [`Error::Forbidden`]; within, a cursor that no page of this vault gave.
    pub fn secrets(
        &self,
        vault: &VaultName,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Result<(VaultName, SecretsPage), BadQuery>, Error> {
        if !self.may_find_in(vault) {
            return Err(Error::Forbidden);
        }
        let entry = self.broker.entry(vault)?;
        let entry = if self.rights.is_all() { entry } else { entry.shown_as(vault) };
        let page = self.broker.catalog().secrets_within(self.rights, &entry, limit, cursor);
        Ok(page.map(|page| (entry.address, page)))
    }

    /// What a query matches of what they find.
    ///
    /// # Errors
    /// The query cannot be understood.
    pub fn search(&self, query: &Query) -> Result<Page, BadQuery> {
        self.broker.catalog().search_within(self.rights, query)
    }

    /// The vaults in which they may find something.
    #[must_use]
    pub fn vaults(&self) -> Vec<VaultStatus> {
        self.broker.catalog().vaults_within(self.rights)
    }

    /// The declared secrets that are not held, of those that they may find.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let mut missing = self.broker.missing();
        missing.retain(|missing| self.may_find(missing));
        missing
    }

    /// Whether they may find something in a vault that is addressed so.
    #[must_use]
    pub fn may_find_in(&self, vault: &VaultName) -> bool {
        Verb::ALL.iter().all(|verb| self.rights.may_in(*verb, vault))
    }

    /// Whether no source has a vault of that name, for certain.
    #[must_use]
    pub fn is_unknown(&self, vault: &VaultName) -> bool {
        matches!(self.broker.catalog().vault(vault), Lookup::NotFound { faults } if faults.is_empty())
    }

    fn may_find(&self, missing: &Missing) -> bool {
        // What is no name is a pattern of the configuration: shown to who is kept from nothing.
        let Ok(Reference { vault: Some(vault), name, .. }) = Reference::parse_lenient(&missing.what) else {
            return self.rights.is_all();
        };
        Verb::ALL.iter().all(|verb| self.rights.may(*verb, &vault, &name))
    }

    /// The vault of that address, if they may read that name in it, under an address by which they may.
    fn readable(&self, vault: &VaultName, name: &SecretName) -> Result<Entry, Error> {
        if !self.rights.may(Verb::Read, vault, name) {
            return Err(Error::Forbidden);
        }
        let entry = self.broker.entry(vault).map_err(|error| match error {
            Error::Skipped { reason, .. } if !self.rights.is_all() => Error::Skipped { vault: vault.clone(), reason },
            other => other,
        })?;
        Ok(self.shown(&entry, vault, name).into_owned())
    }

    /// A vault that was asked for as `vault`, under an address by which they may read that name in it.
    fn shown<'e>(&self, entry: &'e Entry, vault: &VaultName, name: &SecretName) -> Cow<'e, Entry> {
        let may = self.rights.may(Verb::Read, &entry.address, name);
        if may { Cow::Borrowed(entry) } else { Cow::Owned(entry.shown_as(vault)) }
    }

    /// References that lead to one secret.
    async fn resolve_fields(&self, fields: Vec<(&String, &Reference)>) -> Vec<(String, Result<Resolved, Error>)> {
        let Some((_, first)) = fields.first() else { return Vec::new() };
        let reading = self.get(&Ask::from(*first)).await;
        let resolved = |reference: &Reference| {
            let reading = reading.clone()?;
            let field = match &reference.pointer {
                Some(pointer) => Some(view::field(&reading.secret, pointer)?),
                None => None,
            };
            Ok(Resolved { reading, field })
        };
        fields.into_iter().map(|(key, reference)| (key.clone(), resolved(reference))).collect()
    }
}
