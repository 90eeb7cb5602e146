//! One running call per key, however many ask for its result.
//!
//! The call runs on a task of its own: a reader that goes away takes nobody with it, and its call still fills the
//! cache. Success and failure are shared alike. A call that panics fails its readers and nobody else, and leaves
//! nothing behind under its key. Nothing is remembered: once a flight has landed, the next reader starts another.
//!
//! A reader may insist on a flight that starts after it asked. Those have a floor between them, per key: who comes too
//! early waits for the next one, with all who come meanwhile, so that insisting cannot become a storm.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

/// The calls under way, by key. A cheap handle.
#[derive(Debug)]
pub struct Flights<K, V> {
    inner: Arc<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    running: Mutex<Running<K, V>>,
    tasks: TaskTracker,
    most: usize,
}

#[derive(Debug)]
struct Running<K, V> {
    by_key: HashMap<K, Flight<V>>,
    /// Until when no flight that was insisted on may start.
    floors: HashMap<K, Instant>,
    started: u64,
}

#[derive(Debug)]
struct Flight<V> {
    number: u64,
    /// False while it waits for its floor.
    begun: bool,
    landing: Landing<V>,
}

type Landing<V> = watch::Receiver<Option<V>>;

/// What became of a flight, for one of its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed<V> {
    /// `None`: the call panicked.
    pub result: Option<V>,
    /// Whether it was already under way when this reader came.
    pub joined: bool,
}

/// Which flights a reader may board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// One that is under way, if there is one.
    Any,
    /// Only one that has not begun: a change just made could be missed by an earlier one. Later readers board this one.
    New {
        /// The least time between the starts of two such flights under one key.
        floor: Duration,
    },
}

/// As many flights are under way as there may be. Who would only have joined one is never told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<K, V> Flights<K, V> {
    /// No flights yet, and never more than `most` at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let running = Mutex::new(Running { by_key: HashMap::new(), floors: HashMap::new(), started: 0 });
        Self { inner: Arc::new(Inner { running, tasks: TaskTracker::new(), most }) }
    }
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The result for that key, from the flight under way or from one that `call` starts.
    ///
    /// # Errors
    /// [`Full`], at once, if one would have to start and there are too many.
    pub async fn fly<F>(&self, key: K, board: Board, call: impl FnOnce() -> F) -> Result<Landed<V>, Full>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (mut landing, joined) = self.board(key, board, call)?;
        // An error here means that the sender is gone without a result: the call panicked.
        let result = landing.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
        Ok(Landed { result, joined })
    }

    /// Starts a flight that nobody waits for, if none is under way for that key and fewer than `most` are in all: what
    /// runs ahead of readers never takes their places.
    pub fn launch<F>(&self, key: K, most: usize, call: impl FnOnce() -> F)
    where
        F: Future<Output = V> + Send + 'static,
    {
        if self.inner.tasks.len() < most {
            // Full is no failure here: what could not start is tried again by whoever asks next.
            drop(self.board(key, Board::Any, call));
        }
    }

    /// Resolves when none is under way.
    pub async fn landed(&self) {
        // Closed only to be waited for: it takes in new ones all the same.
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.tasks.len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.tasks.is_empty()
    }

    fn board<F>(&self, key: K, board: Board, call: impl FnOnce() -> F) -> Result<(Landing<V>, bool), Full>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = self.inner.lock();
        if let Some(flight) = running.by_key.get(&key)
            && (board == Board::Any || !flight.begun)
        {
            return Ok((flight.landing.clone(), true));
        }
        if self.inner.tasks.len() >= self.inner.most {
            return Err(Full);
        }
        let start = match board {
            Board::Any => None,
            Board::New { floor } => running.floor(&key, floor),
        };
        running.started += 1;
        let number = running.started;
        let (land, landing) = watch::channel(None);
        running.by_key.insert(key.clone(), Flight { number, begun: start.is_none(), landing: landing.clone() });
        drop(running);
        let gone = Deboard { inner: Arc::clone(&self.inner), key, number };
        let call = call();
        self.inner.tasks.spawn(async move {
            if let Some(start) = start {
                sleep_until(start).await;
                gone.inner.lock().begin(&gone.key, number);
            }
            let result = call.await;
            // No reader may board a flight that has landed: it would be given an answer older than its question.
            drop(gone);
            land.send_replace(Some(result));
        });
        Ok((landing, false))
    }
}

impl<K: Hash + Eq + Clone, V> Running<K, V> {
    /// When a flight that is insisted on may start: `None` for now. It counts as started then.
    fn floor(&mut self, key: &K, floor: Duration) -> Option<Instant> {
        let now = Instant::now();
        // Those that are over are of no use; the map stays as small as what was insisted on within the floor.
        self.floors.retain(|_, until| *until > now);
        let start = self.floors.get(key).copied();
        self.floors.insert(key.clone(), start.unwrap_or(now) + floor);
        start
    }

    fn begin(&mut self, key: &K, number: u64) {
        if let Some(flight) = self.by_key.get_mut(key).filter(|flight| flight.number == number) {
            flight.begun = true;
        }
    }
}

impl<K, V> Inner<K, V> {
    fn lock(&self) -> MutexGuard<'_, Running<K, V>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the flight off the board when its call ends, by panic too; a newer one under the same key stays.
struct Deboard<K: Hash + Eq, V> {
    inner: Arc<Inner<K, V>>,
    key: K,
    number: u64,
}

impl<K: Hash + Eq, V> Drop for Deboard<K, V> {
    fn drop(&mut self) {
        let mut running = self.inner.lock();
        if running.by_key.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            running.by_key.remove(&self.key);
        }
    }
}

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    const NEW: Board = Board::New { floor: Duration::from_secs(1) };

    #[tokio::test]
    async fn ten_thousand_readers_make_one_call_and_share_its_error() {
        let flights = Flights::<&str, Result<u8, String>>::new(1);
        let calls = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let readers = (0..10_000).map(|_| {
            let (calls, gate) = (Arc::clone(&calls), Arc::clone(&gate));
            flights.fly("k", Board::Any, move || async move {
                calls.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Err("down".to_owned())
            })
        });
        let all = join_all(readers);
        gate.notify_one();
        let landed: Vec<_> = all.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(landed.iter().all(|one| one.result == Some(Err("down".to_owned()))));
        assert_eq!(landed.iter().filter(|one| !one.joined).count(), 1);
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_takes_nobody_with_it() {
        let flights = Flights::<&str, u8>::new(1);
        let (release, released) = oneshot::channel::<()>();
        let leader = flights.clone();
        let mut first =
            Box::pin(async move { leader.fly("k", Board::Any, || async { released.await.map_or(0, |()| 7) }).await });
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.fly("k", Board::Any, || async { unreachable!("one is under way") }));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        release.send(()).unwrap();
        assert_eq!(second.await.unwrap(), Landed { result: Some(7), joined: true });
    }

    #[tokio::test]
    async fn a_panic_fails_its_readers_and_leaves_the_key_free() {
        let flights = Flights::<&str, u8>::new(1);
        let landed = flights.fly("k", Board::Any, || async { panic!("a bug") }).await.unwrap();
        assert_eq!(landed.result, None);
        assert_eq!(flights.fly("k", Board::Any, || async { 3 }).await.unwrap().result, Some(3));
    }

    #[tokio::test]
    async fn a_forced_read_joins_nothing_that_began_before_it() {
        let flights = Flights::<&str, &str>::new(2);
        let gate = Arc::new(Notify::new());
        let held = Arc::clone(&gate);
        let mut old = Box::pin(flights.fly("k", Board::Any, move || async move {
            held.notified().await;
            "old"
        }));
        assert!(futures::poll!(&mut old).is_pending());
        assert_eq!(flights.fly("k", NEW, || async { "new" }).await.unwrap().result, Some("new"));
        gate.notify_one();
        assert_eq!(old.await.unwrap().result, Some("old"));
        assert!(flights.inner.lock().by_key.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn insisting_again_within_the_floor_waits_for_one_flight_that_all_share() {
        let (flights, began) = (Flights::<&str, u32>::new(9), Instant::now());
        let calls = Arc::new(AtomicUsize::new(0));
        let insist = || {
            let calls = Arc::clone(&calls);
            flights.fly("k", NEW, move || async move {
                calls.fetch_add(1, Ordering::SeqCst);
                u32::try_from(began.elapsed().as_millis()).unwrap()
            })
        };
        assert_eq!(insist().await.unwrap().result, Some(0));
        let landed = join_all((0..100).map(|_| insist())).await;
        assert!(landed.into_iter().all(|one| one.unwrap().result.is_some_and(|at| at >= 1_000)));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        // Another key has a floor of its own.
        assert_eq!(flights.fly("other", NEW, || async { 7 }).await.unwrap(), Landed { result: Some(7), joined: false });
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_insists_boards_a_flight_that_waited_for_its_floor_and_has_begun() {
        let flights = Flights::<&str, &str>::new(9);
        flights.fly("k", NEW, || async { "first" }).await.unwrap();
        let gate = Arc::new(Notify::new());
        let held = Arc::clone(&gate);
        let mut second = Box::pin(flights.fly("k", NEW, move || async move {
            held.notified().await;
            "second"
        }));
        assert!(futures::poll!(&mut second).is_pending());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let third = flights.fly("k", NEW, || async { "third" });
        assert_eq!(third.await.unwrap().result, Some("third"));
        gate.notify_one();
        assert_eq!(second.await.unwrap().result, Some("second"));
    }

    #[tokio::test]
    async fn a_launch_leaves_places_to_readers_and_starts_nothing_twice() {
        let flights = Flights::<&str, u8>::new(2);
        let (release, released) = oneshot::channel::<()>();
        flights.launch("a", 1, || async { released.await.map_or(0, |()| 1) });
        flights.launch("b", 1, || async { 2 });
        flights.launch("a", 2, || async { unreachable!("one is under way") });
        assert_eq!(flights.len(), 1);
        release.send(()).unwrap();
        assert!(flights.fly("a", Board::Any, || async { 3 }).await.unwrap().result.is_some());
    }

    #[tokio::test]
    async fn too_many_are_refused_at_once_but_joining_is_not() {
        let flights = Flights::<&str, u8>::new(1);
        let (release, released) = oneshot::channel::<()>();
        let mut first = Box::pin(flights.fly("a", Board::Any, || async { released.await.map_or(0, |()| 1) }));
        assert!(futures::poll!(&mut first).is_pending());
        assert_eq!(flights.fly("b", Board::Any, || async { 2 }).await, Err(Full));
        let mut joining = Box::pin(flights.fly("a", Board::Any, || async { 3 }));
        assert!(futures::poll!(&mut joining).is_pending());
        release.send(()).unwrap();
        assert_eq!((first.await.unwrap().result, joining.await.unwrap().result), (Some(1), Some(1)));
    }
}
