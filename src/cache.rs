//! The values that were read, each with its age.
//!
//! moka bounds how much is held; how long a value is fresh is decided here, on tokio's clock. An entry's age starts
//! with the upstream read that brought it and with nothing else: storing, reading or failing never restarts it. An
//! answer to an older question never replaces one to a newer.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache as Moka;
use tokio::time::Instant;

use crate::secret::{Secret, SecretName, VaultName, Version};

/// How much is held, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long a value is served without asking again.
    pub ttl: Duration,
    /// How long it is remembered that a vault does not hold a name.
    pub negative_ttl: Duration,
    /// The most values held.
    pub max_entries: u64,
    /// The most bytes held: values, with an allowance for what stands around each.
    pub max_bytes: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(30),
            max_entries: 10_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Whose value: the vault by its unique `source:vault` address, the name, and the version if one was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// `source:vault`, so that vaults of one name in two sources never mix.
    pub vault: VaultName,
    /// The secret.
    pub name: SecretName,
    /// `None`: whatever is current.
    pub version: Option<Version>,
}

/// What is held under a key.
#[derive(Debug, Clone)]
pub struct Held {
    /// `None`: the vault said that it does not hold it.
    pub secret: Option<Arc<Secret>>,
    /// When the upstream read that told so began.
    pub asked: Instant,
}

/// The cache. A cheap handle.
#[derive(Debug, Clone)]
pub struct Cache {
    held: Moka<Key, Held>,
    options: Arc<CacheOptions>,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: CacheOptions) -> Self {
        // One weight bounds both: no entry counts for less than its share of the bytes.
        let share = u32::try_from(options.max_bytes.div_ceil(options.max_entries.max(1))).unwrap_or(u32::MAX);
        let held = Moka::builder()
            .max_capacity(options.max_bytes)
            .weigher(move |key: &Key, held: &Held| weight(key, held).max(share))
            .build();
        Self { held, options: Arc::new(options) }
    }

    /// What is held under that key, fresh or not.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Held> {
        self.held.get(key)
    }

    /// Keeps what an upstream read told, unless a read that began later has told already.
    pub fn store(&self, key: Key, secret: Option<Arc<Secret>>, asked: Instant) {
        self.held.entry(key).and_compute_with(|old| match old {
            Some(old) if old.value().asked > asked => Op::Nop,
            _ => Op::Put(Held { secret, asked }),
        });
    }

    /// Ends what is held under that key, if no read that began after `asked` has told otherwise.
    pub fn evict(&self, key: Key, asked: Instant) {
        self.held.entry(key).and_compute_with(|old| match old {
            Some(old) if old.value().asked <= asked => Op::Remove,
            Some(_) | None => Op::Nop,
        });
    }

    /// What is left of a held answer's time to live, in whole seconds; negative once it is over.
    #[must_use]
    pub fn ttl_left(&self, held: &Held) -> i64 {
        let ttl = if held.secret.is_some() { self.options.ttl } else { self.options.negative_ttl };
        let (ttl, age) = (ttl.as_millis(), held.asked.elapsed().as_millis());
        let left = i64::try_from(ttl).unwrap_or(i64::MAX) - i64::try_from(age).unwrap_or(i64::MAX);
        // Towards the older: half a second left is not a whole one.
        left.div_euclid(1000)
    }

    /// Whether a held answer may be given without asking again.
    #[must_use]
    pub fn is_fresh(&self, held: &Held) -> bool {
        let ttl = if held.secret.is_some() { self.options.ttl } else { self.options.negative_ttl };
        held.asked.elapsed() < ttl
    }

    /// How many answers are held, about.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.held.entry_count()
    }

    /// Whether nothing is held, about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets go of what was evicted or outgrew its bounds; moka does it only when it is called upon.
    pub fn tidy(&self) {
        self.held.run_pending_tasks();
    }
}

/// Bytes an entry holds, about: what is allocated for it by us and by moka, measured as 400 beside the payload.
fn weight(key: &Key, held: &Held) -> u32 {
    const AROUND: usize = 400;
    let value = held.secret.as_ref().map_or(0, |secret| {
        let tags: usize = secret.metadata.tags.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        secret.value.len() + tags
    });
    u32::try_from(AROUND + key.vault.as_str().len() + key.name.as_str().len() + value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Metadata, SecretValue};

    fn key(name: &str) -> Key {
        Key { vault: "s:v".parse().unwrap(), name: name.parse().unwrap(), version: None }
    }

    fn secret(name: &str, bytes: usize) -> Option<Arc<Secret>> {
        let metadata = Metadata::new(name.parse().unwrap());
        Some(Arc::new(Secret { metadata, value: SecretValue::new(vec![b'x'; bytes]) }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_to_an_older_question_does_not_replace_a_newer_one() {
        let cache = Cache::new(CacheOptions::default());
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        cache.store(key("a"), secret("a", 2), Instant::now());
        cache.store(key("a"), secret("a", 1), before);
        assert_eq!(cache.peek(&key("a")).unwrap().secret.unwrap().value.len(), 2);
        cache.evict(key("a"), before);
        assert!(cache.peek(&key("a")).is_some());
        cache.evict(key("a"), Instant::now());
        assert!(cache.peek(&key("a")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn age_counts_from_the_question_and_reading_does_not_restart_it() {
        let cache = Cache::new(CacheOptions { ttl: Duration::from_secs(10), ..CacheOptions::default() });
        cache.store(key("a"), secret("a", 1), Instant::now());
        tokio::time::advance(Duration::from_millis(9_500)).await;
        let held = cache.peek(&key("a")).unwrap();
        assert_eq!((cache.ttl_left(&held), cache.is_fresh(&held)), (0, true));
        tokio::time::advance(Duration::from_millis(501)).await;
        let held = cache.peek(&key("a")).unwrap();
        assert_eq!((cache.ttl_left(&held), cache.is_fresh(&held)), (-1, false));
    }

    #[tokio::test]
    async fn entries_and_bytes_are_both_bounded() {
        let few = Cache::new(CacheOptions { max_entries: 10, ..CacheOptions::default() });
        let small = Cache::new(CacheOptions { max_bytes: 100_000, ..CacheOptions::default() });
        for n in 0..1_000 {
            few.store(key(&format!("n{n}")), secret("n", 1), Instant::now());
            small.store(key(&format!("n{n}")), secret("n", 9_500), Instant::now());
        }
        few.tidy();
        small.tidy();
        assert!(few.len() <= 10, "{}", few.len());
        assert!((1..=10).contains(&small.len()), "{}", small.len());
    }
}
