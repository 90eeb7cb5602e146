//! What watchers are told, when, and how often.

use std::time::Duration;

use futures::FutureExt as _;
use sidekey::broker::{BrokerOptions, Error, Event, EventId, Filter, Kind, Steer, Told, Watch};
use sidekey::cache::CacheOptions;
use time::OffsetDateTime;
use time::ext::NumericalDuration as _;
use tokio::time::sleep;

use super::reads::exact;
use super::scripted::{DENIED, DOWN, HELD, House, Scripted, ask, steered};

const NOW: Steer = Steer { no_cache: true, max_age: None, only_if_cached: false };

fn filter(patterns: &[&str]) -> Filter {
    Filter { patterns: patterns.iter().map(|text| text.parse().unwrap()).collect() }
}

fn everything(house: &House) -> Watch {
    house.broker.watch(Filter::default(), None).unwrap()
}

/// What there is to be told now.
fn told(watch: &mut Watch) -> Vec<Told> {
    std::iter::from_fn(|| watch.next().now_or_never()).collect()
}

/// The same in short: the kind, where, and what it was told with.
fn short(watch: &mut Watch) -> Vec<String> {
    let one = |told| match told {
        Told::Resync(_) => "resync".to_owned(),
        Told::Event(_, event) => {
            let Event { kind, vault, name, version, reason, .. } = &*event;
            let name = name.as_ref().map_or_else(String::new, |name| format!("/{name}"));
            let version = if version.is_some() { " with its version" } else { "" };
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{} {vault}{name}{version}{reason}", kind.as_str())
        }
    };
    told(watch).into_iter().map(one).collect()
}

fn id(told: &Told) -> EventId {
    match told {
        Told::Event(id, _) | Told::Resync(id) => *id,
    }
}

async fn live(seconds: u64) {
    for _ in 0..seconds * 2 {
        sleep(Duration::from_millis(500)).await;
    }
}

/// A vault with a secret of old, listed.
async fn house() -> (std::sync::Arc<Scripted>, House) {
    let vault = Scripted::new("s", "pay");
    vault.set_at("db", "one", OffsetDateTime::now_utc() - 30.days());
    vault.set_at("other", "1", OffsetDateTime::now_utc() - 30.days());
    let house = House::with(&[&vault], exact()).await;
    live(3).await;
    (vault, house)
}

#[tokio::test(start_paused = true)]
async fn what_is_not_held_is_told_as_soon_as_a_listing_shows_it() {
    let (vault, house) = house().await;
    let (mut all, mut some) = (everything(&house), house.broker.watch(filter(&["p*/d*"]), None).unwrap());
    vault.set("db", "two");
    vault.set("new", "1");
    vault.delete("other");
    assert_eq!(short(&mut all), [""; 0]);
    house.listed_again().await;
    assert_eq!(short(&mut all), ["changed pay/db", "added pay/new", "removed pay/other: not-found"]);
    assert_eq!(short(&mut some), ["changed pay/db"]);
    vault.disable("db");
    house.listed_again().await;
    assert_eq!(short(&mut all), ["disabled pay/db: disabled"]);
    // Nobody can read it: what happens to it is told to nobody.
    vault.disable("db");
    vault.set("other", "2");
    house.listed_again().await;
    assert_eq!(short(&mut all), ["added pay/other"]);
    vault.set("db", "three");
    house.listed_again().await;
    assert_eq!(short(&mut all), ["changed pay/db"]);
    assert_eq!(vault.gets(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_told_when_readers_get_it_and_not_before() {
    let (vault, house) = house().await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.set("db", "two");
    vault.gate.forget_permits(usize::MAX);
    house.listed_again().await;
    live(5).await;
    assert_eq!(short(&mut watch), [""; 0], "readers are still given the old one");
    assert_eq!(house.broker.get(&steered("pay/db", HELD)).await.unwrap().secret.value.expose(), b"one");
    vault.gate.add_permits(100);
    let Told::Event(_, event) = watch.next().await else { panic!("nothing was missed") };
    let reading = house.broker.get(&steered("pay/db", HELD)).await.unwrap();
    assert_eq!((&*reading.secret.value.expose(), event.kind), (&b"two"[..], Kind::Changed));
    assert_eq!(event.version, reading.secret.metadata.version);
    live(200).await;
    assert_eq!(short(&mut watch), [""; 0], "once");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_read_meets_first_is_told_then_and_not_again_by_the_listing() {
    let (vault, house) = house().await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.set("db", "two");
    house.broker.get(&steered("pay/db", NOW)).await.unwrap();
    assert_eq!(short(&mut watch), ["changed pay/db with its version"]);
    house.listed_again().await;
    live(150).await;
    assert_eq!(short(&mut watch), [""; 0]);
    // A first read is no news, though the listings are behind it; theirs is.
    vault.set("other", "2");
    house.broker.get(&ask("pay/other")).await.unwrap();
    assert_eq!(short(&mut watch), [""; 0]);
    house.listed_again().await;
    assert_eq!(short(&mut watch), ["changed pay/other with its version"]);
}

#[tokio::test(start_paused = true)]
async fn without_listings_a_renewal_tells_and_two_writes_in_one_second_are_two_changes() {
    let vault = Scripted::new("s", "pay");
    let second = OffsetDateTime::now_utc();
    vault.set_at("db", "one", second);
    vault.fail_lists(Some(DENIED));
    let house = House::with(&[&vault], exact()).await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.set_at("db", "two", second);
    live(300).await;
    assert_eq!(short(&mut watch), ["changed pay/db with its version"]);
    vault.set_at("db", "three", second);
    house.broker.get(&steered("pay/db", NOW)).await.unwrap();
    assert_eq!(short(&mut watch), ["changed pay/db with its version"]);
    house.broker.get(&steered("pay/db", NOW)).await.unwrap();
    assert_eq!(short(&mut watch), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_nobody_uses_is_read_again_for_who_watches_it_and_left_alone_otherwise() {
    let (vault, house) = house().await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    // Longer ago than a value counts as used.
    live(3_700).await;
    let before = vault.gets();
    let mut other = house.broker.watch(filter(&["pay/other"]), None).unwrap();
    let start = other.id();
    vault.set("db", "two");
    live(70).await;
    assert_eq!((vault.gets(), short(&mut other)), (before, vec![]));
    // Who comes now, from where it left, is told as soon as it is true for readers.
    let mut watch = house.broker.watch(filter(&["*/db"]), Some(Ok(start))).unwrap();
    live(2).await;
    assert_eq!((vault.gets(), short(&mut watch)), (before + 1, vec!["changed pay/db with its version".to_owned()]));
    vault.set_at("db", "three", OffsetDateTime::now_utc() + 1.days());
    live(70).await;
    assert_eq!((vault.gets(), short(&mut watch)), (before + 2, vec!["changed pay/db with its version".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_goes_is_told_when_it_is_no_longer_served() {
    for (what, expected) in [("delete", "removed pay/db: not-found"), ("disable", "disabled pay/db: disabled")] {
        let (vault, house) = house().await;
        house.broker.get(&ask("pay/db")).await.unwrap();
        let mut watch = everything(&house);
        if what == "delete" {
            vault.delete("db")
        } else {
            vault.disable("db")
        }
        loop {
            let (told, held) = (short(&mut watch), house.broker.get(&steered("pay/db", HELD)).await);
            match &told[..] {
                [] => assert!(held.is_ok()),
                [only] => {
                    assert!(held.is_err() && only == expected, "{only}");
                    break;
                }
                more => panic!("{more:?}"),
            }
            live(1).await;
        }
        live(130).await;
        assert_eq!(short(&mut watch), [""; 0], "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_and_given_back_is_told() {
    let (vault, house) = house().await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.fail_gets_of("db", Some(DENIED));
    house.broker.get(&steered("pay/db", NOW)).await.unwrap_err();
    live(15).await;
    assert_eq!(short(&mut watch), ["removed pay/db: denied-by-rbac"]);
    vault.fail_gets_of("db", None);
    house.broker.get(&steered("pay/db", NOW)).await.unwrap();
    assert_eq!(short(&mut watch), ["added pay/db with its version"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_what_readers_are_refused_is_told_when_the_refusal_is_over() {
    let (vault, house) = house().await;
    vault.fail_gets_of("db", Some(DENIED));
    house.broker.get(&ask("pay/db")).await.unwrap_err();
    vault.fail_gets_of("db", None);
    let mut watch = everything(&house);
    vault.set("db", "two");
    house.listed_again().await;
    assert!(house.broker.get(&ask("pay/db")).await.is_err(), "it is remembered for half a minute");
    assert_eq!(short(&mut watch), [""; 0]);
    live(32).await;
    assert_eq!(short(&mut watch), ["changed pay/db"]);
    assert_eq!(house.broker.get(&ask("pay/db")).await.unwrap().secret.value.expose(), b"two");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_one_listing_misses_while_it_is_read_never_went() {
    let (vault, house) = house().await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.hide(Some("db"));
    house.listed_again().await;
    live(10).await;
    assert!(house.broker.get(&steered("pay/db", HELD)).await.is_ok());
    vault.hide(None);
    house.listed_again().await;
    assert_eq!(short(&mut watch), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_awaited_change_outlasts_an_outage_and_is_told_when_the_value_is_there() {
    let (vault, house) = house().await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.set("db", "two");
    vault.fail_gets_of("db", Some(DOWN));
    live(600).await;
    assert_eq!(short(&mut watch), [""; 0]);
    vault.fail_gets_of("db", None);
    live(61).await;
    assert_eq!(short(&mut watch), ["changed pay/db with its version"]);
}

#[tokio::test(start_paused = true)]
async fn an_awaited_change_of_a_value_that_is_let_go_of_is_told_then() {
    let vault = Scripted::new("s", "pay");
    vault.set_at("db", "one", OffsetDateTime::now_utc() - 30.days());
    let cache = CacheOptions { max_stale: Duration::from_secs(1_000), ..exact().cache };
    let house = House::with(&[&vault], BrokerOptions { cache, ..exact() }).await;
    live(3).await;
    house.broker.get(&ask("pay/db")).await.unwrap();
    let mut watch = everything(&house);
    vault.set("db", "two");
    vault.fail_gets_of("db", Some(DOWN));
    live(900).await;
    assert_eq!(short(&mut watch), [""; 0]);
    live(200).await;
    assert_eq!(short(&mut watch), ["changed pay/db"]);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_goes_out_of_reach_and_comes_back_is_told_once_each() {
    let (vault, house) = house().await;
    let (mut watch, mut other) = (everything(&house), house.broker.watch(filter(&["shop/*"]), None).unwrap());
    vault.fail_lists(Some(DOWN));
    live(200).await;
    assert_eq!(short(&mut watch), ["vault pay: connection-failed"]);
    vault.fail_lists(Some(DENIED));
    live(70).await;
    assert_eq!(short(&mut watch), ["vault pay: denied-by-rbac"]);
    vault.fail_lists(None);
    live(200).await;
    assert_eq!(short(&mut watch), ["vault pay"]);
    assert_eq!(short(&mut other), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_told_what_it_missed_and_nothing_twice() {
    let (vault, house) = house().await;
    let mut watch = everything(&house);
    let start = watch.id();
    let mut seen = Vec::new();
    for round in 0..5 {
        vault.set(&format!("new-{round}"), "1");
        house.listed_again().await;
        seen.extend(told(&mut watch));
    }
    drop(watch);
    for (at, after) in [start].into_iter().chain(seen.iter().map(id)).enumerate() {
        // As it goes over the wire and back.
        let after = after.to_string().parse();
        let mut again = house.broker.watch(Filter::default(), Some(after)).unwrap();
        assert_eq!(told(&mut again), seen[at..]);
    }
    let mut narrow = house.broker.watch(filter(&["pay/new-3"]), Some(Ok(start))).unwrap();
    assert_eq!(told(&mut narrow), seen[3..4]);
    // What is not for it is passed all the same: it can go on from there.
    assert_eq!(narrow.id(), id(&seen[4]));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_told_what_it_missed_is_told_to_read_anew_and_goes_on_from_there() {
    let (vault, house) = house().await;
    let (_, another_run) = self::house().await;
    let foreign = everything(&another_run).id();
    let slow = everything(&house);
    let old = slow.id();
    let mut unknown = vec![Err(sidekey::broker::BadEventId), Ok(foreign)];
    unknown.push(old.to_string().replace("-0", "-7").parse());
    let watch = |after| house.broker.watch(Filter::default(), Some(after)).unwrap();
    let mut lost: Vec<Watch> = unknown.into_iter().map(watch).collect();
    for watch in &mut lost {
        assert_eq!(short(watch), ["resync"]);
    }
    // More than is kept, so that one who does not read falls behind, and one who left before cannot be told.
    for n in 0..5_000 {
        vault.set(&format!("new-{n}"), "1");
    }
    house.listed_again().await;
    lost.extend([slow, watch(Ok(old))]);
    vault.set("db", "two");
    for watch in &mut lost {
        assert_eq!(short(watch), ["resync"]);
    }
    house.listed_again().await;
    for watch in &mut lost {
        assert_eq!(short(watch), ["changed pay/db"]);
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_watchers_and_one_that_goes_leaves_its_place() {
    let vault = Scripted::new("s", "pay");
    let house = House::with(&[&vault], BrokerOptions { watchers: 2, ..exact() }).await;
    let (first, _second) = (everything(&house), everything(&house));
    assert_eq!(house.broker.watchers(), 2);
    assert!(matches!(house.broker.watch(Filter::default(), None), Err(Error::Overloaded)));
    drop(first);
    assert_eq!(house.broker.watchers(), 1);
    everything(&house);
}

#[tokio::test(start_paused = true)]
async fn a_vault_of_two_sources_is_told_of_once_unless_the_other_view_is_named() {
    let uri = "https://pay.vault.azure.net";
    let (one, two) = (Scripted::at("a", "pay", uri), Scripted::at("b", "pay", uri));
    let house = House::of(&[&one, &two]).await;
    let (mut all, mut named) = (everything(&house), house.broker.watch(filter(&["b:pay/*"]), None).unwrap());
    let mut globbed = house.broker.watch(filter(&["*/*"]), None).unwrap();
    for vault in [&one, &two] {
        vault.set("db", "1");
    }
    house.listed_again().await;
    // The broker came after the first round, and was told of no other.
    assert_eq!(short(&mut all), ["added pay/db"]);
    assert_eq!(short(&mut globbed), ["added pay/db"]);
    assert_eq!(short(&mut named), ["added b:pay/db"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_woken_and_loses_nothing_when_it_gives_up_waiting() {
    let (vault, house) = house().await;
    let mut watch = everything(&house);
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_secs(5), watch.next()).await.is_err());
    }
    vault.set("db", "two");
    assert!(matches!(watch.next().await, Told::Event(..)), "the next listing wakes it");
}
