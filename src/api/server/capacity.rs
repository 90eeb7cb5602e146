//! How many may be served at once: places for connections and turns for requests, shared by all that serve.

use std::fmt;

use crate::api::load::Load;
use crate::api::room::{Room, slack};

/// Places for connections and requests, which all that serve with it share. A cheap handle.
#[derive(Clone)]
pub struct Capacity {
    pub(super) room: Room,
    /// For who finds no place there: probes are answered, everything else is told to come back.
    pub(super) spare: Room,
    /// Of the listener that tells health and metrics alone.
    pub(super) probes: Room,
    pub(super) load: Load,
}

impl Capacity {
    /// Connections at once, where the configuration says nothing.
    pub const CONNECTIONS: usize = 4_096;
    /// Requests that wait for vaults at once, where the configuration says nothing.
    pub const REQUESTS: usize = 1_024;

    /// So many connections at once, and so many requests that wait for vaults.
    #[must_use]
    pub fn new(connections: usize, requests: usize) -> Self {
        let [spare, probes] = Self::beside(connections).map(Room::spare);
        Self { room: Room::new(connections), spare, probes, load: Load::new(requests) }
    }

    /// Connections that there may be in all, for so many places: with those in spare places and those that are leaving.
    #[must_use]
    pub fn most(connections: usize) -> usize {
        let all = Self::beside(connections).into_iter().chain([connections]);
        all.map(|places| places + 2 * slack(places)).sum()
    }

    /// Spare places, and those of the listener that tells health and metrics: a kubelet's, a scraper's or two.
    fn beside(connections: usize) -> [usize; 2] {
        [64, 32].map(|most| (connections / 16).clamp(2, most))
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(Self::CONNECTIONS, Self::REQUESTS)
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capacity").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::api::patience::Phase;
    use crate::api::room::Party;

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_connections_than_are_reckoned_with() {
        for connections in [64, 500] {
            let Capacity { room, spare, probes, .. } = Capacity::new(connections, 8);
            let mut all = Vec::new();
            // Nobody who is told to go goes: one comes without an end, and then very many others.
            for room in [&room, &spare, &probes] {
                for user in [1; 2_000].into_iter().chain(2..2_000) {
                    all.extend(room.enter(Party::User(user), Phase::new(), CancellationToken::new()));
                }
            }
            assert_eq!(all.len(), Capacity::most(connections), "as many, and no more");
        }
    }
}
