//! The values that were read, each with its life: fresh, stale, gone.
//!
//! moka bounds how much is held; how long a value may be served is decided here, on a clock that does not stop while
//! the machine is suspended. The rules:
//!
//! - Age restarts on an upstream read and on a listing that proves that nothing changed; on nothing else.
//! - An outage evicts nothing. A vault's own word (not found, disabled, denied) does, once a second one, at least
//!   [`CacheOptions::confirm_after`] later, has confirmed it: one replica's hiccup is no denial.
//! - An answer to an older question never replaces one to a newer, and an older version never replaces a newer one
//!   before the vault has stuck to it for 90 s: replicas lag.
//! - Nothing is served past [`CacheOptions::max_stale`].
//! - Names that do not exist drive no value out, however many are asked for: refusals have a bound of their own.

mod heir;
mod held;
mod intake;
mod stamp;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use moka::Equivalent;
use moka::ops::compute::Op;
use moka::sync::Cache as Moka;

pub use held::{Freshness, Held, Stale};
pub use intake::{Kept, Sight, Verdict};

use crate::clock::Moment;
use crate::secret::{Secret, SecretName, VaultName, Version};
use heir::Heir;
use held::Birth;

/// How much is held, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long a value is served without asking again, before jitter.
    pub ttl: Duration,
    /// How long it is remembered that a vault does not hold a name, before jitter.
    pub negative_ttl: Duration,
    /// How far a life may be from these, in percent, each way: values that came together do not end together.
    pub jitter_percent: u8,
    /// How long a value is served while its vault cannot confirm it.
    pub max_stale: Duration,
    /// The most that lies between two reads of a value that is in use, whatever listings prove of it; before jitter.
    pub reread: Duration,
    /// A denial must be met again at least that much later; 5 s.
    pub confirm_after: Duration,
    /// The most values held, and the most refusals remembered beside them.
    pub max_entries: u64,
    /// The most bytes held: values, with an allowance for what stands around each.
    pub max_bytes: u64,
    /// What the jitter is drawn from: to be different in every sidecar of a fleet.
    pub seed: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(30),
            jitter_percent: 20,
            max_stale: Duration::from_secs(24 * 3600),
            reread: Duration::from_secs(3600),
            confirm_after: Duration::from_secs(5),
            max_entries: 10_000,
            max_bytes: 64 * 1024 * 1024,
            seed: 0,
        }
    }
}

/// Whose value: the vault by its unique `source:vault` address, the name, and the version if one was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `source:vault`, so that vaults of one name in two sources never mix.
    pub vault: VaultName,
    /// The secret.
    pub name: SecretName,
    /// `None`: whatever is current.
    pub version: Option<Version>,
}

/// The same, borrowed: to look up by without making one. Both are hashed, field by field, and must come to the same: its
/// fields stand in the order of [`Key`]'s.
#[derive(Debug, Clone, Copy, Hash)]
pub struct KeyOf<'k> {
    /// As [`Key::vault`].
    pub vault: &'k VaultName,
    /// As [`Key::name`].
    pub name: &'k SecretName,
    /// As [`Key::version`].
    pub version: Option<&'k Version>,
}

impl Equivalent<Key> for KeyOf<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.name == key.name && *self.vault == key.vault && self.version == key.version.as_ref()
    }
}

impl From<KeyOf<'_>> for Key {
    fn from(key: KeyOf<'_>) -> Self {
        Self { vault: key.vault.clone(), name: key.name.clone(), version: key.version.cloned() }
    }
}

/// What is held, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Values that may be served.
    pub values: u64,
    /// Of them, those that are stale.
    pub stale: u64,
    /// Vaults' words that they do not give a secret.
    pub refusals: u64,
    /// The age of the value that was confirmed the longest ago.
    pub oldest: Duration,
}

/// What was restored and a listing can prove is left for that long to the listing, and up to twice as long.
const UNTIL_LISTED: Duration = Duration::from_secs(5);

/// The cache. A cheap handle.
#[derive(Debug, Clone)]
pub struct Cache {
    held: Moka<Key, Arc<Held>, RandomState>,
    /// How many of them are refusals, about.
    refusals: Arc<AtomicU64>,
    /// Told of all that this one is told.
    heir: Arc<ArcSwapOption<Heir>>,
    options: Arc<CacheOptions>,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: CacheOptions) -> Self {
        // One weight bounds both: no value counts for less than its share of the bytes. A refusal counts for nothing there,
        // so that it drives no value out.
        let share = u32::try_from(options.max_bytes.div_ceil(options.max_entries.max(1))).unwrap_or(u32::MAX);
        let refusals = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&refusals);
        let held = Moka::builder()
            // The shares of all, rounded up: as many as were asked for, not one less.
            .max_capacity(u64::from(share).saturating_mul(options.max_entries.max(1)))
            .weigher(move |key: &Key, held: &Arc<Held>| held.answer().map_or(0, |_| weight(key, held).max(share)))
            .eviction_listener(move |_, held: Arc<Held>, _| {
                if held.answer().is_err() {
                    left.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(RandomState::default());
        Self { held, refusals, heir: Arc::default(), options: Arc::new(options) }
    }

    /// How much is held, and for how long.
    #[must_use]
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// What is held under that key, whatever its freshness.
    #[must_use]
    pub fn peek<K: Equivalent<Key> + Hash>(&self, key: &K) -> Option<Arc<Held>> {
        self.held.get(key)
    }

    /// How an answer may be used now.
    #[must_use]
    pub fn freshness(&self, held: &Held, now: Moment) -> Freshness {
        held.freshness(now, self.options.max_stale)
    }

    /// What is due to be renewed now, in the order of keys, and what is over is let go of.
    #[must_use]
    pub fn due(&self, now: Moment) -> Vec<Key> {
        let mut due = Vec::new();
        let lives = self.options.reread.as_secs_f64() / self.options.ttl.as_secs_f64().max(0.001);
        for (key, held) in self.held.iter() {
            if self.freshness(&held, now) == Freshness::Gone {
                self.held.entry(Key::clone(&key)).and_compute_with(|entry| match entry {
                    Some(entry) if Arc::ptr_eq(entry.value(), &held) => Op::Remove,
                    Some(_) | None => Op::Nop,
                });
            } else if held.is_due(now, lives) {
                due.push(Key::clone(&key));
            }
        }
        due.sort_unstable();
        due
    }

    /// Puts back what was held before a restart, known to be true at `confirmed`, unless something is held already.
    ///
    /// `settled`: whether a listing that shows its stamp is proof enough, as [`Cache::is_settled`] told. Then the first
    /// listing is given a moment to prove it: a fleet that starts again lists fifty secrets in two calls.
    pub fn restore(&self, key: Key, secret: Arc<Secret>, confirmed: Moment, settled: bool) {
        let life = self.life(&key, self.options.ttl);
        let draw = self.draw(&key);
        self.held.entry(key).or_insert_with(|| {
            let held = Held::new(Birth {
                answer: Ok(secret),
                asked: confirmed,
                confirmed,
                life,
                first_seen: if settled { Moment::default() } else { confirmed },
                restored: true,
                used: Moment::default(),
                // Another sidecar, or an earlier life of this one, vouches for it: to be asked for soon.
                outdated: true,
            });
            if settled {
                held.trouble().not_before = Moment::now() + UNTIL_LISTED + UNTIL_LISTED.mul_f64(draw);
            }
            Arc::new(held)
        });
    }

    /// Whether there is room for one more refusal.
    fn remembers_more(&self) -> bool {
        self.refusals.load(Ordering::Relaxed) < self.options.max_entries
    }

    /// To be put into the cache at once: it is counted when it leaves.
    fn counted(&self, held: Arc<Held>) -> Arc<Held> {
        if held.answer().is_err() {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        held
    }

    /// Whether a listing that shows a held value's stamp proves that nothing changed.
    #[must_use]
    pub fn is_settled(&self, held: &Held) -> bool {
        held.is_settled()
    }

    /// Everything that is held: to be carried over a restart.
    pub fn iter(&self) -> impl Iterator<Item = (Arc<Key>, Arc<Held>)> + '_ {
        self.held.iter()
    }

    /// Counts what may be served now.
    #[must_use]
    pub fn census(&self) -> Census {
        let now = Moment::now();
        let mut census = Census::default();
        for (_, held) in self.held.iter() {
            match (self.freshness(&held, now), held.answer()) {
                (Freshness::Gone, _) => continue,
                (_, Err(_)) => census.refusals += 1,
                (freshness, Ok(_)) => {
                    census.values += 1;
                    census.stale += u64::from(freshness != Freshness::Fresh);
                    census.oldest = census.oldest.max(held.age(now));
                }
            }
        }
        census
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

    /// A life of about that long, the same for the same key.
    fn life(&self, key: &Key, about: Duration) -> Duration {
        let spread = f64::from(self.options.jitter_percent) / 100.0;
        about.mul_f64(1.0 - spread + 2.0 * spread * self.draw(key))
    }

    /// A number in 0..=1, always the same for the same seed and words: what jitter is drawn from.
    pub(crate) fn draw(&self, words: &impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        self.options.seed.hash(&mut hasher);
        words.hash(&mut hasher);
        (hasher.finish() % 10_001) as f64 / 10_000.0
    }
}

/// Bytes an entry holds, about: what is allocated for it by us and by moka, measured as 400 beside the payload.
fn weight(key: &Key, held: &Arc<Held>) -> u32 {
    const AROUND: usize = 400;
    let value = held.answer().map_or(0, |secret| {
        let tags: usize = secret.metadata.tags.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        secret.value.len() + tags
    });
    u32::try_from(AROUND + key.vault.as_str().len() + key.name.as_str().len() + value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Metadata, SecretValue};
    use crate::vaults::{VaultError, VaultErrorKind};

    fn key(name: &str) -> Key {
        Key { vault: "s:v".parse().unwrap(), name: name.parse().unwrap(), version: None }
    }

    fn secret(bytes: usize) -> Arc<Secret> {
        let metadata = Metadata::new("n".parse().unwrap());
        Arc::new(Secret { metadata, value: SecretValue::new(vec![b'x'; bytes]) })
    }

    #[tokio::test]
    async fn entries_and_bytes_are_both_bounded() {
        let few = Cache::new(CacheOptions { max_entries: 10, ..CacheOptions::default() });
        let small = Cache::new(CacheOptions { max_bytes: 100_000, ..CacheOptions::default() });
        for n in 0..1_000 {
            few.learn(&key(&format!("n{n}")), &secret(1), Moment::now(), None);
            small.learn(&key(&format!("n{n}")), &secret(9_500), Moment::now(), None);
        }
        few.tidy();
        small.tidy();
        assert!(few.len() <= 10, "{}", few.len());
        assert!((1..=10).contains(&small.len()), "{}", small.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_counts_as_seen_when_the_listing_that_shows_it_has_ended() {
        let cache = Cache::new(CacheOptions::default());
        let metadata =
            Metadata { updated: Some(time::OffsetDateTime::UNIX_EPOCH), ..Metadata::new("n".parse().unwrap()) };
        let at = Moment::now();
        let sight = Sight { metadata: metadata.clone(), at, ended: at + Duration::from_secs(10) };
        for (asked, settled) in [(11, false), (13, true)] {
            let secret = Arc::new(Secret { metadata: metadata.clone(), value: SecretValue::new("one") });
            let key = Key { vault: format!("s:v{asked}").parse().unwrap(), ..key("n") };
            tokio::time::advance(Duration::from_secs(20)).await;
            let Kept::New(held) = cache.learn(&key, &secret, at + Duration::from_secs(asked), Some(&sight)) else {
                panic!("nothing was held");
            };
            assert_eq!(cache.is_settled(&held), settled, "asked {asked} s after the listing began");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_adopted_keeps_its_age_and_its_use_and_replaces_nothing_newer() {
        let before = Cache::new(CacheOptions { jitter_percent: 0, ..CacheOptions::default() });
        let ttl = Duration::from_secs(20);
        let after = Cache::new(CacheOptions { ttl, jitter_percent: 0, ..CacheOptions::default() });
        let asked = Moment::now();
        for name in ["old", "newer"] {
            before.learn(&key(name), &secret(1), asked, None);
        }
        before.failed(&key("old"), "vault-timeout");
        tokio::time::advance(Duration::from_secs(10)).await;
        before.peek(&key("old")).unwrap().touch(Moment::now());
        after.learn(&key("newer"), &secret(2), Moment::now(), None);
        tokio::time::advance(Duration::from_secs(15)).await;
        for (key, held) in before.iter() {
            after.adopt(&key, &held);
        }
        let (old, now) = (after.peek(&key("old")).unwrap(), Moment::now());
        assert_eq!((old.age(now), old.ttl(now)), (Duration::from_secs(25), -5), "with the life of its new options");
        assert_eq!(old.used(), before.peek(&key("old")).unwrap().used());
        assert_eq!(after.freshness(&old, now), Freshness::Stale(Stale::Failing("vault-timeout")));
        assert_eq!(after.peek(&key("newer")).unwrap().answer().unwrap().value.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_heir_weighs_a_refusal_by_what_was_told_after_its_own_value_was_read() {
        let word = VaultError::new(VaultErrorKind::NotFound, "gone");
        let confirm_after = CacheOptions::default().confirm_after;
        // Told to the old one, once before and once after the heir was given the value; or twice after.
        for (first_before, gone) in [(true, false), (false, true)] {
            let (before, heir) = (Cache::new(CacheOptions::default()), Cache::new(CacheOptions::default()));
            before.learn(&key("n"), &secret(1), Moment::now(), None);
            before.bequeath(&heir, |_| true);
            let start = Moment::now();
            let told_first = start + Duration::from_secs(2);
            let read = start + Duration::from_secs(if first_before { 3 } else { 1 });
            tokio::time::advance(Duration::from_secs(5) + confirm_after).await;
            // The heir's own answer comes last: it is not told of the first doubt as it is of another reading.
            heir.learn(&key("n"), &secret(2), read, None);
            assert_eq!(before.deny(&key("n"), told_first, &word, None), Verdict::Doubted);
            let told_again = told_first + confirm_after;
            assert_eq!(before.deny(&key("n"), told_again, &word, None), Verdict::Evicted);
            let held = heir.peek(&key("n")).unwrap();
            assert_eq!(held.answer().is_err(), gone, "first told before it was read: {first_before}");
            let doubted = heir.freshness(&held, Moment::now()) != Freshness::Gone
                && held.is_due(Moment::now() + confirm_after, 10.0);
            assert!(gone || doubted, "the heir asks for itself");
        }
    }

    #[tokio::test]
    async fn what_is_held_is_found_by_a_borrowed_key_and_by_no_other() {
        let cache = Cache::new(CacheOptions::default());
        let version: Version = "0b31729e2750416caba40429a1f3bea4".parse().unwrap();
        for key in [key("n"), Key { version: Some(version.clone()), ..key("m") }] {
            cache.learn(&key, &secret(1), Moment::now(), None);
            let Key { vault, name, version: known } = &key;
            let borrowed = KeyOf { vault, name, version: known.as_ref() };
            assert!(cache.peek(&borrowed).is_some() && Key::from(borrowed) == key);
            let (other_vault, other_name) = ("s:w".parse().unwrap(), "o".parse().unwrap());
            let other_version = if known.is_some() { None } else { Some(&version) };
            for other in [
                KeyOf { vault: &other_vault, ..borrowed },
                KeyOf { name: &other_name, ..borrowed },
                KeyOf { version: other_version, ..borrowed },
            ] {
                assert!(cache.peek(&other).is_none(), "{other:?}");
            }
        }
    }

    #[test]
    fn lives_differ_by_key_and_by_seed_within_their_jitter() {
        let cache = |seed| Cache::new(CacheOptions { seed, ..CacheOptions::default() });
        let ttl = Duration::from_secs(300);
        let lives =
            |seed| (0..100).map(|n| cache(seed).life(&key(&format!("n{n}")), ttl).as_secs()).collect::<Vec<_>>();
        let one = lives(1);
        assert!(one.iter().all(|life| (240..=360).contains(life)), "{one:?}");
        assert!(one.iter().any(|life| *life < 260) && one.iter().any(|life| *life > 340), "{one:?}");
        assert_ne!(one, lives(2));
        assert_eq!(one, lives(1));
    }
}
