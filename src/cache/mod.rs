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

mod held;
mod stamp;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache as Moka;

pub use held::{Freshness, Held, Stale};

use crate::clock::Moment;
use crate::secret::{Metadata, Secret, SecretName, VaultName, Version};
use crate::vaults::{VaultError, VaultErrorKind};
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
    /// The most values held.
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

/// What a listing showed of a secret, and when.
#[derive(Debug, Clone)]
pub struct Sight {
    /// As it was listed.
    pub metadata: Metadata,
    /// When the listing began.
    pub at: Moment,
    /// When it ended.
    pub ended: Moment,
}

/// What became of an answer that was to be kept.
#[derive(Debug, Clone)]
pub enum Kept {
    /// It is held now.
    New(Arc<Held>),
    /// What was held stays: it was asked for later, or it is newer than the answer, whose replica lags.
    Old(Arc<Held>),
}

/// What a denial led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was held.
    Nothing,
    /// What is held is served until the denial is confirmed.
    Doubted,
    /// Confirmed: it is gone.
    Evicted,
}

/// A vault must stick to an older version for that long before it replaces a newer one.
const LAG: Duration = Duration::from_secs(90);
/// The first wait after a renewal failed; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a renewal failed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait while a denial is to be confirmed, so that it is over within a minute.
const LONGEST_DOUBT: Duration = Duration::from_secs(10);

/// The cache. A cheap handle.
#[derive(Debug, Clone)]
pub struct Cache {
    held: Moka<Key, Arc<Held>>,
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
            .weigher(move |key: &Key, held: &Arc<Held>| weight(key, held).max(share))
            .build();
        Self { held, options: Arc::new(options) }
    }

    /// How much is held, and for how long.
    #[must_use]
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// What is held under that key, whatever its freshness.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Arc<Held>> {
        self.held.get(key)
    }

    /// How an answer may be used now.
    #[must_use]
    pub fn freshness(&self, held: &Held, now: Moment) -> Freshness {
        held.freshness(now, self.options.max_stale)
    }

    /// Keeps what an upstream read told that began at `asked`. `sight` is what the last listing showed of it.
    pub fn learn(&self, key: Key, secret: &Arc<Secret>, asked: Moment, sight: Option<&Sight>) -> Kept {
        let now = Moment::now();
        let life = self.life(&key, self.options.ttl);
        let mut kept = None;
        self.held.entry(key).and_compute_with(|entry| {
            let old = entry.map(moka::Entry::into_value);
            if let Some(old) = old.as_ref().filter(|old| self.stays(old, &secret.metadata, asked, now)) {
                kept = Some(Kept::Old(Arc::clone(old)));
                return Op::Nop;
            }
            let stamp = &secret.metadata;
            let (mut first_seen, mut confirmed) = (now, asked);
            if let Some(old) = &old
                && let Some(known) = old.metadata()
            {
                if stamp::same(known, stamp) {
                    first_seen = first_seen.min(old.first_seen());
                }
                // A listing may have proved this very version meanwhile.
                if known.version.is_some() && known.version == stamp.version {
                    confirmed = confirmed.max(old.confirmed());
                }
            }
            let listed = sight.filter(|sight| stamp::same(&sight.metadata, stamp));
            // It was seen at some time of that listing, which may have been long; what is sure is its end.
            first_seen = listed.map_or(first_seen, |sight| first_seen.min(sight.ended));
            // The replica that answered lags behind the one that listed; or it does not, if it sticks to that.
            let outdated = sight.is_some_and(|sight| stamp::older(stamp, &sight.metadata) && asked < sight.at + LAG);
            let held = Arc::new(Held::new(Birth {
                answer: Ok(Arc::clone(secret)),
                asked,
                confirmed,
                life,
                first_seen,
                restored: false,
                used: old.as_ref().map_or(Moment::default(), |old| old.used()),
                outdated,
            }));
            if outdated {
                let before = old.as_ref().filter(|old| old.is_outdated()).map(|old| old.trouble().failures);
                let mut trouble = held.trouble();
                trouble.failures = before.map_or(0, |failures| failures.saturating_add(1));
                trouble.not_before = now + self.back_off(&stamp.name, trouble.failures, LONGEST_WAIT);
            }
            kept = Some(Kept::New(Arc::clone(&held)));
            Op::Put(held)
        });
        kept.expect("the closure ran")
    }

    /// Takes in a vault's own word, from a read that began at `asked`, that it does not give a secret: remembers it, or
    /// begins to doubt what is held, or ends it. `sight` is what the last listing showed of it.
    pub fn deny(&self, key: Key, asked: Moment, word: &VaultError, sight: Option<&Sight>) -> Verdict {
        let now = Moment::now();
        // A miss that a later listing has overtaken on its way is over already.
        let overtaken = *word.kind() == VaultErrorKind::NotFound && sight.is_some_and(|sight| sight.at >= asked);
        let life = if overtaken { Duration::ZERO } else { self.life(&key, self.options.negative_ttl) };
        let refusal = Arc::new(Held::new(Birth {
            answer: Err(word.clone()),
            asked,
            confirmed: asked,
            life,
            first_seen: now,
            restored: false,
            used: Moment::default(),
            outdated: false,
        }));
        let mut verdict = Verdict::Nothing;
        self.held.entry(key).and_compute_with(|entry| {
            let old = entry.map(moka::Entry::into_value);
            verdict = match &old {
                Some(old) if old.asked() > asked => return Op::Nop,
                Some(old) if old.answer().is_ok() => self.doubt(old, asked, now),
                Some(_) | None => Verdict::Nothing,
            };
            if verdict == Verdict::Doubted { Op::Nop } else { Op::Put(refusal) }
        });
        verdict
    }

    fn doubt(&self, held: &Held, asked: Moment, now: Moment) -> Verdict {
        if self.freshness(held, now) == Freshness::Gone {
            return Verdict::Evicted;
        }
        let mut trouble = held.trouble();
        let first = *trouble.denied.get_or_insert(asked);
        if asked >= first + self.options.confirm_after {
            return Verdict::Evicted;
        }
        trouble.not_before = first + self.options.confirm_after;
        Verdict::Doubted
    }

    /// A renewal failed without a word on the secret itself: what is held stays, with the reason, and is
    /// renewed again after a while that grows.
    pub fn failed(&self, key: &Key, reason: &'static str) {
        let Some(held) = self.held.get(key) else { return };
        let now = Moment::now();
        let mut trouble = held.trouble();
        let longest = if trouble.denied.is_some() { LONGEST_DOUBT } else { LONGEST_WAIT };
        trouble.not_before = now + self.back_off(key, trouble.failures, longest);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.reason = Some(reason);
    }

    /// Takes in a whole listing of a vault that began at `at`: `shown` tells what it showed of a name. What it proves
    /// unchanged is confirmed; what it shows changed or gone is doubted; a name that appears is forgotten as missing.
    ///
    /// A listing is no proof for one version: it tells of the current ones.
    pub fn listed(&self, vault: &VaultName, at: Moment, shown: impl Fn(&SecretName) -> Option<Metadata>) {
        for (key, held) in self.held.iter() {
            if key.vault != *vault || held.asked() > at {
                continue;
            }
            let (shown, known) = (shown(&key.name), held.metadata());
            match (known, shown) {
                (None, None) => {}
                (None, Some(shown)) => {
                    let disabled = held.answer().is_err_and(|word| *word.kind() == VaultErrorKind::Disabled);
                    let missing = held.answer().is_err_and(|word| *word.kind() == VaultErrorKind::NotFound);
                    if missing && key.version.is_none() || disabled && shown.enabled {
                        self.held.invalidate(&*key);
                    }
                }
                (Some(_), None) => {
                    let mut trouble = held.trouble();
                    trouble.denied.get_or_insert(at);
                }
                (Some(_), Some(_)) if key.version.is_some() => {}
                (Some(known), Some(shown)) if stamp::same(known, &shown) && known.enabled => {
                    if held.is_settled() {
                        held.confirm(at);
                    }
                }
                (Some(known), Some(shown)) => {
                    if !shown.enabled {
                        held.trouble().denied.get_or_insert(at);
                    }
                    // A replica that lags behind the one that was read proves nothing of the value.
                    if !stamp::older(&shown, known) {
                        held.outdate();
                    }
                }
            }
        }
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
    /// `settled`: whether a listing that shows its stamp is proof enough, as [`Cache::is_settled`] told.
    pub fn restore(&self, key: Key, secret: Arc<Secret>, confirmed: Moment, settled: bool) {
        let life = self.life(&key, self.options.ttl);
        self.held.entry(key).or_insert_with(|| {
            Arc::new(Held::new(Birth {
                answer: Ok(secret),
                asked: confirmed,
                confirmed,
                life,
                first_seen: if settled { Moment::default() } else { confirmed },
                restored: true,
                used: Moment::default(),
                // Another sidecar, or an earlier life of this one, vouches for it: to be asked for soon.
                outdated: true,
            }))
        });
    }

    /// Takes over what another cache of the same estate holds, with its ages and all that is known of it, unless what is
    /// held is as new. How long it lives is for these options to say.
    pub fn adopt(&self, key: &Key, held: &Held) {
        let about = if held.answer().is_ok() { self.options.ttl } else { self.options.negative_ttl };
        let life = self.life(key, about);
        self.held.entry(key.clone()).and_compute_with(|entry| match entry {
            Some(entry) if entry.value().asked() >= held.asked() => Op::Nop,
            Some(_) | None => Op::Put(Arc::new(held.with_life(life))),
        });
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

    /// How long to wait after so many failures before this one: jittered down, so that what failed together is not tried
    /// together.
    fn back_off(&self, whose: &impl Hash, failures: u32, longest: Duration) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(longest);
        wait.mul_f64(1.0 - self.draw(&(whose, failures)) / 2.0)
    }

    /// A number in 0..=1, always the same for the same seed and words: what jitter is drawn from.
    pub(crate) fn draw(&self, words: &impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        self.options.seed.hash(&mut hasher);
        words.hash(&mut hasher);
        (hasher.finish() % 10_001) as f64 / 10_000.0
    }

    /// Whether what is held stays, rather than an answer to a question of `asked`.
    fn stays(&self, old: &Held, answer: &Metadata, asked: Moment, now: Moment) -> bool {
        if old.asked() > asked && !old.is_restored() {
            return true;
        }
        let Some(known) = old.metadata().filter(|known| stamp::older(answer, known)) else { return false };
        if self.freshness(old, now) == Freshness::Gone {
            return false;
        }
        let mut trouble = old.trouble();
        let since = *trouble.behind.get_or_insert(asked);
        let stays = asked < since + LAG;
        if stays {
            tracing::debug!(secret = %known.name, "the vault answers with an older version than before; its replica lags");
            trouble.reason = Some("older-version");
            trouble.not_before = now + LAG / 4;
        }
        stays
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
    use crate::secret::SecretValue;

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
            few.learn(key(&format!("n{n}")), &secret(1), Moment::now(), None);
            small.learn(key(&format!("n{n}")), &secret(9_500), Moment::now(), None);
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
            let Kept::New(held) = cache.learn(key, &secret, at + Duration::from_secs(asked), Some(&sight)) else {
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
            before.learn(key(name), &secret(1), asked, None);
        }
        before.failed(&key("old"), "vault-timeout");
        tokio::time::advance(Duration::from_secs(10)).await;
        before.peek(&key("old")).unwrap().touch(Moment::now());
        after.learn(key("newer"), &secret(2), Moment::now(), None);
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
