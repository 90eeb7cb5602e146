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

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::patience::{Doing, Phase};

/// A client sends its first request at once. Who has had that long and has not is a stranger who may go first.
const FIRST_REQUEST: u64 = 1_000_000;

/// Who is to go is looked for among all, which takes a while with thousands: so many are found at a time, and gone by for
/// so many microseconds.
const FOUND: usize = 64;
const FRESH: u64 = 10_000;

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
    epoch: Instant,
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
    at: u64,
    all: Vec<(u8, u64, usize)>,
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
        Self(Arc::new(Inner {
            places,
            leaving: slack(places),
            spare,
            epoch: Instant::now(),
            seats: Mutex::default(),
            settled: Notify::new(),
        }))
    }

    /// What a connection is doing, on this room's clock.
    pub(super) fn phase(&self) -> Phase {
        Phase::new(self.0.epoch)
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
        let now = Phase::at(self.0.epoch);
        let is_fresh = seats.found.asked == Some(asked) && now.saturating_sub(seats.found.at) < FRESH;
        if is_fresh {
            while let Some((rank, since, at)) = seats.found.all.pop() {
                // Whoever has asked since, or has gone, is not who was found.
                if let Some(guest) = &seats.taken[at]
                    && self.rank(guest, asked, now) == Some(rank)
                    && guest.phase.since() == since
                {
                    return Some((Arc::clone(guest), how(rank)));
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
    fn rank(&self, guest: &Guest, asked: Asked, now: u64) -> Option<u8> {
        if guest.leave.load(Ordering::Relaxed) != STAY {
            return None;
        }
        let since = guest.phase.since();
        let (is_largest, is_own) = (guest.party == asked.largest, guest.party == asked.party);
        match guest.phase.doing() {
            Doing::Nothing { known: false, heard: true } if now.saturating_sub(since) >= FIRST_REQUEST => Some(0),
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
mod tests {
    use std::time::Duration;

    use super::*;

    const ANN: Party = Party::User(1);
    const BOB: Party = Party::User(2);

    /// One who came, and what became of it.
    struct Came {
        seat: Seat,
        phase: Phase,
    }

    fn come(room: &Room, party: Party) -> Option<Came> {
        let phase = room.phase();
        let seat = room.enter(party, phase.clone(), CancellationToken::new())?;
        Some(Came { seat, phase })
    }

    /// One that has asked, and idles.
    fn idle(room: &Room, party: Party) -> Came {
        let came = busy(room, party);
        came.phase.end();
        came
    }

    /// One that is being answered.
    fn busy(room: &Room, party: Party) -> Came {
        let came = come(room, party).unwrap();
        came.phase.begin();
        came.phase.let_in();
        came
    }

    fn left(all: &[Came]) -> Vec<usize> {
        all.iter().enumerate().filter(|(_, came)| came.seat.leaves().is_some()).map(|(at, _)| at).collect()
    }

    async fn later(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_party_has_every_place_and_then_displaces_what_idles_the_longest() {
        let room = Room::new(3);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(idle(&room, ANN));
            later(10).await;
        }
        assert!(left(&all).is_empty());
        // Used since: the first is not the oldest any more.
        all[0].phase.begin();
        all[0].phase.end();
        later(10).await;
        all.push(idle(&room, ANN));
        assert_eq!(left(&all), [1]);
        assert_eq!(all[1].seat.leaves(), Some(Leave::Soon));
        all.push(idle(&room, ANN));
        assert_eq!(left(&all), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_goes_before_who_idles_and_for_longer_than_a_second_whoever_it_is() {
        let room = Room::new(3);
        let all = [idle(&room, ANN), come(&room, ANN).unwrap(), come(&room, BOB).unwrap()];
        let _fourth = come(&room, ANN).unwrap();
        assert_eq!(left(&all), [1], "its own, while Bob's may still be about to ask");
        later(1_000).await;
        let _fifth = come(&room, ANN).unwrap();
        assert_eq!(left(&all), [1], "what Bob has sent may not have been read");
        all[2].phase.listened();
        later(999).await;
        let _sixth = come(&room, ANN).unwrap();
        assert_eq!(left(&all), [1]);
        later(1).await;
        let _seventh = come(&room, ANN).unwrap();
        assert_eq!(left(&all), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_the_most_makes_room_for_others_and_others_do_not_for_it() {
        let room = Room::new(8);
        let mut anns: Vec<_> = (0..8).map(|_| idle(&room, ANN)).collect();
        // Bob gets as many as Ann is left with, one by one, whatever Ann does meanwhile.
        let bobs: Vec<_> = (0..4).map(|_| idle(&room, BOB)).collect();
        assert_eq!((left(&anns).len(), left(&bobs).len()), (4, 0));
        anns.retain(|ann| ann.seat.leaves().is_none());
        anns.push(idle(&room, ANN));
        assert_eq!((left(&anns).len(), left(&bobs).len()), (1, 0), "Ann displaces her own");
        anns.retain(|ann| ann.seat.leaves().is_none());
        let more = idle(&room, BOB);
        assert_eq!((left(&anns).len(), left(&bobs).len()), (0, 1), "as does Bob, of equally many");
        drop(more);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_are_cut_only_for_who_has_less() {
        let room = Room::new(4);
        let anns: Vec<_> = (0..4).map(|_| busy(&room, ANN)).collect();
        assert!(come(&room, ANN).is_none(), "her own requests are not cut");
        let mut bobs = vec![busy(&room, BOB)];
        assert_eq!(left(&anns), [0]);
        assert_eq!(anns[0].seat.leaves(), Some(Leave::Now));
        bobs.push(idle(&room, BOB));
        assert_eq!((left(&anns).len(), left(&bobs).len()), (2, 0));
        bobs.push(come(&room, BOB).unwrap());
        assert_eq!((left(&anns).len(), left(&bobs)), (2, vec![1]), "of equally many, his own that idles");
        assert!(come(&room, ANN).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn in_the_spare_places_everybody_is_heard_and_a_flood_displaces_itself() {
        let room = Room::spare(3);
        let bob = busy(&room, BOB);
        let mut anns = Vec::new();
        for _ in 0..6 {
            later(1).await;
            let phase = room.phase();
            phase.begin();
            let seat = room.enter(ANN, phase.clone(), CancellationToken::new()).unwrap();
            anns.push(Came { seat, phase });
        }
        assert_eq!((left(&anns), bob.seat.leaves()), (vec![0, 1, 2, 3], None));
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_leaving_at_a_time_and_places_are_given_back() {
        let room = Room::new(2);
        let mut all: Vec<_> = (0..2 + slack(2)).map(|_| come(&room, ANN).unwrap()).collect();
        assert!(come(&room, ANN).is_none(), "those who were told to go have not gone yet");
        let bob = come(&room, BOB);
        assert!(bob.is_some(), "which is no fault of Bob's");
        all.drain(..2);
        drop(bob);
        assert!(come(&room, ANN).is_some());
        all.clear();
        assert!(room.seats().counts.is_empty() && room.seats().leaving == 0 && room.seats().staying == 0);
        room.relieve();
        let one = come(&room, ANN).unwrap();
        one.phase.listened();
        later(2_000).await;
        room.relieve();
        assert!(one.seat.leaves().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_until_those_who_are_to_go_have_heard_of_it_whatever_they_do_then() {
        let room = Room::new(2);
        let mut all: Vec<_> = (0..2 + slack(2) / 2).map(|_| idle(&room, ANN)).collect();
        let (told, staying): (Vec<_>, Vec<_>) = all.drain(..).partition(|came| came.seat.leaves().is_some());
        assert_eq!((told.len(), staying.len()), (slack(2) / 2, 2));
        let mut settled = Box::pin(room.settled());
        assert!(futures::poll!(settled.as_mut()).is_pending());
        told[0].phase.begin();
        told[0].seat.lingers();
        told[0].seat.lingers();
        assert!(futures::poll!(settled.as_mut()).is_ready());
        drop(told);
        let untold = |room: &Room| {
            let seats = room.seats();
            (seats.told, seats.leaving)
        };
        assert_eq!(untold(&room), (0, 0));
        staying[0].seat.lingers();
        assert_eq!(untold(&room), (0, 0), "it is not to go");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_after_it_was_found_does_not_go_and_whoever_was_found_long_ago_is_looked_at_again() {
        let room = Room::new(8);
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(idle(&room, ANN));
            later(1).await;
        }
        all.push(idle(&room, ANN));
        assert_eq!(left(&all), [0]);
        all[1].phase.begin();
        all.push(idle(&room, ANN));
        assert_eq!(left(&all), [0, 2], "the second is being answered");
        all[1].phase.end();
        later(FRESH / 1_000).await;
        for _ in 0..slack(8) - 2 {
            all.push(idle(&room, ANN));
        }
        assert_eq!(left(&all), [0, 2, 3, 4]);
    }

    #[test]
    fn loopback_is_one_party_and_a_network_of_ipv6_is_one() {
        let party = |text: &str| Party::of_address(text.parse().unwrap());
        assert_eq!(party("::1"), party("127.0.0.1"));
        assert_eq!(party("::ffff:10.0.0.1"), party("10.0.0.1"));
        assert_ne!(party("10.0.0.2"), party("10.0.0.1"));
        assert_eq!(party("2001:db8::1"), party("2001:db8::ffff"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
    }
}
