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
    let phase = Phase::new();
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
async fn what_idles_of_the_newcomers_own_goes_before_a_request_of_others_is_cut() {
    let room = Room::new(6);
    let (anns, bob) = ((0..5).map(|_| busy(&room, ANN)).collect::<Vec<_>>(), idle(&room, BOB));
    let _another = busy(&room, BOB);
    assert_eq!((left(&anns), bob.seat.leaves()), (vec![], Some(Leave::Soon)));
}

#[tokio::test(start_paused = true)]
async fn who_would_hold_the_most_with_one_more_makes_room_for_it_itself() {
    let room = Room::new(3);
    let (anns, bob) = ([idle(&room, ANN), idle(&room, ANN)], idle(&room, BOB));
    let _another = idle(&room, BOB);
    assert_eq!((left(&anns), bob.seat.leaves()), (vec![], Some(Leave::Soon)));
}

#[tokio::test(start_paused = true)]
async fn in_the_spare_places_everybody_is_heard_and_a_flood_displaces_itself() {
    let room = Room::spare(3);
    let bob = busy(&room, BOB);
    let mut anns = Vec::new();
    for _ in 0..6 {
        later(1).await;
        let phase = Phase::new();
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
    staying[1].seat.lingers();
    assert!(futures::poll!(settled.as_mut()).is_pending(), "who is not to go has nothing to hear");
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
    tokio::time::advance(FRESH).await;
    for _ in 0..slack(8) - 2 {
        all.push(idle(&room, ANN));
    }
    assert_eq!(left(&all), [0, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn whoever_was_used_since_it_was_found_is_not_who_idles_the_longest() {
    let room = Room::new(8);
    let mut all = Vec::new();
    for _ in 0..9 {
        later(1).await;
        all.push(idle(&room, ANN));
    }
    assert_eq!(left(&all), [0]);
    later(1).await;
    all[1].phase.begin();
    all[1].phase.end();
    all.push(idle(&room, ANN));
    assert_eq!(left(&all), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_has_turned_out_to_be_silent_goes_before_those_who_were_found_earlier() {
    let room = Room::new(8);
    let mut all: Vec<_> = (0..8).map(|_| idle(&room, ANN)).collect();
    later(1).await;
    all.push(come(&room, BOB).unwrap());
    all[8].phase.listened();
    all.push(idle(&room, ANN));
    let before = left(&all);
    assert_eq!((before.len(), before.contains(&8)), (2, false));
    tokio::time::advance(FIRST_REQUEST).await;
    all.push(idle(&room, ANN));
    assert_eq!(all[8].seat.leaves(), Some(Leave::Soon));
}

#[tokio::test(start_paused = true)]
async fn whose_request_is_over_since_it_was_found_goes_as_one_that_idles() {
    let room = Room::new(4);
    let mut anns = Vec::new();
    for _ in 0..4 {
        later(1).await;
        anns.push(busy(&room, ANN));
    }
    let _first = busy(&room, BOB);
    assert_eq!((left(&anns), anns[0].seat.leaves()), (vec![0], Some(Leave::Now)));
    anns[1].phase.end();
    let _second = come(&room, BOB).unwrap();
    assert_eq!((left(&anns), anns[1].seat.leaves()), (vec![0, 1], Some(Leave::Soon)));
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
