//! Where names were when the system last said so, for when it cannot say.
//!
//! Every connection asks the system first. If that fails, or takes long, the addresses of its last good answer are used,
//! for a day at most. A look-up runs on its own and one at a time for each name, however many wait for it and whether they
//! stay: the system's resolver blocks a thread for as long as it likes, and those threads are few. What must never happen:
//! a runtime's worker blocked by it; a connection that could be made and is not, because a name server is out.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::Unresolved;
use crate::clock::Moment;
use crate::flight::{Board, Flights, Full};

/// How long an answer may stand in for one that does not come. Azure's addresses change rarely.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Where there is something to stand in, the system is not waited for longer. Its answer still counts when it comes.
const PATIENCE: Duration = Duration::from_secs(1);
/// Names that are remembered; past this, the one that was found the longest ago is forgotten.
const MOST: usize = 4096;
/// Look-ups at once: each may hold one of the runtime's threads for blocking work, which are 512.
const AT_ONCE: usize = 64;

/// Who knows addresses: the system's resolver, or another in its place.
#[async_trait]
pub trait LookUp: Send + Sync {
    /// The addresses of a lower-case host name, with port 0, which stands for the scheme's own. Must not block.
    ///
    /// # Errors
    /// The name has no address, or nobody could be asked.
    async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver, on a thread for blocking work.
pub(in crate::vaults::azure) struct System;

#[async_trait]
impl LookUp for System {
    async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// Addresses of names, asked for and remembered. A cheap handle.
#[derive(Clone)]
pub(super) struct LastGood {
    system: Arc<dyn LookUp>,
    known: Arc<Mutex<HashMap<String, Known>>>,
    flights: Arc<Flights<String, Told>>,
}

/// What the system said, to everybody who asked.
type Told = Result<Vec<SocketAddr>, Arc<io::Error>>;

struct Known {
    addresses: Vec<SocketAddr>,
    at: Moment,
    /// They stand in, and that was told.
    told: bool,
}

impl LastGood {
    pub(super) fn new(system: Arc<dyn LookUp>) -> Self {
        Self { system, known: Arc::default(), flights: Arc::new(Flights::new(AT_ONCE)) }
    }

    /// The addresses of a lower-case host name.
    ///
    /// # Errors
    /// [`Unresolved`] if the system does not know it now and has not for a day.
    pub(super) async fn find(&self, host: String) -> Result<Vec<SocketAddr>, Unresolved> {
        let asked = self.flights.fly(host.clone(), Board::Any, || self.clone().ask(host.clone()));
        let landed = if self.stands_in(&host).is_some() {
            tokio::time::timeout(PATIENCE, asked).await.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))
        } else {
            Ok(asked.await)
        };
        let error = match landed {
            Ok(Ok(landed)) => match landed.result {
                Some(Ok(addresses)) => return Ok(addresses),
                Some(Err(error)) => io::Error::new(error.kind(), error),
                None => io::Error::other("the look-up was broken off"),
            },
            Ok(Err(Full)) => io::Error::other("too many names are being looked up"),
            Err(slow) => slow,
        };
        let Some(addresses) = self.stands_in(&host) else { return Err(Unresolved(error)) };
        if let Some(known) = self.lock().get_mut(&host).filter(|known| !known.told) {
            known.told = true;
            tracing::warn!(%host, %error, "the name does not resolve; the addresses that it had are used");
        }
        Ok(addresses)
    }

    async fn ask(self, host: String) -> Result<Vec<SocketAddr>, Arc<io::Error>> {
        let found = self.system.look_up(&host).await.and_then(|found| {
            if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
        });
        if let Ok(addresses) = &found {
            let mut known = self.lock();
            if known.len() >= MOST && !known.contains_key(&host) {
                let oldest = known.iter().min_by_key(|(_, known)| known.at).map(|(host, _)| host.clone());
                oldest.and_then(|oldest| known.remove(&oldest));
            }
            let last =
                known.insert(host.clone(), Known { addresses: addresses.clone(), at: Moment::now(), told: false });
            if last.is_some_and(|last| last.told) {
                tracing::info!(%host, "the name resolves again");
            }
        }
        found.map_err(Arc::new)
    }

    fn stands_in(&self, host: &str) -> Option<Vec<SocketAddr>> {
        let known = self.lock();
        known.get(host).filter(|known| known.at.elapsed() <= LONGEST).map(|known| known.addresses.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        // No state is half-written, whoever panicked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LastGood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastGood")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Says what the script says, then that there is no such name.
    struct Scripted {
        answers: Mutex<VecDeque<Say>>,
        asked: AtomicUsize,
        let_go: Semaphore,
    }

    enum Say {
        Addresses(&'static [u8]),
        /// Once it is let go.
        Late(u8),
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 0))
    }

    #[async_trait]
    impl LookUp for Scripted {
        async fn look_up(&self, _host: &str) -> io::Result<Vec<SocketAddr>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let say = self.answers.lock().unwrap().pop_front();
            match say {
                Some(Say::Addresses(all)) => Ok(all.iter().copied().map(at).collect()),
                Some(Say::Late(one)) => {
                    self.let_go.acquire().await.unwrap().forget();
                    Ok(vec![at(one)])
                }
                None => Err(io::Error::other("no such host")),
            }
        }
    }

    fn scripted(answers: impl IntoIterator<Item = Say>) -> (Arc<Scripted>, LastGood) {
        let answers = Mutex::new(answers.into_iter().collect());
        let system = Arc::new(Scripted { answers, asked: AtomicUsize::new(0), let_go: Semaphore::new(0) });
        (Arc::clone(&system), LastGood::new(system))
    }

    async fn find(names: &LastGood) -> Result<Vec<SocketAddr>, Unresolved> {
        names.find("pay.vault.azure.net".into()).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_addresses_stand_in_for_a_day_and_a_new_answer_replaces_them() {
        let (system, names) = scripted([Say::Addresses(&[1, 2]), Say::Addresses(&[3])]);
        assert_eq!(find(&names).await.unwrap(), [at(1), at(2)]);
        assert_eq!(find(&names).await.unwrap(), [at(3)], "the system is asked each time");
        assert_eq!(find(&names).await.unwrap(), [at(3)], "no such host");
        tokio::time::advance(LONGEST - Duration::from_secs(1)).await;
        assert_eq!(find(&names).await.unwrap(), [at(3)]);
        tokio::time::advance(Duration::from_secs(2)).await;
        find(&names).await.expect_err("it is a day old");
        assert_eq!(system.asked.load(Ordering::Relaxed), 5);
        names.find("other.vault.azure.net".into()).await.expect_err("another name has other addresses");
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_answer_is_none() {
        let (_, names) = scripted([Say::Addresses(&[1]), Say::Addresses(&[])]);
        find(&names).await.unwrap();
        assert_eq!(find(&names).await.unwrap(), [at(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_resolver_is_not_waited_for_is_asked_once_and_its_answer_counts_when_it_comes() {
        let (system, names) = scripted([Say::Addresses(&[1]), Say::Late(2)]);
        find(&names).await.unwrap();
        let began = tokio::time::Instant::now();
        for found in futures::future::join_all((0..100).map(|_| find(&names))).await {
            assert_eq!(found.unwrap(), [at(1)]);
        }
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(system.asked.load(Ordering::Relaxed), 2, "all of them wait for one look-up");
        system.let_go.add_permits(1);
        while names.stands_in("pay.vault.azure.net") != Some(vec![at(2)]) {
            tokio::task::yield_now().await;
        }
        assert_eq!(find(&names).await.unwrap(), [at(2)], "nobody waited for it, and it is what is known now");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let (_, names) = scripted((0..=MOST).map(|_| Say::Addresses(&[1])));
        for number in 0..=MOST {
            names.find(format!("v{number}.vault.azure.net")).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(names.lock().len(), MOST);
        names.find("v0.vault.azure.net".into()).await.expect_err("the oldest was forgotten");
        assert_eq!(names.find(format!("v{MOST}.vault.azure.net")).await.unwrap(), [at(1)]);
    }
}
