//! The reference backend: vaults in memory, with versions, attributes and soft delete as Key Vault has them.
//!
//! Not a mock: it passes [`super::contract`], and the emulator stands on it. It never refuses anybody and never fails;
//! rights, firewalls and faults belong to whoever puts a wire in front of it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use time::OffsetDateTime;

use super::{Discovery, Source, Vault, VaultError, VaultErrorKind, VaultInfo};
use crate::secret::{Metadata, Secret, SecretName, SecretValue, SourceName, Tags, Version};

/// What a listing takes at a time.
const PAGE: usize = 25;

/// A vault in memory. A cheap handle: clones share the secrets.
#[derive(Clone)]
pub struct MemoryVault {
    info: Arc<VaultInfo>,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    live: BTreeMap<SecretName, Versions>,
    deleted: BTreeMap<SecretName, Versions>,
    /// Counts writes, so that versions are unique and a test can tell them.
    writes: u64,
}

/// Oldest first; the last is the current one. Never empty.
type Versions = Vec<Arc<Secret>>;

/// What a write may set beside the value. The default is an enabled secret without attributes.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// As [`Metadata::enabled`].
    pub enabled: bool,
    /// As [`Metadata::not_before`].
    pub not_before: Option<OffsetDateTime>,
    /// As [`Metadata::expires`].
    pub expires: Option<OffsetDateTime>,
    /// As [`Metadata::content_type`].
    pub content_type: Option<String>,
    /// As [`Metadata::tags`].
    pub tags: Tags,
    /// As [`Metadata::managed`].
    pub managed: bool,
    /// When it was written, for [`Metadata::created`] and [`Metadata::updated`]; `None`: now.
    pub written: Option<OffsetDateTime>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            enabled: true,
            not_before: None,
            expires: None,
            content_type: None,
            tags: Tags::default(),
            managed: false,
            written: None,
        }
    }
}

impl MemoryVault {
    /// An empty vault.
    #[must_use]
    pub fn new(info: VaultInfo) -> Self {
        Self { info: Arc::new(info), shelf: Arc::default() }
    }

    /// Makes a new version with that value, and the secret if there was none. Returns its metadata.
    pub fn set(&self, name: &SecretName, value: impl Into<Vec<u8>>, attributes: Attributes) -> Metadata {
        let mut shelf = self.shelf();
        shelf.writes += 1;
        let version = version_of(&self.info, name, shelf.writes);
        let Attributes { enabled, not_before, expires, content_type, tags, managed, written } = attributes;
        let now = written.unwrap_or_else(now);
        let metadata = Metadata {
            name: name.clone(),
            version: Some(version),
            enabled,
            not_before,
            expires,
            created: Some(now),
            updated: Some(now),
            content_type,
            tags,
            managed,
        };
        let secret = Arc::new(Secret { metadata: metadata.clone(), value: SecretValue::new(value) });
        shelf.live.entry(name.clone()).or_default().push(secret);
        metadata
    }

    /// Changes the attributes of the current version, or of the one told, and moves its `updated`. `None` if there is
    /// no such version.
    pub fn update(
        &self,
        name: &SecretName,
        version: Option<&Version>,
        change: impl FnOnce(&mut Metadata),
    ) -> Option<Metadata> {
        let mut shelf = self.shelf();
        let slot = pick_mut(shelf.live.get_mut(name)?, version)?;
        let mut metadata = slot.metadata.clone();
        change(&mut metadata);
        metadata.updated = Some(now());
        *slot = Arc::new(Secret { metadata: metadata.clone(), value: SecretValue::new(slot.value.expose()) });
        Some(metadata)
    }

    /// Soft-deletes a secret: it is neither listed nor read until it is recovered. False if there was none.
    pub fn delete(&self, name: &SecretName) -> bool {
        let mut shelf = self.shelf();
        match shelf.live.remove(name) {
            None => false,
            Some(versions) => {
                shelf.deleted.insert(name.clone(), versions);
                true
            }
        }
    }

    /// Brings a soft-deleted secret back with all its versions. False if there was none.
    pub fn recover(&self, name: &SecretName) -> bool {
        let mut shelf = self.shelf();
        match shelf.deleted.remove(name) {
            None => false,
            Some(versions) => {
                shelf.live.insert(name.clone(), versions);
                true
            }
        }
    }

    /// Forgets a soft-deleted secret for good. False if there was none.
    pub fn purge(&self, name: &SecretName) -> bool {
        self.shelf().deleted.remove(name).is_some()
    }

    /// The current metadata of the soft-deleted secrets, by name.
    #[must_use]
    pub fn deleted(&self) -> Vec<Metadata> {
        current(&self.shelf().deleted)
    }

    /// The current metadata of the secrets, by name.
    #[must_use]
    pub fn current(&self) -> Vec<Metadata> {
        current(&self.shelf().live)
    }

    /// The current metadata of at most so many secrets that come after a name, by name: a page of a long listing.
    #[must_use]
    pub fn current_after(&self, after: Option<&SecretName>, most: usize) -> Vec<Metadata> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shelf = self.shelf();
        let rest = shelf.live.range::<SecretName, _>((from, Bound::Unbounded));
        rest.filter_map(|(_, versions)| versions.last()).take(most).map(|secret| secret.metadata.clone()).collect()
    }

    /// The metadata of every version, oldest first; `None` if there is no such secret.
    #[must_use]
    pub fn all_versions(&self, name: &SecretName) -> Option<Vec<Metadata>> {
        let shelf = self.shelf();
        Some(shelf.live.get(name)?.iter().map(|secret| secret.metadata.clone()).collect())
    }

    /// A version, or the current one, disabled or not.
    #[must_use]
    pub fn peek(&self, name: &SecretName, version: Option<&Version>) -> Option<Arc<Secret>> {
        pick(self.shelf().live.get(name)?, version).cloned()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Vault for MemoryVault {
    fn info(&self) -> &VaultInfo {
        &self.info
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        let secret = self.peek(name, version).ok_or_else(not_found)?;
        if !secret.metadata.enabled {
            return Err(VaultError::new(VaultErrorKind::Disabled, "the secret is disabled"));
        }
        Ok(Secret { metadata: secret.metadata.clone(), value: SecretValue::new(secret.value.expose()) })
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        // Page by page, and of current versions without naming them, as Key Vault does.
        let pages = stream::unfold(None, move |after: Option<SecretName>| async move {
            let page = self.current_after(after.as_ref(), PAGE);
            let last = page.last()?.name.clone();
            Some((stream::iter(page), Some(last)))
        });
        pages.flatten().map(|metadata| Ok(Metadata { version: None, ..metadata })).boxed()
    }

    fn versions(&self, name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        match self.all_versions(name) {
            None => stream::iter([Err(not_found())]).boxed(),
            Some(all) => stream::iter(all.into_iter().map(Ok)).boxed(),
        }
    }
}

impl fmt::Debug for MemoryVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryVault").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A source whose vaults are told beforehand.
#[derive(Debug)]
pub struct MemorySource {
    name: SourceName,
    vaults: Vec<Arc<dyn Vault>>,
}

impl MemorySource {
    /// Discovers exactly these.
    #[must_use]
    pub fn new(name: SourceName, vaults: Vec<Arc<dyn Vault>>) -> Self {
        Self { name, vaults }
    }
}

#[async_trait]
impl Source for MemorySource {
    fn name(&self) -> &SourceName {
        &self.name
    }

    async fn discover(&self) -> Discovery {
        Discovery { vaults: self.vaults.clone(), ..Discovery::default() }
    }

    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>> {
        self.vaults.iter().find(|vault| vault.info().id() == info.id()).cloned()
    }
}

fn not_found() -> VaultError {
    VaultError::new(VaultErrorKind::NotFound, "the vault holds no such secret")
}

fn current(shelf: &BTreeMap<SecretName, Versions>) -> Vec<Metadata> {
    shelf.values().filter_map(|versions| versions.last()).map(|secret| secret.metadata.clone()).collect()
}

fn pick<'v>(versions: &'v Versions, version: Option<&Version>) -> Option<&'v Arc<Secret>> {
    match version {
        None => versions.last(),
        some => versions.iter().find(|secret| secret.metadata.version.as_ref() == some),
    }
}

fn pick_mut<'v>(versions: &'v mut Versions, version: Option<&Version>) -> Option<&'v mut Arc<Secret>> {
    match version {
        None => versions.last_mut(),
        some => versions.iter_mut().find(|secret| secret.metadata.version.as_ref() == some),
    }
}

/// 32 hexadecimal digits that differ for every vault, name and write, and are the same in every run.
fn version_of(info: &VaultInfo, name: &SecretName, write: u64) -> Version {
    use ring::digest::{SHA256, digest};
    let seed = format!("{}/{name}/{write}", info.id());
    let hash = digest(&SHA256, seed.as_bytes());
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    hex.parse().expect("16 bytes are 32 hexadecimal digits")
}

/// Key Vault keeps whole seconds.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}
