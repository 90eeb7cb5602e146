//! What design promises of every outage of one vault, held to in each state that a value can be in when it begins.

use sidekey::emulator::{Effect, Fault};

use super::site::{Answer, Site};

/// What readers are told while it lasts.
pub struct Told {
    /// Who asks for what is not held.
    pub cold: (u16, &'static str),
    /// Why what is held is stale, once it is.
    pub stale: &'static str,
}

/// The longest that a read may keep its reader waiting: design's limit of a call, and a second for the leap that ends it.
pub const LONGEST_READ: u64 = 11;
/// After an outage, what is in use is fresh again within the longest back-off and one call.
pub const LONGEST_RECOVERY: u64 = 60 + LONGEST_READ;

/// A vault that has told how long it wants to be left alone is believed up to five minutes, and asked again within a
/// minute after that; one that does not answer is tried each minute at least.
pub const LONGEST_PAUSE: u64 = 300 + 60 + LONGEST_READ;

/// The vault `alpha` fails in some way, from `begin` to `end`.
///
/// - What is held is served all the time, at once, with its true age and, when it is stale, the reason.
/// - What is not held fails within the limit of a call, as what it is.
/// - The other vault is read as before, and found fresh.
/// - Nothing of it is left afterwards: what was asked for meanwhile has its right value, and what is in use becomes fresh
///   by itself.
pub async fn lived_through<B>(site: &Site, told: Told, begin: impl AsyncFnOnce() -> B, end: impl AsyncFnOnce()) {
    let first = site.read("alpha/warm").await;
    first.is("alpha-warm");
    site.read("beta/warm").await.is("beta-warm");
    begin().await;

    // Warm: as if nothing were wrong.
    let warm = site.read("alpha/warm").await;
    warm.is_held("alpha-warm");
    assert_eq!(warm.stale(), None);
    // Cold: an end within the limit, and the right word.
    let (cold, seconds) = site.read_as_time_goes_by("alpha/cold-1").await;
    cold.is_problem(told.cold.0, told.cold.1);
    assert!(seconds <= LONGEST_READ, "it took {seconds} s");
    site.read("beta/cold-1").await.is("beta-cold-1");

    // Stale: served at once all the same, by whatever way the reader came.
    for round in 0..45 {
        site.live(10).await;
        let ended = site.ended_gets(None);
        let held = site.read("alpha/warm").await;
        held.is_held("alpha-warm");
        assert_eq!(site.ended_gets(None), ended, "it waited for a call: {held:?}");
        age_is_true(&held, &first);
        if round % 15 == 0 {
            site.ask_over_tcp("/v1/vaults/alpha/secrets/warm").await.is_held("alpha-warm");
            let other = site.read("beta/warm").await;
            other.is_held("beta-warm");
            assert_eq!(other.stale(), None, "{other:?}");
        }
    }
    let stale = site.read("alpha/warm").await;
    assert_eq!(stale.stale(), Some(told.stale), "{stale:?}");
    assert!(stale.cache_status().contains("ttl=-"), "{stale:?}");

    end().await;
    // Until it is the vault's turn to be asked again, nobody is kept waiting for it.
    site.live_until(LONGEST_PAUSE, async || site.read("alpha/cold-1").await.status == 200).await;
    site.read("alpha/cold-1").await.is("alpha-cold-1");
    let fresh = site.live_until(LONGEST_RECOVERY, async || {
        let answer = site.read("alpha/warm").await;
        answer.is_held("alpha-warm");
        answer.stale().is_none() && answer.age() < LONGEST_RECOVERY
    });
    fresh.await;
    assert_eq!(site.control.calls().leaked_tokens, 0);
}

/// The same, of something that each answer of the vault suffers.
pub async fn lived_through_fault(told: Told, effect: Effect) {
    let site = Site::new().await;
    let begin = async || site.fault(Fault::new(effect).vault("alpha"));
    lived_through(&site, told, begin, async || site.control.clear_faults()).await;
}

/// Counted from a moment within the read that brought it: no younger than its end, no older than its beginning.
#[track_caller]
pub fn age_is_true(answer: &Answer, first: &Answer) {
    let (least, most) = (answer.asked - first.told, answer.told - first.asked);
    let (least, most) = (least.as_secs(), most.as_secs());
    assert!((least..=most).contains(&answer.age()), "between {least} and {most} s: {answer:?}");
}
