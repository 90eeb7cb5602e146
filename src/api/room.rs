//! Who is connected, and who goes when there is no more room.
//!
//! Nobody waits for a place, and nobody can hold what others need. While there are places, everybody gets one, so that a
//! lone app may have nearly all. When there are none, whoever comes displaces somebody:
//!
//! 1. the oldest connection that has brought nothing yet that was let in, though it was listened to for a second;
//! 2. else, of the party that holds the most places (the newcomer counted in): its oldest silent one, else the one that
//!    idles the longest; 3. else the newcomer's own party's; 4. else the longest request of the party with the most, if
//!    that has more places than the newcomer's party would.
//!
//! A party is a user on the socket, an address elsewhere. So none of them ever has to do with fewer places than the others
//! hold, and a newcomer finds no place only where its own party holds the most and all of these are being answered. It is
//! then let into the [`Room::spare`] places, where probes are answered and everything else is told to come back later.
//!
//! On the socket whoever is too fast to be made room for is refused at once: its queue is the system's, other users stand
//! in it too, and where it is full they fail. Over TCP, where all of this machine are one party and a flood cannot be told
//! from who stands beside it, all wait their turn instead: for those who were told to go and have not heard of it yet
//! ([`Room::settled`]), which none of them can draw out.
//!
//! Must never happen: accepting that waits for a place, or for anything that a client does; more connections than places,
//! but for the few that are leaving.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::patience::{Doing, Phase};
use crate::clock::Moment;

/// A client sends its first request at once. Who has had that long and has not is a stranger who may go first.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Who is to go is looked for among all, which takes a while with thousands: so many are found at a time, and gone by for so
/// long.
const FOUND: usize = 64;
const FRESH: Duration = Duration::from_millis(10);

/// Whose connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// On the socket.
    User(u32),
    /// On the socket, where the kernel does not tell who it is.
    Nobody,
    /// Over TCP. Loopback is one, whatever the family; of IPv6, where one machine has many, a network of 64 bits.
    Address(IpAddr),
}

impl Party {
    pub(super) fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            own if own.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(other) => Ipv6Addr::from_bits(other.to_bits() >> 64 << 64).into(),
            four => four,
        })
    }

    /// The user or the address, as far as it is one.
    pub(super) fn told(self) -> (Option<u32>, Option<IpAddr>) {
        match self {
            Self::User(uid) => (Some(uid), None),
            Self::Nobody => (None, None),
            Self::Address(address) => (None, Some(address)),
        }
    }
}

/// Places for connections. A cheap handle.
#[derive(Clone)]
pub(super) struct Room(Arc<Inner>);

struct Inner {
    places: usize,
    /// So many may be leaving while others of the party with the most have their places already; twice as many for others.
    leaving: usize,
    /// Whoever comes displaces somebody, whatever that one is doing.
    spare: bool,
    seats: Mutex<Seats>,
    /// Fewer are to hear that they are to go.
    settled: Notify,
}

#[derive(Default)]
struct Seats {
    taken: Vec<Option<Arc<Guest>>>,
    free: Vec<usize>,
    /// Those who stay, by party; none is zero.
    counts: HashMap<Party, usize>,
    staying: usize,
    leaving: usize,
    /// Of those who are leaving, who may not have heard of it.
    told: usize,
    /// Who would go next.
    found: Found,
}

/// Who is to go for whom, as it was found at one time: the first to go is the last.
#[derive(Default)]
struct Found {
    asked: Option<Asked>,
    at: Moment,
    all: Vec<(u8, Moment, usize)>,
}

/// Whom room is made for, as far as it tells who goes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    party: Party,
    largest: Party,
    /// Whether the largest party's requests may be cut.
    cuts: bool,
}

struct Guest {
    party: Party,
    phase: Phase,
    /// How it is to leave; `STAY`: not at all.
    leave: AtomicU8,
    /// It has heard that it is to leave.
    heard: AtomicBool,
    closing: CancellationToken,
}

const STAY: u8 = 0;
const SOON: u8 = 1;
const NOW: u8 = 2;

/// How a connection is to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Unless a request has come in the same moment, which is answered as its last.
    Soon,
    /// With what is under way.
    Now,
}

/// A connection's place, until it is dropped.
pub(super) struct Seat {
    room: Room,
    at: usize,
    guest: Arc<Guest>,
}

impl Room {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        Self::with(places, false)
    }

    /// So many places for those who must be heard all the same: each newcomer displaces the oldest of the party with the
    /// most, so that a flood displaces itself.
    pub(super) fn spare(places: usize) -> Self {
        Self::with(places, true)
    }

    fn with(places: usize, spare: bool) -> Self {
        let places = places.max(1);
        Self(Arc::new(Inner { places, leaving: slack(places), spare, seats: Mutex::default(), settled: Notify::new() }))
    }

    /// A place, at once; `None` if there is none for that party. Whoever is displaced is told by its `closing`.
    pub(super) fn enter(&self, party: Party, phase: Phase, closing: CancellationToken) -> Option<Seat> {
        let (leave, heard) = (AtomicU8::new(STAY), AtomicBool::new(false));
        let guest = Arc::new(Guest { party, phase, leave, heard, closing });
        let mut seats = self.seats();
        if seats.staying >= self.0.places {
            self.displace(&mut seats, party)?;
        }
        let at = seats.free.pop().unwrap_or_else(|| {
            seats.taken.push(None);
            seats.taken.len() - 1
        });
        seats.taken[at] = Some(Arc::clone(&guest));
        seats.staying += 1;
        *seats.counts.entry(party).or_default() += 1;
        Some(Seat { room: self.clone(), at, guest })
    }

    /// Resolves once few are left who were told to go and have not heard of it: what takes them a turn each, however much
    /// there is to do, and whatever they do.
    pub(super) async fn settled(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.settled.notified());
            notified.as_mut().enable();
            if !self.0.is_crowded(&self.seats()) {
                return;
            }
            notified.await;
        }
    }

    /// Has somebody leave who is doing nothing, where the machine itself has no more room.
    pub(super) fn relieve(&self) {
        let mut seats = self.seats();
        let _ = self.displace(&mut seats, Party::Nobody);
    }

    fn displace(&self, seats: &mut Seats, party: Party) -> Option<()> {
        // Those who were told to go may take their time where there is much to do: a flood waits for them, others do not.
        let own = seats.counts.get(&party).copied().unwrap_or(0);
        let is_flood = seats.counts.values().all(|count| *count <= own);
        if seats.leaving >= if is_flood { self.0.leaving } else { 2 * self.0.leaving } {
            return None;
        }
        let (guest, leave) = self.next_to_go(seats, party)?;
        seats.staying -= 1;
        seats.leaving += 1;
        seats.told += 1;
        seats.forget(guest.party);
        guest.leave.store(if leave == Leave::Now { NOW } else { SOON }, Ordering::Release);
        guest.closing.cancel();
        Some(())
    }

    fn next_to_go(&self, seats: &mut Seats, party: Party) -> Option<(Arc<Guest>, Leave)> {
        let own = seats.counts.get(&party).map_or(1, |count| count + 1);
        let (mut largest, mut most) = (party, own);
        for (other, count) in &seats.counts {
            if *count > most {
                (largest, most) = (*other, *count);
            }
        }
        let asked = Asked { party, largest, cuts: most > own };
        let now = Moment::now();
        let is_fresh = seats.found.asked == Some(asked) && now - seats.found.at < FRESH;
        if is_fresh {
            while let Some((rank, since, at)) = seats.found.all.pop() {
                // Whoever has asked since, or has gone, is not who was found. Whose request is over goes all the sooner.
                if let Some(guest) = &seats.taken[at]
                    && guest.phase.since() == since
                    && let Some(still) = self.rank(guest, asked, now).filter(|still| *still <= rank)
                {
                    return Some((Arc::clone(guest), how(still)));
                }
            }
        }
        let mut all = std::mem::take(&mut seats.found.all);
        all.clear();
        for (at, guest) in seats.taken.iter().enumerate() {
            if let Some(guest) = guest
                && let Some(rank) = self.rank(guest, asked, now)
            {
                all.push((rank, guest.phase.since(), at));
            }
        }
        if all.len() > FOUND {
            all.select_nth_unstable(FOUND);
            all.truncate(FOUND);
        }
        all.sort_unstable_by(|one, other| other.cmp(one));
        // Only those who are as good as the first: whoever has come since may go before all others.
        if let Some((lowest, ..)) = all.last().copied() {
            all.retain(|(rank, ..)| *rank == lowest);
        }
        let first = all.pop();
        seats.found = Found { asked: Some(asked), at: now, all };
        let (rank, _, at) = first?;
        seats.taken[at].as_ref().map(|guest| (Arc::clone(guest), how(rank)))
    }

    /// The lower, the sooner it goes; `None`: it stays.
    fn rank(&self, guest: &Guest, asked: Asked, now: Moment) -> Option<u8> {
        if guest.leave.load(Ordering::Relaxed) != STAY {
            return None;
        }
        let since = guest.phase.since();
        let (is_largest, is_own) = (guest.party == asked.largest, guest.party == asked.party);
        match guest.phase.doing() {
            Doing::Nothing { known: false, heard: true } if now - since >= FIRST_REQUEST => Some(0),
            Doing::Nothing { known: false, .. } if is_largest => Some(1),
            Doing::Nothing { .. } if is_largest => Some(2),
            Doing::Nothing { .. } if is_own => Some(3),
            Doing::Something if is_largest && asked.cuts => Some(CUT),
            Doing::Nothing { .. } | Doing::Something if self.0.spare => Some(CUT + 1 + u8::from(!is_largest)),
            Doing::Nothing { .. } | Doing::Something => None,
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From this rank on, what is under way goes too.
const CUT: u8 = 4;

fn how(rank: u8) -> Leave {
    if rank < CUT { Leave::Soon } else { Leave::Now }
}

impl Inner {
    /// Half of what may be leaving, so that those who take their time are no reason to refuse anybody.
    fn is_crowded(&self, seats: &Seats) -> bool {
        seats.told >= self.leaving / 2
    }

    fn hears(&self, seats: &mut Seats, guest: &Guest) {
        if !guest.heard.swap(true, Ordering::Relaxed) {
            let was_crowded = self.is_crowded(seats);
            seats.told -= 1;
            if was_crowded && !self.is_crowded(seats) {
                self.settled.notify_waiters();
            }
        }
    }
}

/// For a room of so many places: how many may be leaving it for the party with the most; as many again for others.
pub(super) fn slack(places: usize) -> usize {
    (places / 16).max(4)
}

impl Seats {
    fn forget(&mut self, party: Party) {
        if let Some(count) = self.counts.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&party);
            }
        }
    }
}

impl Seat {
    /// Whether it is to make room, and how.
    pub(super) fn leaves(&self) -> Option<Leave> {
        match self.guest.leave.load(Ordering::Acquire) {
            SOON => Some(Leave::Soon),
            NOW => Some(Leave::Now),
            _ => None,
        }
    }

    /// It has heard that it is to leave, and does so when what is under way is done.
    pub(super) fn lingers(&self) {
        if self.leaves().is_some() {
            self.room.0.hears(&mut self.room.seats(), &self.guest);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.room.seats();
        seats.taken[self.at] = None;
        seats.free.push(self.at);
        if self.leaves().is_some() {
            seats.leaving -= 1;
            self.room.0.hears(&mut seats, &self.guest);
        } else {
            seats.staying -= 1;
            seats.forget(self.guest.party);
        }
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
