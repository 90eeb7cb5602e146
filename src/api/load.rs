//! How many requests are worked on at once. What is too much is told so at once.
//!
//! A value that is held is answered in less time than it takes to refuse it, so that it always is, whatever else goes on.
//! What has to wait for a vault takes a place among those that wait; what computes over the whole catalog takes turns with
//! others of its kind on threads of its own, half as many as answer, so that values are answered beside it. Of either a party
//! may hold no more than are left: alone, half of all, and whoever comes always finds some.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use axum::http::Uri;
use futures::poll;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::aside::Aside;
use super::problem::{Code, Problem};
use super::room::Party;
use super::routes;

/// For each turn, so many wait for theirs.
const QUEUE: usize = 64;

/// What is under way. A cheap handle.
#[derive(Clone)]
pub(super) struct Load {
    /// For vaults.
    waiting: Share,
    /// For a turn, and those whose turn it is.
    computing: Share,
    turns: Arc<Semaphore>,
    /// For each turn a thread.
    aside: Arc<Aside>,
}

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// Next to nothing.
    Little,
    /// Waiting, perhaps.
    Waiting,
    /// Computing, for milliseconds.
    Computing,
}

impl Cost {
    /// Of a request, by its path: nothing else is looked at.
    pub(super) fn of(uri: &Uri) -> Self {
        match routes::pattern(uri.path()) {
            "/livez" | "none" => Self::Little,
            "/readyz" if uri.query().is_none() => Self::Little,
            "/v1/secrets/{name}"
            | "/v1/vaults/{vault}/secrets/{name}"
            | "/v1/vaults/{vault}/secrets/{name}/versions/{version}"
            | "/v1/vaults/{vault}/secrets/{name}/versions"
            | "/v1/resolve"
            | routes::AWS
            | "/v1/watch" => Self::Waiting,
            _ => Self::Computing,
        }
    }
}

impl Load {
    /// So many requests may wait for vaults at once.
    pub(super) fn new(waiting: usize) -> Self {
        let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        let turns = (workers / 2).max(1);
        let computing = Share::new(turns * (QUEUE + 1));
        let (turns, aside) = (Arc::new(Semaphore::new(turns)), Arc::new(Aside::new(turns)));
        Self { waiting: Share::new(waiting), computing, turns, aside }
    }

    /// Whether that party may ask for that, as far as can be told before it is looked at.
    pub(super) fn check(&self, cost: Cost, party: Party) -> Result<(), Problem> {
        let open = match cost {
            // A value that is held does not wait.
            Cost::Little | Cost::Waiting => true,
            Cost::Computing => self.computing.is_open(party),
        };
        if open { Ok(()) } else { Err(overloaded()) }
    }

    /// Does it, unless too much of its kind is under way.
    pub(super) async fn run<T>(&self, cost: Cost, party: Party, work: impl Future<Output = T>) -> Result<T, Problem> {
        if cost == Cost::Little {
            return Ok(work.await);
        }
        let mut work = pin!(work);
        if let Poll::Ready(done) = poll!(work.as_mut()) {
            return Ok(done);
        }
        let _place = self.waiting.take(party).ok_or_else(overloaded)?;
        Ok(work.await)
    }

    /// Does it when its turn comes, unless too many wait for theirs. On a thread beside the runtime's, which look at
    /// connections between two tasks, and must not be held for milliseconds by each.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        party: Party,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.computing.take(party).ok_or_else(overloaded)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed");
        // Who goes away in the meantime leaves its place and its turn to the work: it is done to its end all the same.
        let work = async move {
            let _held = (place, turn);
            work.await
        };
        Ok(self.aside.run(work).await)
    }
}

/// Too much of that is under way.
pub(super) fn overloaded() -> Problem {
    Problem::new(Code::Overloaded, "too much is being asked at once")
}

/// Places that parties share.
#[derive(Clone)]
struct Share(Arc<Places>);

struct Places {
    places: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Party, usize>,
}

struct Ticket {
    share: Share,
    party: Party,
}

impl Share {
    /// At least two, so that one is left for others.
    fn new(places: usize) -> Self {
        Self(Arc::new(Places { places: places.max(2), taken: Mutex::default() }))
    }

    fn is_open(&self, party: Party) -> bool {
        self.taken().has_room(self.0.places, party)
    }

    fn take(&self, party: Party) -> Option<Ticket> {
        let mut taken = self.taken();
        if !taken.has_room(self.0.places, party) {
            return None;
        }
        taken.all += 1;
        *taken.by.entry(party).or_default() += 1;
        drop(taken);
        Some(Ticket { share: self.clone(), party })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn has_room(&self, places: usize, party: Party) -> bool {
        self.by.get(&party).copied().unwrap_or(0) < places - self.all
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut taken = self.share.taken();
        taken.all -= 1;
        if let Some(count) = taken.by.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                taken.by.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn what_a_request_costs_is_told_by_its_path() {
        let of = |path: &'static str| Cost::of(&Uri::from_static(path));
        for path in ["/livez", "/readyz", "/v1/frob", "/"] {
            assert_eq!(of(path), Cost::Little, "{path}");
        }
        for path in [
            "/v1/secrets/a",
            "/v1/vaults/a/secrets/b",
            "/v1/vaults/a/secrets/b/versions",
            "/v1/vaults/a/secrets/b/versions/0b31729e2750416caba40429a1f3bea4",
            "/v1/resolve",
            "/v1/watch?ref=a/b",
        ] {
            assert_eq!(of(path), Cost::Waiting, "{path}");
        }
        for path in
            ["/v1/search?q=a", "/v1/vaults", "/v1/vaults/a/secrets", "/readyz?verbose", "/metrics", "/openapi.json"]
        {
            assert_eq!(of(path), Cost::Computing, "{path}");
        }
    }

    #[test]
    fn a_party_gets_as_many_as_are_left_and_whoever_comes_finds_some() {
        let share = Share::new(16);
        let mut held = Vec::new();
        let mut counts = Vec::new();
        for user in 0..4 {
            let party = Party::User(user);
            let before = held.len();
            while share.is_open(party) {
                held.push(share.take(party).unwrap());
            }
            assert!(share.take(party).is_none());
            counts.push(held.len() - before);
        }
        assert_eq!(counts, [8, 4, 2, 1]);
        held.clear();
        assert!(share.taken().by.is_empty() && share.taken().all == 0);
        let least = Share::new(1);
        let _held = least.take(Party::User(1)).unwrap();
        assert!(!least.is_open(Party::User(1)) && least.is_open(Party::User(2)), "there is always one for another");
    }

    #[tokio::test]
    async fn what_computes_holds_no_thread_of_those_that_look_at_connections() {
        let (tell, told) = std::sync::mpsc::channel();
        let load = Load::new(2);
        let computing = load.compute(Party::User(1), async move { told.recv_timeout(Duration::from_secs(10)) });
        // There is one thread here beside that which computes.
        let (heard, sent) = tokio::join!(computing, async move { tell.send(7) });
        assert_eq!((heard.unwrap(), sent), (Ok(7), Ok(())));
    }

    #[tokio::test]
    async fn who_goes_away_while_it_computes_leaves_its_turn_to_the_work() {
        let (load, user) = (Load::new(2), Party::User(1));
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let (over, is_over) = tokio::sync::oneshot::channel::<()>();
        let mut computing = Box::pin(load.compute(user, async move {
            begun.send(()).unwrap();
            let _ = ends.recv();
            drop(over);
        }));
        assert!(poll!(computing.as_mut()).is_pending());
        is_begun.await.unwrap();
        let free = load.turns.available_permits();
        drop(computing);
        assert_eq!((load.turns.available_permits(), load.computing.taken().all), (free, 1));
        drop(end);
        is_over.await.unwrap_err();
        // On the only thread, what comes next is done after that.
        load.compute(user, ready(())).await.unwrap();
        assert_eq!(load.computing.taken().all, 0);
    }

    #[tokio::test]
    async fn what_is_answered_at_once_is_answered_whatever_waits() {
        let load = Load::new(2);
        let user = Party::User(1);
        let mut first = pin!(load.run(Cost::Waiting, user, pending::<()>()));
        assert!(poll!(first.as_mut()).is_pending());
        let refused = load.run(Cost::Waiting, user, pending::<()>()).now_or_never().unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        assert_eq!(load.run(Cost::Waiting, user, ready(7)).await.unwrap(), 7);
        let other = load.run(Cost::Waiting, Party::User(2), pending::<()>());
        assert!(other.now_or_never().is_none(), "another party has its own");
    }

    #[tokio::test]
    async fn what_computes_takes_turns_and_a_bounded_number_waits_for_theirs() {
        let (load, over) = (Load::new(2), CancellationToken::new());
        let user = Party::User(1);
        let turns = load.turns.available_permits();
        let mut all: Vec<_> = Vec::new();
        while load.check(Cost::Computing, user).is_ok() {
            let mut one = Box::pin(load.compute(user, over.clone().cancelled_owned()));
            assert!(poll!(one.as_mut()).is_pending());
            all.push(one);
            assert!(all.len() <= turns * (QUEUE + 1));
        }
        assert_eq!(load.turns.available_permits(), 0);
        let refused = load.compute(user, ready(())).await.unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        assert!(load.check(Cost::Computing, Party::User(2)).is_ok());
        assert!(load.check(Cost::Waiting, user).is_ok() && load.check(Cost::Little, user).is_ok());
        over.cancel();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(load.turns.available_permits(), turns);
    }
}
